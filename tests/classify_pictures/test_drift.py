from __future__ import annotations

import math

import pytest

from silhouette.classify_pictures.drift import AnswerCounts, index_of
from silhouette.contracts import scores

CLASSES = ["a", "b"]


def spread(*answers: tuple[str, float, int]) -> AnswerCounts:
    counts = AnswerCounts(CLASSES)
    for name, probability, times in answers:
        for _ in range(times):
            counts.add(name, probability)
    return counts


def test_answers_are_counted_by_class_and_confidence() -> None:
    answers = [(0, 0.95)] * 60 + [(1, 0.85)] * 40
    found = scores.count(CLASSES, answers)
    assert (found.predicted, found.confidence[8:]) == ([60, 40], [40, 60])


TEST = scores.count(CLASSES, [(0, 0.95)] * 60 + [(1, 0.85)] * 40)


def test_the_index_is_the_published_formula() -> None:
    """Worked by hand: shares 0.5 / 0.5 against 0.2 / 0.8."""
    wanted = (0.5 - 0.2) * math.log(0.5 / 0.2) + (0.5 - 0.8) * math.log(0.5 / 0.8)
    assert index_of([50_000, 50_000], [20_000, 80_000]) == pytest.approx(wanted, rel=1e-3)
    assert index_of([7, 3], [7, 3]) == 0


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([("a", 0.96, 61), ("b", 0.84, 39)], "alike"),
        ([("a", 0.96, 42), ("b", 0.84, 58)], "shifted"),
        ([("a", 0.55, 50), ("b", 0.52, 50)], "different"),
        ([("a", 0.95, 6), ("b", 0.85, 4)], "too few"),
    ],
)
def test_verdicts(answers: list[tuple[str, float, int]], verdict: str) -> None:
    found = spread(*answers).against(TEST)
    assert (found.verdict, found.test_answers) == (verdict, 100)
    assert found.answers == sum(times for *_, times in answers)


@pytest.mark.parametrize(("probability", "number"), [(0.0, 0), (0.0999, 0), (0.1, 1), (1.0, 9), (0.95, 9)])
def test_bins(probability: float, number: int) -> None:
    assert scores.bin_of(probability) == number
