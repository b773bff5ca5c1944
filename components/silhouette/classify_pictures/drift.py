"""How far the answers of a run are spread otherwise than those on the test split.

The population stability index of two histograms, sum of (a - e) ln(a / e) over their shares: below 0.1 they count as
alike, from 0.25 on as different (N. Siddiqi, Credit Risk Scorecards, 2006). Each count is raised by a half, so that an
empty bin weighs what its sample can tell. With few answers it is high by chance, and so no verdict is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from silhouette.contracts import scores
from silhouette.contracts.scores import Scores

ALIKE, DIFFERENT = 0.1, 0.25
LEAST_ANSWERS = 50


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The comparison.

    Attributes:
        confidence: The index of the highest probabilities.
        classes: The index of the classes' shares.
        answers: Of this run, one a person that the test split would have had as well.
        test_answers: Of the test split.
        verdict: ``alike``, ``shifted``, ``different``, or ``too few`` to tell.
    """

    confidence: float
    classes: float
    answers: int
    test_answers: int
    verdict: str


class AnswerCounts:
    """Counts answers as they pass."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(classes)}
        self._predicted = [0] * len(classes)
        self._confidence = [0] * scores.BINS

    def add(self, predicted: str, probability: float) -> None:
        """Count one answer."""
        self._predicted[self._numbers[predicted]] += 1
        self._confidence[scores.bin_of(probability)] += 1

    def against(self, test: Scores) -> Drift:
        """Compare with the test split."""
        confidence = index_of(self._confidence, test.confidence)
        classes = index_of(self._predicted, test.predicted)
        answers, test_answers = sum(self._predicted), sum(test.predicted)
        worst = max(confidence, classes)
        verdict = "alike" if worst < ALIKE else "shifted" if worst < DIFFERENT else "different"
        return Drift(
            confidence=round(confidence, 4),
            classes=round(classes, 4),
            answers=answers,
            test_answers=test_answers,
            verdict=verdict if min(answers, test_answers) >= LEAST_ANSWERS else "too few",
        )


def index_of(counts: Sequence[int], expected: Sequence[int]) -> float:
    """Return the population stability index of two histograms with the same bins."""
    ours, theirs = ([count + 0.5 for count in side] for side in (counts, expected))
    shares = zip((x / sum(ours) for x in ours), (x / sum(theirs) for x in theirs), strict=True)
    return sum((a - e) * math.log(a / e) for a, e in shares)
