"""A search over the recipe: what it tries, what it keeps, how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from silhouette.config import load_config
from silhouette.errors import InputError
from silhouette.train_classifier import tune as tuning
from silhouette.train_classifier.tune import SPACE, TuneReport, tune
from tests.shapes import BACKBONE, recipe, write_shapes


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_shapes(folder, per_class={"train": 8, "val": 4})
    return folder


def search(crops: Path, out: Path, **changes: Any) -> TuneReport:
    given: dict[str, Any] = {"trials": 2, "parameters": ["learning_rate", "mixup"], "config": recipe(backbone=BACKBONE)}
    return tune(crops=crops, out=out, device="cpu", **given | changes)


def test_the_first_trial_is_the_recipe_and_the_best_is_a_configuration(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = search(crops, tmp_path, trials=3)
    assert (report.trials, report.pruned) == (3, 0)
    assert report.best_val_macro_f1 >= report.base_val_macro_f1
    content = yaml.safe_load(report.config.read_text())
    assert content == {"training": report.best}
    assert set(report.best) == {"learning_rate", "mixup"}
    laid_over = load_config({"SILHOUETTE_CONFIG": str(report.config)}).training
    assert laid_over.learning_rate == report.best["learning_rate"]
    assert not list(tmp_path.rglob("*.ckpt"))
    assert len(list(tmp_path.rglob("metrics.csv"))) == 3


def test_a_stopped_search_goes_on_and_a_finished_one_does_nothing(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = tuning.train_classifier, []

    def counting(**options: Any) -> Any:
        made.append(options["config"])
        if len(made) == 2:
            raise KeyboardInterrupt
        return real(**options)

    monkeypatch.setattr(tuning, "train_classifier", counting)
    with pytest.raises(KeyboardInterrupt):
        search(crops, tmp_path)
    assert search(crops, tmp_path).trials == 2
    assert len(made) == 3
    assert search(crops, tmp_path).trials == 2
    assert len(made) == 3
    assert made[0] == recipe(backbone=BACKBONE, devices=1)


def test_a_trial_that_falls_behind_is_given_up(crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.9, 0.9, 0.9, 0.9, 0.1])

    class _Report:
        val_macro_f1 = 0.9

    def scoring(**options: Any) -> Any:
        score = next(scores)
        for epoch in (1, 2, 3):
            options["on_epoch"](epoch, score)
        return _Report

    monkeypatch.setattr(tuning, "train_classifier", scoring)
    report = search(crops, tmp_path, trials=5)
    assert (report.trials, report.pruned) == (5, 1)


def test_every_parameter_of_the_space_is_one_of_the_recipe_and_its_values_are_valid(crops: Path) -> None:
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        recipe(**{name: propose(trial) for name, propose in SPACE.items()})


def test_a_typo_and_another_search_in_the_folder_are_one_line(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'learning_rat'; do you mean learning_rate\?"):
        search(crops, tmp_path, parameters=["learning_rat"])
    search(crops, tmp_path, trials=1)
    with pytest.raises(InputError, match="must be over the same crops, recipe and parameters"):
        search(crops, tmp_path, parameters=["mixup"])
