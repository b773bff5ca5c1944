"""The grouped bootstrap: how much a score would have differed, had other shoots been on the test split.

Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals); whole groups are drawn
(cluster bootstrap, Davison & Hinkley 1997, section 3.8), since pictures of one shoot resemble each other. Two sets of
answers to the same crops are drawn alike when the seed is the same: the interval of a difference is paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.evaluation import Interval

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.evaluate_model.scores import Answers

RESAMPLES = 2000
_AT_ONCE = 50  # draws multiplied at a time: memory stays small however many groups there are


def drawn_confusions(answers: Answers, *, seed: int) -> npt.NDArray[np.int64]:
    """Return the confusions of `RESAMPLES` test splits drawn from this one, int64 [resamples, classes, classes]."""
    names, number = np.unique(np.asarray(answers.groups, dtype=object).astype(str), return_inverse=True)
    size = answers.probabilities.shape[1]
    cells = np.zeros((len(names), size * size))
    np.add.at(cells, (number, answers.labels * size + answers.predicted), 1)
    random = np.random.default_rng(seed % 2**32)
    drawn = np.empty((RESAMPLES, size * size), dtype=np.int64)
    for start in range(0, RESAMPLES, _AT_ONCE):
        times = np.stack([
            np.bincount(random.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(_AT_ONCE)
        ])  # fmt: skip
        drawn[start : start + _AT_ONCE] = np.rint(times @ cells)
    return drawn.reshape(-1, size, size)


def interval(value: float, drawn: npt.NDArray[np.float64]) -> Interval:
    """Return a value with the 2.5th and the 97.5th percentile of what was drawn."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))
