"""Several processes train as one: nothing lost, nothing twice, and whatever ends one of them ends all in one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from silhouette.errors import InputError, SilhouetteError
from silhouette.store import Store
from silhouette.train_classifier.backbones import build_backbone, count_devices
from silhouette.train_classifier.crop_data import CropData, EpochSampler
from silhouette.train_classifier.fitting import TrainReport
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("ranks", "seen"), [(1, 0), (2, 0), (3, 0), (4, 8)])
def test_the_ranks_share_the_draws_of_a_single_one(balanced: bool, ranks: int, seen: int) -> None:
    labels = [0] * 11 + [1] * 6
    whole = EpochSampler(labels, seed=1, balanced=balanced, start=(0, seen))
    shares = [
        EpochSampler(labels, seed=1, balanced=balanced, start=(0, seen), share=(rank, ranks)) for rank in range(ranks)
    ]
    drawn = [list(share) for share in shares]
    assert len({len(rows) for rows in drawn}) == 1  # or one would wait for another for ever
    assert {len(share) for share in shares} == {len(drawn[0]) + seen // ranks}
    together = [draw for step in zip(*drawn, strict=True) for draw in step]
    alone = list(whole)
    assert together[: len(alone)] == alone
    assert len(together) - len(alone) < ranks
    if not balanced and not seen:
        assert {row for _, row in together} == set(range(len(labels)))


@pytest.mark.parametrize("ranks", [2, 4, 5, 32])
def test_the_ranks_judge_every_crop_of_val_in_equally_many_batches(tmp_path: Path, ranks: int) -> None:
    write_shapes(tmp_path)
    loaders = [
        CropData(tmp_path, config=recipe(), train_size=64, share=(rank, ranks)).val_dataloader()
        for rank in range(ranks)
    ]
    rows = [[row for batch in loader for row in batch["row"].tolist()] for loader in loaders]
    assert {row for own in rows for row in own} == set(range(18))
    assert len({len(own) for own in rows}) == len({len(loader) for loader in loaders}) == 1
    assert sum(map(len, rows)) < 18 + ranks


def test_auto_takes_what_there_is_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert count_devices("auto", device="cuda") == 4
    assert count_devices(3, device="cuda") == 3
    assert count_devices("auto", device="cpu") == 1
    assert count_devices(2, device="cpu") == 2
    with pytest.raises(InputError, match=r"training\.devices must be at most the GPUs that torch can use, 4, got 5"):
        count_devices(5, device="cuda")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_shapes(folder, per_class={"train": 16, "val": 7})
    # with weights of its own the network keeps its batch-norm statistics, as a pretrained one does
    torch.save(build_backbone(BACKBONE, classes=3, crop_size=64).net.state_dict(), folder / "weights.pt")
    return folder


def train(crops: Path, out: Path, *, store: Store | None = None, devices: int = 2, **changes: object) -> TrainReport:
    config = recipe(devices=devices, **{"weights": "" if store else str(crops / "weights.pt"), **changes})
    return train_classifier(
        crops=crops, out=out, experiment="e1", config=config, backbone=BACKBONE, device="cpu", store=store
    )


def table(folder: Path) -> list[dict[str, float]]:
    with (folder / "csv_logs" / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def ranks_below(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        try:
            if "silhouette.train_classifier.ranks" in child.cmdline() and child.ppid() == process.pid:
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.long
def test_two_devices_learn_what_one_does(crops: Path, tmp_path: Path, fresh_store: Store) -> None:
    changes = {"epochs": 2, "frozen_epochs": 1, "accumulate": 2, "ema_decay": 0.9, "average_top": 2}
    train(crops, tmp_path / "one", devices=1, **changes)
    report = train(crops, tmp_path / "two", **changes)
    assert (report.devices, report.epochs) == (2, 2)
    # the same crops in every step, augmented alike, so the same numbers but for the order of the sums
    for one, two in zip(table(tmp_path / "one"), table(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=2e-3, abs=2e-3)
    states = [
        torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    assert all(torch.allclose(states[0][name], value, atol=2e-3) for name, value in states[1].items())
    names = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.*")) for n in ("one", "two")]
    assert names[0] == names[1]
    assert json.loads((tmp_path / "two" / "training.json").read_text())["parameters"]["devices"] == 2


_PROGRAM = """
import logging, sys
from pathlib import Path
from silhouette.store import open_store
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe
train_classifier(crops=Path(sys.argv[1]), out=Path(sys.argv[2]), experiment="e1", backbone=BACKBONE, device="cpu",
                 config=recipe(devices=2, epochs=3, mixup=0.2, checkpoint_minutes=1e-9), store=open_store())
"""


@pytest.mark.long
def test_a_killed_training_leaves_no_process_and_goes_on_within_its_epoch_to_the_same_bytes(
    crops: Path, tmp_path: Path, fresh_store: Store, services_env: dict[str, str]
) -> None:
    environ = os.environ | services_env | {"SILHOUETTE_S3_BUCKET": fresh_store.bucket, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", _PROGRAM, str(crops), str(tmp_path / "first")]
    first, last = subprocess.Popen(command, env=environ, cwd=CHECKOUT), tmp_path / "first" / "checkpoints" / "last.ckpt"

    def position() -> list[int]:
        try:
            at: list[int] = torch.load(last, weights_only=True)["silhouette_position"]
        except FileNotFoundError:
            return [0, 0]
        return at

    until = time.monotonic() + 240
    while not (0 < position()[1] < 6) and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    ranks = ranks_below(psutil.Process(first.pid))
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(ranks) == 2, "it was over before it could be killed"
    assert not psutil.wait_procs(ranks, timeout=30)[1]
    changes = {"epochs": 3, "mixup": 0.2, "checkpoint_minutes": 1e-9, "store": fresh_store}
    train(crops, tmp_path / "second", **changes)
    assert not [key for key in fresh_store.list_keys("models/") if key.endswith("last.ckpt")]
    train(crops, tmp_path / "unbroken", **changes)
    for name in ("csv_logs/metrics.csv", "training.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


@pytest.mark.long
def test_a_process_that_is_ended_ends_the_training_in_one_line(crops: Path, tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            train(crops, tmp_path, epochs=500)
        except SilhouetteError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 240
    while not (tmp_path / "csv_logs" / "metrics.csv").exists() and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.05)
    ranks = ranks_below(psutil.Process())
    next(rank for rank in ranks if rank.environ()["LOCAL_RANK"] == "1").kill()
    thread.join(60)
    assert not thread.is_alive()
    assert "that of device 1 was ended (signal 9)" in str(raised[0])
    assert not [rank for rank in ranks if rank.is_running()]


@pytest.mark.long
def test_what_one_process_refuses_is_said_as_it_is(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(SilhouetteError, match=r"^the training loss must be finite, got .* on pictures 'train-"):
        train(crops, tmp_path, learning_rate=1e30)
