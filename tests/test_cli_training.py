"""`silhouette reproduce`, `tune` and `wandb sync` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.store import Store
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes


@pytest.fixture(autouse=True)
def _place(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def test_an_experiment_is_trained_again_and_a_difference_is_an_error(tmp_path: Path, store: Store) -> None:
    write_shapes(tmp_path / "crops", per_class={"train": 8, "val": 4})
    train_classifier(
        crops=tmp_path / "crops", out=tmp_path / "first", experiment="again", config=recipe(epochs=1),
        backbone=BACKBONE, device="cpu", store=store,
    )  # fmt: skip
    report = json.loads(say("--json", "reproduce", "again", "--device", "cpu").stdout)
    assert report["identical"] is True
    key = next(key for key in store.list_keys("models/") if key.endswith("again/csv_logs/metrics.csv"))
    store.put_bytes(key, b"epoch\n1\n")
    assert "must be that of the first training, it is not: recorded 'epoch'" in say("reproduce", "again", code=1).output
    said = say("wandb", "sync", "again", code=1).output
    assert "must have a record of a run without an account" in said


@pytest.mark.long
@pytest.mark.usefixtures("store")
def test_a_training_on_two_devices_ends_as_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / ".silhouette" / "work" / "shapes"
    write_shapes(work / "crops", per_class={"train": 8, "val": 4})
    monkeypatch.setenv("SILHOUETTE_CONFIG__TRAINING__DEVICES", "2")
    command = ("train", "--group", "shapes", "--experiment", "two", "--epochs", "1", "--backbone", BACKBONE)
    report = json.loads(say("--json", *command).stdout)
    assert (report["devices"], report["epochs"], report["best_epoch"]) == (2, 1, 1)
    assert json.loads((work / "training" / "training.json").read_text())["parameters"]["devices"] == 2
    # the record says on how many, so that a second training is on as many and gives the same bytes
    assert json.loads(say("--json", "reproduce", "two", "--device", "cpu").stdout)["identical"] is True


def test_a_search_over_a_groups_crops_leaves_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "silhouette dataset" in say("tune", "--group", "shapes", code=1).output
    write_shapes(tmp_path / ".silhouette" / "work" / "shapes" / "crops", per_class={"train": 8, "val": 4})
    (tmp_path / "small.yaml").write_text(
        yaml.safe_dump({"training": {"backbone": BACKBONE, "batch_size": 8, "frozen_epochs": 0}})
    )
    monkeypatch.setenv("SILHOUETTE_CONFIG", str(tmp_path / "small.yaml"))
    search = ("tune", "--group", "shapes", "--trials", "1", "--epochs", "1", "--parameters", "mixup", "--device", "cpu")
    report = json.loads(say("--json", *search).stdout)
    assert report["trials"] == 1
    assert report["best"] == {"mixup": 0.0}
    assert yaml.safe_load(Path(report["config"]).read_text()) == {"training": {"mixup": 0.0}}
