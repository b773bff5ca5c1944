"""The mean of the best epochs' weights: what it is, when it is kept, that a kill does not change it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from silhouette.contracts import training as training_contract
from silhouette.store import Store
from silhouette.train_classifier import average
from silhouette.train_classifier.average import mean_state, renew_statistics
from silhouette.train_classifier.checkpoints import Checkpoints
from silhouette.train_classifier.fitting import TrainReport
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes


def train(crops: Path, out: Path, *, store: Store | None = None, **changes: object) -> TrainReport:
    return train_classifier(
        crops=crops, out=out, experiment="e1", config=recipe(epochs=3, **changes), backbone=BACKBONE, device="cpu",
        store=store,
    )  # fmt: skip


def weights(file: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("model.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_shapes(folder)
    return folder


@pytest.fixture(scope="module")
def plain(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training without an average."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        train(crops, folder)
    return folder


def test_the_mean_is_taken_of_each_tensor_in_its_own_type_and_counters_are_not_averaged() -> None:
    states = [
        {"w": torch.tensor([1.0, 2.0]), "h": torch.tensor([1.0], dtype=torch.float16), "n": torch.tensor(7)},
        {"w": torch.tensor([3.0, 2.0]), "h": torch.tensor([2.0], dtype=torch.float16), "n": torch.tensor(9)},
        {"w": torch.tensor([5.0, 5.0]), "h": torch.tensor([6.0], dtype=torch.float16), "n": torch.tensor(1)},
    ]
    mean = mean_state(states)
    assert mean["w"].tolist() == [3.0, 3.0]
    assert (mean["h"].tolist(), mean["h"].dtype, mean["n"].item()) == ([3.0], torch.float16, 7)


def test_learnt_statistics_are_measured_over_all_batches_and_held_ones_stay() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)).train()
    net[1].eval()
    net[0].running_mean.fill_(50.0)
    net[1].running_mean.fill_(50.0)
    batches = [torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(n)) + n for n in range(3)]
    renew_statistics(net, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(net[0].running_mean, expected, atol=1e-6)
    assert net[1].running_mean.tolist() == [50.0, 50.0]
    assert (net[0].training, net[0].momentum) == (False, 0.1)
    renew_statistics(nn.Linear(1, 1), iter(()))


def test_the_better_of_the_two_is_kept_and_both_numbers_are_told(
    crops: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = train(crops, tmp_path, average_top=2)
    record, before = training_contract.read(tmp_path), training_contract.read(plain)
    assert record.average is not None
    assert len(record.average.epochs) == 2
    assert record.average.epochs[0] == record.best_epoch == before.best_epoch
    assert record.average.best_val_macro_f1 == record.best_val_macro_f1 == before.best_val_macro_f1
    assert report.average_val_macro_f1 == record.average.val_macro_f1
    assert report.val_macro_f1 == max(record.average.val_macro_f1, record.best_val_macro_f1)
    assert record.average.kept == (record.average.val_macro_f1 > record.best_val_macro_f1)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best.ckpt", *(f"epoch-{epoch:03d}.ckpt" for epoch in sorted(record.average.epochs))]
    # the training itself is not touched
    table = "csv_logs/metrics.csv"
    assert (tmp_path / table).read_bytes() == (plain / table).read_bytes()
    best = weights(tmp_path / "checkpoints" / f"epoch-{record.best_epoch:03d}.ckpt")
    assert same(best, weights(plain / training_contract.BEST_CHECKPOINT))


@pytest.mark.long
@pytest.mark.parametrize("wins", [True, False])
def test_what_is_kept_is_the_mean_of_the_epochs_or_the_best_one_to_the_bit(
    crops: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wins: bool
) -> None:
    # statistics as they came, as with a pretrained network: then every tensor is the mean
    monkeypatch.setattr(average, "renew_statistics", lambda net, _batches: net.eval())
    mean_of = average.mean_state

    def spoilt(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: value * (1 if wins else torch.nan) for name, value in mean_of(states).items()}

    monkeypatch.setattr(average, "mean_state", spoilt)
    if wins:  # whatever the numbers are
        monkeypatch.setattr(
            Checkpoints, "best_score", property(lambda _self: -1.0, lambda _self, _score: None), raising=False
        )
    train(crops, tmp_path, average_top=3)
    record = training_contract.read(tmp_path)
    assert record.average is not None
    assert record.average.kept == wins
    kept = weights(tmp_path / training_contract.BEST_CHECKPOINT)
    if wins:
        files = [tmp_path / "checkpoints" / f"epoch-{epoch:03d}.ckpt" for epoch in record.average.epochs]
        assert same(kept, mean_of([weights(file) for file in files]))
    else:
        assert same(kept, weights(plain / training_contract.BEST_CHECKPOINT))


def test_without_the_option_and_with_one_epoch_there_is_no_average(crops: Path, plain: Path, tmp_path: Path) -> None:
    assert training_contract.read(plain).average is None
    assert [path.name for path in (plain / "checkpoints").iterdir()] == ["best.ckpt"]
    report = train_classifier(
        crops=crops, out=tmp_path, experiment="e1", config=recipe(epochs=1, average_top=3), backbone=BACKBONE,
        device="cpu",
    )  # fmt: skip
    assert report.average_val_macro_f1 is None
    assert report.val_macro_f1 == report.best_val_macro_f1


@pytest.mark.long
def test_an_average_that_was_interrupted_is_made_again_on_an_empty_disk_and_stale_epochs_go(
    crops: Path, tmp_path: Path, fresh_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"average_top": 2, "ema_decay": 0.9}
    train(crops, tmp_path / "unbroken", **changes)
    fresh_store.put_bytes("models/shapes/e1/checkpoints/epoch-077.ckpt", b"of another training")

    def killed(self: Checkpoints) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoints, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            train(crops, tmp_path / "first", store=fresh_store, **changes)
    report = train(crops, tmp_path / "second", store=fresh_store, **changes)
    assert report.resumed_after == 3
    for name in ("csv_logs/metrics.csv", "training.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    best = training_contract.BEST_CHECKPOINT
    assert same(weights(tmp_path / "second" / best), weights(tmp_path / "unbroken" / best))
    names = {key.rsplit("/", 1)[1] for key in fresh_store.list_keys("models/shapes/e1/checkpoints/")}
    assert names == {path.name for path in (tmp_path / "unbroken" / "checkpoints").iterdir()}
