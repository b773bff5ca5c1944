"""Intervals that know about shoots, and differences that are paired."""

from __future__ import annotations

import numpy as np
import pytest

from silhouette.evaluate_model.resampling import RESAMPLES, drawn_confusions, interval
from silhouette.evaluate_model.scores import Answers, accuracy_of, f1_of
from tests.evaluate_model.test_scores import answers


def width(some: Answers) -> float:
    found = interval(0.0, f1_of(drawn_confusions(some, seed=1)).mean(axis=-1))
    return found.high - found.low


def test_the_interval_holds_the_value_and_is_the_same_again() -> None:
    some = answers(skill=0.3)
    drawn = f1_of(drawn_confusions(some, seed=1)).mean(axis=-1)
    found = interval(float(f1_of(some.confusion).mean()), drawn)
    assert len(drawn) == RESAMPLES
    assert found.low < found.value < found.high
    assert (drawn_confusions(some, seed=1) == drawn_confusions(some, seed=1)).all()
    assert (drawn_confusions(some, seed=1) != drawn_confusions(some, seed=2)).any()


def test_every_draw_has_as_many_crops_as_the_split_when_groups_are_of_one_size() -> None:
    assert set(drawn_confusions(answers(), seed=1).sum(axis=(1, 2)).tolist()) == {300}


def test_it_agrees_with_the_binomial_where_crops_are_independent() -> None:
    some = answers(3000, skill=0.3)
    value = float(accuracy_of(some.confusion))
    found = interval(value, accuracy_of(drawn_confusions(some, seed=1)))
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(value * (1 - value) / 3000), rel=0.1)


def test_groups_of_alike_crops_widen_it_by_the_square_root_of_their_size() -> None:
    alone = answers(skill=0.3)
    labels, probabilities = np.repeat(alone.labels, 9), np.repeat(alone.probabilities, 9, axis=0)
    together = Answers(labels=labels, probabilities=probabilities, groups=[str(at // 9) for at in range(2700)])
    careless = Answers(labels=labels, probabilities=probabilities, groups=[str(at) for at in range(2700)])
    assert width(together) / width(careless) == pytest.approx(3, rel=0.15)


def test_a_difference_is_paired() -> None:
    one, other = answers(skill=0.3), answers(skill=0.3)
    assert (drawn_confusions(one, seed=1) == drawn_confusions(other, seed=1)).all()
    better = Answers(labels=one.labels, probabilities=one.probabilities.copy(), groups=one.groups)
    wrong = (one.predicted != one.labels).nonzero()[0][:10]
    better.probabilities[wrong] = np.eye(3, dtype=np.float32)[one.labels[wrong]]
    gain = accuracy_of(drawn_confusions(better, seed=1)) - accuracy_of(drawn_confusions(one, seed=1))
    found = interval(10 / 300, gain)
    assert found.low > 0, "ten answers more and none less: never worse, in whatever draw"
