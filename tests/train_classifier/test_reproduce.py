"""An experiment is trained again from the store alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.train_classifier.reproduce import find_experiment, reproduce
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes


@pytest.fixture
def trained(tmp_path: Path, fresh_store: Store) -> Store:
    write_shapes(tmp_path / "crops", group="летние фигуры")
    train_classifier(
        crops=tmp_path / "crops", out=tmp_path / "first", experiment="e 1", config=recipe(epochs=2, mixup=0.2),
        backbone=BACKBONE, device="cpu", store=fresh_store,
    )  # fmt: skip
    return fresh_store


def test_the_same_crops_recipe_and_seed_give_the_same_log(trained: Store, tmp_path: Path) -> None:
    before = list(trained.list_keys(""))
    report = reproduce(experiment="e 1", group="", store=trained, out=tmp_path / "again", device="cpu")
    assert report.identical
    assert report.first_difference == ""
    assert report.epochs == 2
    assert list(trained.list_keys("")) == before


def test_another_log_is_told_by_its_first_line_that_differs(trained: Store, tmp_path: Path) -> None:
    key = next(key for key in trained.list_keys("models/") if key.endswith("metrics.csv"))
    lines = trained.get_bytes(key).decode().splitlines()
    trained.put_bytes(key, "\n".join([*lines[:2], "2,0,0,0,0,0,0", "3,0"]).encode())
    report = reproduce(experiment="e 1", group="летние фигуры", store=trained, out=tmp_path / "again", device="cpu")
    assert not report.identical
    assert report.first_difference.startswith("recorded '2,0,0,0,0,0,0', now '2,")


def test_an_unknown_experiment_names_those_that_are_there(trained: Store) -> None:
    with pytest.raises(InputError, match=rf"got 'e2'; there are: {safe_key('e 1')}$"):
        find_experiment("e2", group="", store=trained)
    with pytest.raises(InputError, match=r"of 'other', got 'e 1'; there are: none"):
        find_experiment("e 1", group="other", store=trained)


def test_crops_that_are_gone_are_told(trained: Store, tmp_path: Path) -> None:
    for key in list(trained.list_keys("crops/")):
        trained.remove(key)
    with pytest.raises(InputError, match="the store must have the crops"):
        reproduce(experiment="e 1", group="", store=trained, out=tmp_path / "again", device="cpu")
