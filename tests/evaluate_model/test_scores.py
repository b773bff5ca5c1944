"""Numbers against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from silhouette.evaluate_model.scores import (
    MOST_POINTS,
    Answers,
    accuracy_of,
    balanced_accuracy_of,
    f1_of,
    majority_scores,
    pooled_roc,
    precision_recall_curves,
    roc_curves,
)

NAMES = ["a", "b", "c"]


def answers(count: int = 300, *, skill: float = 1.0, groups: list[str] | None = None) -> Answers:
    random = np.random.default_rng(1)
    labels = random.integers(3, size=count)
    raw = random.random((count, 3)) + skill * np.eye(3)[labels]
    return Answers(
        labels=labels, probabilities=(raw / raw.sum(1, keepdims=True)).astype(np.float32),
        groups=groups or [str(number) for number in range(count)],
    )  # fmt: skip


def test_macro_f1_is_scikit_learns() -> None:
    some = answers(skill=0.3)
    assert f1_of(some.confusion).mean() == pytest.approx(f1_score(some.labels, some.predicted, average="macro"))
    assert some.confusion.sum() == 300


def test_a_class_that_never_occurs_has_f1_zero() -> None:
    assert f1_of(np.array([[5, 0], [0, 0]])).tolist() == [1.0, 0.0]


def test_accuracies_are_scikit_learns_and_balanced_accuracy_passes_over_what_does_not_occur() -> None:
    some = answers(skill=0.3)
    assert accuracy_of(some.confusion) == pytest.approx(accuracy_score(some.labels, some.predicted))
    expected = balanced_accuracy_score(some.labels, some.predicted)
    assert balanced_accuracy_of(some.confusion) == pytest.approx(expected)
    assert balanced_accuracy_of(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])) == pytest.approx((0.75 + 1) / 2)
    assert balanced_accuracy_of(np.stack([some.confusion] * 4)) == pytest.approx([expected] * 4)


def test_always_answering_the_majority_scores_its_share() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [2] * 2)
    accuracy, macro_f1 = majority_scores(labels, majority=0, classes=3)
    assert accuracy == 0.6
    assert macro_f1 == pytest.approx(0.75 / 3)


def test_curves_are_short_enough_for_the_ui_and_hold_no_infinity() -> None:
    some = answers(5000, skill=0.2)
    curves = [*roc_curves(some, NAMES), *precision_recall_curves(some, NAMES), pooled_roc(some)]
    assert len(curves) == 7
    for curve in curves:
        assert 2 < len(curve.x) == len(curve.y) == len(curve.thresholds) <= MOST_POINTS
        assert np.isfinite([*curve.x, *curve.y, *curve.thresholds]).all()
        assert max(curve.thresholds) <= 1
        assert 0 < curve.area <= 1
    assert (curves[0].x[0], curves[0].y[0], curves[0].x[-1], curves[0].y[-1]) == (0, 0, 1, 1)


def test_a_class_that_the_split_lacks_has_no_curve() -> None:
    some = answers()
    only = Answers(labels=np.zeros_like(some.labels), probabilities=some.probabilities, groups=some.groups)
    assert roc_curves(only, NAMES) == []
    assert [curve.name for curve in precision_recall_curves(only, NAMES)] == ["a"]
