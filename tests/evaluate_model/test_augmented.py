"""Test-time augmentation is told beside the released model's numbers and changes none of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silhouette.config import EvaluateConfig, GateConfig
from silhouette.contracts.evaluation import Evaluation
from silhouette.evaluate_model.augmented import augmented_scores, view_names, views_of
from silhouette.evaluate_model.evaluate import evaluate_model
from silhouette.evaluate_model.scores import Answers
from silhouette.export_model.export import export_model
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes

OFF = GateConfig.model_validate(dict.fromkeys(GateConfig.model_fields))


@pytest.mark.parametrize(("kinds", "count"), [([], 1), (["flip"], 2), (["zoom"], 2), (["zoom", "flip"], 4)])
def test_every_view_has_a_name_and_the_crops_shape(kinds: list[str], count: int) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    views = views_of(crops, kinds)
    assert len(views) == len(view_names(kinds)) == len({view.tobytes() for view in views}) == count
    assert all(view.shape == crops.shape and view.dtype == np.uint8 for view in views)
    assert views[0] is crops


def test_the_mirrored_view_is_mirrored_and_the_zoomed_one_shows_the_middle() -> None:
    crop = np.zeros((1, 32, 32, 3), np.uint8)
    crop[:, :, :2] = 255  # a rim at the left, which a zoom loses
    _, zoomed, flipped, both = views_of(crop, ["flip", "zoom"])
    assert not zoomed.any()
    assert not both.any()
    assert (flipped[:, :, -2:] == 255).all()
    assert not flipped[:, :, :-2].any()


def test_the_difference_is_paired_and_its_interval_is_nothing_for_the_same_answers() -> None:
    random = np.random.default_rng(3)
    labels = np.arange(60) % 3
    probabilities = random.dirichlet(np.ones(3), 60).astype(np.float32)
    plain = Answers(labels=labels, probabilities=probabilities, groups=[f"p{n // 2}" for n in range(60)])
    right = Answers(labels=labels, probabilities=np.eye(3, dtype=np.float32)[labels], groups=plain.groups)
    same = augmented_scores(plain, plain, kinds=["flip"], seed=1).macro_f1_difference
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = augmented_scores(right, plain, kinds=["flip"], seed=1)
    assert (better.macro_f1.value, better.accuracy, better.ece) == (1, 1, 0)
    assert better.macro_f1_difference.low > 0


def test_the_mean_answer_is_told_beside_the_plain_one_and_no_other_number_changes(tmp_path: Path) -> None:
    write_shapes(tmp_path / "crops", per_class={"train": 12, "val": 4, "test": 6}, shuffled=True)
    train_classifier(
        crops=tmp_path / "crops", out=tmp_path / "training", experiment="e1", config=recipe(epochs=1),
        backbone=BACKBONE, device="cpu",
    )  # fmt: skip
    export_model(crops=tmp_path / "crops", training=tmp_path / "training", out=tmp_path / "bundle")

    def judge(name: str, config: EvaluateConfig | None = None) -> Evaluation:
        return evaluate_model(
            crops=tmp_path / "crops", bundle=tmp_path / "bundle", out=tmp_path / name, gate=OFF, config=config
        )

    plain, both = judge("plain"), judge("both", EvaluateConfig(test_time_augmentation=["flip", "zoom"]))
    assert plain.augmented is None
    assert plain == both.model_copy(update={"augmented": None})
    assert both.augmented is not None
    assert both.augmented.views == ["as it is", "zoomed in", "as it is, mirrored", "zoomed in, mirrored"]
    gain = both.augmented.macro_f1.value - both.macro_f1
    assert both.augmented.macro_f1_difference.value == pytest.approx(gain)
    assert both.augmented.ece != pytest.approx(plain.scalars()["ece"])
    assert both.scalars()["augmented_macro_f1"] == both.augmented.macro_f1.value
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "Asked several times" in page
    assert f"{both.augmented.macro_f1.value:.3f}" in page
    assert "Asked several times" not in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
