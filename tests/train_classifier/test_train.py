"""A whole training on coloured shapes: what it leaves, that it can be repeated, that it survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from silhouette.contracts import training as training_contract
from silhouette.errors import InputError, SilhouetteError
from silhouette.store import Store
from silhouette.train_classifier.fitting import TrainReport
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, CLASSES, recipe, write_shapes

CHECKOUT = Path(__file__).resolve().parents[2]


def train(
    crops: Path, out: Path, *, store: Store | None = None, experiment: str = "e1", **changes: object
) -> TrainReport:
    return train_classifier(
        crops=crops, out=out, experiment=experiment, config=recipe(**changes), backbone=BACKBONE, device="cpu",
        store=store,
    )  # fmt: skip


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_shapes(folder, group="летние фигуры")
    return folder


def test_a_training_leaves_what_the_contract_names_here_and_in_the_store(
    crops: Path, tmp_path: Path, fresh_store: Store
) -> None:
    report = train(crops, tmp_path, store=fresh_store, epochs=3)
    record = training_contract.read(tmp_path)
    assert (record.classes, record.crop_size, record.backbone) == (CLASSES, 64, BACKBONE)
    assert record.best_val_macro_f1 == report.best_val_macro_f1 > 0.5
    assert report.epochs == 3
    state = torch.load(tmp_path / training_contract.BEST_CHECKPOINT, weights_only=True)["state_dict"]
    assert state["model.classifier.weight"].shape[0] == 3
    lines = (tmp_path / "csv_logs" / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,learning_rate,train_loss,val_loss,val_accuracy,val_balanced_accuracy,val_macro_f1"
    assert len(lines) == 4
    for name in ("first_epoch", "last_epoch"):
        with Image.open(tmp_path / "train_batches" / f"{name}.png") as grid:
            assert grid.size == (8 * 160, 180)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "wandb").exists()
    keys = list(fresh_store.list_keys("models/"))
    assert len({key.split("/")[1] for key in keys}) == 1
    assert [key.split("/", 2)[2] for key in keys] == [
        "e1/checkpoints/best.ckpt", "e1/csv_logs/metrics.csv", "e1/train_batches/first_epoch.png",
        "e1/train_batches/last_epoch.png", "e1/training.json",
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(crops: Path, tmp_path: Path) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(crops, tmp_path / name, seed=seed, mixup=0.2, ema_decay=0.9, epochs=1)
        tables.append((tmp_path / name / "csv_logs" / "metrics.csv").read_bytes())
    assert tables[0] == tables[1] != tables[2]


def test_a_training_without_progress_stops_when_its_patience_ends(crops: Path, tmp_path: Path) -> None:
    report = train(crops, tmp_path, learning_rate=1e-12, epochs=6, patience=1)
    assert report.epochs < 6


def test_what_the_hub_or_the_settings_lack_is_said_before_anything_is_written(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nearest"):
        train_classifier(crops=crops, out=tmp_path / "out", experiment="e", config=recipe(), backbone="rasnet18")
    assert not (tmp_path / "out").exists()


def test_tracking_offline_writes_its_files_beside_the_rest_and_no_picture(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    train(crops, tmp_path, epochs=1)
    runs = list((tmp_path / "wandb").rglob("*.wandb"))
    assert len(runs) == 1
    assert not list((tmp_path / "wandb").rglob("*.png"))
    assert b"train-0" not in runs[0].read_bytes()


def test_tracking_that_fails_does_not_end_the_training(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "no such mode")
    assert train(crops, tmp_path, epochs=1).epochs == 1
    assert "left out of this run" in caplog.text


def test_a_killed_worker_is_a_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from silhouette.train_classifier import crop_data

    monkeypatch.setattr(crop_data, "_FEW_CROPS", 1)
    monkeypatch.setattr(crop_data, "cpu_cores", lambda: 2)
    monkeypatch.setattr(crop_data.crops_contract, "decode_jpeg", lambda _jpeg: os.kill(os.getpid(), signal.SIGKILL))
    write_shapes(tmp_path / "crops", per_class={"train": 4, "val": 2})
    with pytest.raises(SilhouetteError, match=r"one was ended .*lower training\.batch_size"):
        train(tmp_path / "crops", tmp_path / "out")


_PROGRAM = """
import json, logging, sys
from pathlib import Path
from silhouette.store import open_store
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
report = train_classifier(crops=Path(sys.argv[1]), out=Path(sys.argv[2]), experiment="killed",
                          config=recipe(epochs=int(sys.argv[3])), backbone=BACKBONE, device="cpu", store=open_store())
print("resumed after", report.resumed_after)
"""


class _Interrupt(Exception):
    """A stop at any moment."""


@pytest.mark.parametrize(("workers", "accumulate"), [(0, 1), (2, 1), (0, 2)])
@pytest.mark.parametrize("stop", [(0, 2), (1, 3), (2, 0)])
def test_a_training_stopped_within_an_epoch_makes_the_same_table_as_an_unbroken_one(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, accumulate: int, stop: tuple[int, int]
) -> None:
    from silhouette.train_classifier import crop_data
    from silhouette.train_classifier.classifier import CropClassifier

    if workers:
        monkeypatch.setattr(crop_data, "_FEW_CROPS", 1)
        monkeypatch.setattr(crop_data, "cpu_cores", lambda: 2)
    changes = {
        "epochs": 3, "frozen_epochs": 1, "mixup": 0.2, "ema_decay": 0.9, "accumulate": accumulate,
        "checkpoint_minutes": 1e-9,
    }  # fmt: skip
    train(crops, tmp_path / "unbroken", **changes)

    start = CropClassifier.on_train_batch_start

    def stopping(self: CropClassifier, batch: object, index: int) -> None:
        if (self.current_epoch, index) == stop:
            raise _Interrupt
        start(self, batch, index)

    with monkeypatch.context() as broken:
        broken.setattr(CropClassifier, "on_train_batch_start", stopping)
        with pytest.raises(_Interrupt):
            train(crops, tmp_path / "broken", **changes)
    saved = torch.load(tmp_path / "broken" / "checkpoints" / "last.ckpt", weights_only=True)["silhouette_position"]
    assert saved == [stop[0], stop[1] // accumulate * accumulate]
    report = train(crops, tmp_path / "broken", **changes)
    assert report.resumed_after == stop[0]
    for name in ("csv_logs/metrics.csv", "training.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


_FULL_DISK = """
import resource, sys
from pathlib import Path
from silhouette.train_classifier import checkpoints
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe
saves = 0
save = checkpoints.Checkpoints._save
def filling(self, trainer, name, *, weights_only):
    global saves
    saves += 1
    if saves == 4:  # after best and last of the first epoch and best of the second
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    save(self, trainer, name, weights_only=weights_only)
checkpoints.Checkpoints._save = filling
train_classifier(crops=Path(sys.argv[1]), out=Path(sys.argv[2]), experiment="e1", config=recipe(epochs=3),
                 backbone=BACKBONE, device="cpu")
"""


def test_a_full_disk_is_one_line_and_the_last_good_checkpoint_survives(crops: Path, tmp_path: Path) -> None:
    environ = os.environ | {"WANDB_MODE": "disabled", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", _FULL_DISK, str(crops), str(tmp_path)]
    ended = subprocess.run(command, env=environ, cwd=CHECKOUT, capture_output=True, text=True)
    assert "SilhouetteError: a checkpoint must be written into" in ended.stderr
    assert "make room there, then run again" in ended.stderr
    assert not list(tmp_path.rglob("*.partial"))
    torch.load(tmp_path / training_contract.BEST_CHECKPOINT, weights_only=True)
    assert train(crops, tmp_path, epochs=3).resumed_after >= 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")])
def test_too_little_memory_names_the_batch_size(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from silhouette.train_classifier.classifier import CropClassifier

    def full(*_args: object) -> None:
        raise error

    monkeypatch.setattr(CropClassifier, "training_step", full)
    with pytest.raises(SilhouetteError, match=r"must fit into memory.*lower training\.batch_size \(8\)"):
        train(crops, tmp_path)


@pytest.mark.long
def test_a_killed_training_goes_on_in_a_new_process_with_an_empty_disk(
    crops: Path, tmp_path: Path, fresh_store: Store, services_env: dict[str, str]
) -> None:
    environ = os.environ | services_env | {"SILHOUETTE_S3_BUCKET": fresh_store.bucket, "PYTHONPATH": str(CHECKOUT)}

    def start(out: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _PROGRAM, str(crops), str(tmp_path / out), "6"]
        return subprocess.Popen(command, env=environ, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)

    def last_keys() -> list[str]:
        return [key for key in fresh_store.list_keys("models/") if key.endswith("last.ckpt")]

    first = start("first")
    for _ in range(1200):
        if last_keys() or first.poll() is not None:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert last_keys(), "killed before the first epoch was kept"
    second = start("second")
    said = second.communicate()[0]
    assert second.returncode == 0, said
    assert int(said.rsplit("resumed after ", 1)[1]) >= 1
    assert not last_keys()
    # the interruption leaves no trace: an unbroken training gives the same numbers and the same best epoch
    train(crops, tmp_path / "unbroken", epochs=6, experiment="killed")
    for name in ("csv_logs/metrics.csv", "training.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    assert (tmp_path / "second" / "train_batches" / "first_epoch.png").is_file()
    assert json.loads((tmp_path / "second" / "training.json").read_text())["best_epoch"] >= 1


def test_an_unfinished_training_of_another_recipe_is_not_taken_up(
    crops: Path, tmp_path: Path, fresh_store: Store
) -> None:
    from silhouette.train_classifier.checkpoints import Checkpoints, fetch

    (tmp_path / "checkpoints").mkdir()
    torch.save({"silhouette": {"parameters": {"epochs": 9}}}, tmp_path / "checkpoints" / "last.ckpt")
    ours = {"parameters": {"epochs": 2}}
    assert Checkpoints(tmp_path, store=None, prefix="models/g/e", identity=ours).resume_from() is None
    # with a store, the store has the word: what lies in the folder does not count
    theirs = {"parameters": {"epochs": 9}}
    fetch(tmp_path, fresh_store, "models/g/e")
    assert Checkpoints(tmp_path, store=fresh_store, prefix="models/g/e", identity=theirs).resume_from() is None
