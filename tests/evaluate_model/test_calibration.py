"""Calibration against values computed by hand, and against models whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest

from silhouette.evaluate_model.calibration import (
    adaptive_ece,
    calibration_of,
    ece,
    ece_by_chance,
    scores_of,
    without_temperature,
)
from silhouette.evaluate_model.scores import Answers


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def drawn_by(probabilities: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Labels as often as the probabilities say: their model is perfectly calibrated."""
    return (random.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)


def test_the_error_is_the_mean_distance_of_accuracy_and_confidence_by_bin() -> None:
    sure, right = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True])
    assert ece(sure, right) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert ece(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert ece(np.array([0.05]), np.array([False])) == pytest.approx(0.05)


def test_bins_of_one_width_hide_what_bins_of_one_size_show() -> None:
    # within one bin of width 1/15 the errors of two halves cancel
    sure = np.repeat([0.94, 0.99], 150)
    right = np.r_[np.ones(150, bool), np.arange(150) < 140]
    assert adaptive_ece(sure, right) > ece(sure, right)
    assert adaptive_ece(sure, right) == pytest.approx((0.06 + abs(0.99 - 140 / 150)) / 2, abs=0.01)


def test_log_loss_and_brier_are_those_of_the_textbook() -> None:
    found = scores_of(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]), np.array([0, 1]))
    assert found.nll == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    assert found.brier == pytest.approx((0.3**2 + 0.2**2 + 0.1**2 + 0.3**2 + 0.7**2 + 0.4**2) / 2)
    assert sum(each.crops for each in found.bins) == 2


def test_a_probability_of_zero_for_the_true_class_costs_much_and_not_infinitely_much() -> None:
    assert 80 < scores_of(np.array([[0.0, 1.0, 0.0]]), np.array([0])).nll < 90


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.7])
def test_the_temperature_can_be_taken_out_again(temperature: float) -> None:
    logits = np.random.default_rng(1).normal(0, 4, (50, 3))
    released = softmax(logits / temperature).astype(np.float32)
    assert without_temperature(released, temperature) == pytest.approx(softmax(logits), abs=1e-4)


def test_before_is_worse_than_after_when_the_temperature_is_right() -> None:
    random = np.random.default_rng(2)
    logits = random.normal(0, 2, (4000, 3))
    labels = drawn_by(softmax(logits), random)
    released = Answers(labels=labels, probabilities=softmax(logits).astype(np.float32), groups=[])
    found = calibration_of(released, temperature=3.0, seed=1)  # as if the network had been three times too sure
    assert found.before.ece > 0.15
    assert found.after.ece < found.ece_by_chance < 0.04
    assert found.after.nll < found.before.nll
    assert found.after.brier < found.before.brier


def test_chance_allows_few_crops_more_than_many_and_holds_in_95_of_100_cases() -> None:
    random = np.random.default_rng(3)
    sure = random.uniform(0.4, 1, 80)
    few, many = ece_by_chance(sure, seed=1), ece_by_chance(np.repeat(sure, 25), seed=1)
    assert few > 3 * many
    below = [ece(sure, random.random(80) < sure) <= few for _ in range(400)]
    assert np.mean(below) == pytest.approx(0.95, abs=0.03)
