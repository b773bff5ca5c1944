"""Records at Weights & Biases, without an account: what is kept, what is sent later, what is never sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from silhouette.errors import InputError, ServiceError
from silhouette.store import Store
from silhouette.train_classifier import tracking
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")


def train(tmp_path: Path, store: Store | None = None, **changes: Any) -> None:
    if not (tmp_path / "crops").exists():
        write_shapes(tmp_path / "crops", per_class={"train": 8, "val": 4})
    train_classifier(
        crops=tmp_path / "crops", out=tmp_path / "out", experiment="e1", config=recipe(**changes), backbone=BACKBONE,
        device="cpu", store=store,
    )  # fmt: skip


@pytest.mark.usefixtures("offline")
def test_the_record_of_a_run_without_an_account_reaches_the_store(tmp_path: Path, fresh_store: Store) -> None:
    train(tmp_path, fresh_store)
    kept = [key for key in fresh_store.list_keys("models/") if "/wandb/" in key]
    assert len(kept) == 1
    assert kept[0].endswith(".wandb")
    local = next((tmp_path / "out" / "wandb").rglob("*.wandb"))
    assert fresh_store.get_bytes(kept[0]) == local.read_bytes()
    assert local.parent.name.startswith("offline-run-")


@pytest.mark.usefixtures("offline")
def test_pictures_are_in_the_record_only_when_the_recipe_says_so(tmp_path: Path, fresh_store: Store) -> None:
    train(tmp_path, fresh_store, wandb_pictures=True)
    kept = [key for key in fresh_store.list_keys("models/") if "/wandb/" in key]
    assert sum(key.endswith(".png") for key in kept) == 2


@pytest.mark.usefixtures("offline")
def test_a_run_that_is_taken_up_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from silhouette.train_classifier.classifier import CropClassifier

    class _InterruptError(Exception):
        pass

    def stopping(self: CropClassifier) -> None:
        if self.current_epoch == 1:
            raise _InterruptError

    with monkeypatch.context() as broken:
        broken.setattr(CropClassifier, "on_train_epoch_start", stopping)
        broken.setattr(CropClassifier, "on_train_start", lambda _self: None)
        with pytest.raises(_InterruptError):
            train(tmp_path, epochs=2)
    train(tmp_path, epochs=2)
    records = sorted((tmp_path / "out" / "wandb").rglob("*.wandb"))
    assert len(records) in (1, 2)  # two within one second share a folder
    assert len({path.name for path in records}) == 1


@pytest.mark.long
def test_a_server_that_is_out_of_reach_costs_the_record_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(tracking, "_PATIENCE_S", 2.0)
    train(tmp_path, epochs=1)
    assert "Weights & Biases is left out of this run" in caplog.text
    assert (tmp_path / "out" / "training.json").is_file()


def test_sending_needs_a_record_and_an_account(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must have a record of a run without an account"):
        tracking.sync(tmp_path)
    record = tmp_path / "wandb" / "offline-run-20260101_000000-abc" / "run-abc.wandb"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"")
    with pytest.raises(InputError, match="WANDB_API_KEY is not set"):
        tracking.sync(tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("offline")
def test_a_server_that_does_not_take_the_record_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    train(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setattr(tracking, "_SYNC_PATIENCE_S", 20.0)
    with pytest.raises(ServiceError, match="Weights & Biases must take the record") as told:
        tracking.sync(tmp_path / "out")
    assert "k" * 40 not in str(told.value)
