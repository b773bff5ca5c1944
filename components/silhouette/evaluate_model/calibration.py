"""How far the probabilities can be taken at their word: calibration errors, before and after the temperature.

Formulas and their sources are in docs/evaluation.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.evaluation import Calibration, CalibrationBin, CalibrationScores

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.evaluate_model.scores import Answers

BINS = 15
_CHANCE_SPLITS = 1000
_TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 in float32 is one that was smaller than this


def calibration_of(answers: Answers, *, temperature: float, seed: int) -> Calibration:
    """Return the calibration of answers that a temperature has gone into, with and without it."""
    return Calibration(
        temperature=temperature,
        before=scores_of(without_temperature(answers.probabilities, temperature), answers.labels),
        after=scores_of(answers.probabilities.astype(np.float64), answers.labels),
        ece_by_chance=ece_by_chance(answers.probabilities.max(axis=1).astype(np.float64), seed=seed),
    )


def without_temperature(probabilities: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Take the temperature T out again: softmax(z) is softmax(z / T) to the power of T, brought back to a sum of 1."""
    logits = temperature * np.log(np.maximum(probabilities.astype(np.float64), _TINY))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def scores_of(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> CalibrationScores:
    """Return the calibration of probabilities, float64 [n, classes], against labels, int64 [n]."""
    rows = np.arange(len(labels))
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    truth = np.zeros_like(probabilities)
    truth[rows, labels] = 1
    numbers = _bins(sure)
    return CalibrationScores(
        ece=ece(sure, right),
        adaptive_ece=adaptive_ece(sure, right),
        nll=float(-np.log(np.maximum(probabilities[rows, labels], _TINY)).mean()),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        bins=[
            CalibrationBin(
                crops=int((numbers == number).sum()), confidence=float(sure[numbers == number].mean()),
                accuracy=float(right[numbers == number].mean()),
            )
            for number in np.unique(numbers)
        ],
    )  # fmt: skip


def ece(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: per bin of equal width, how far accuracy and confidence are apart."""
    gaps = np.bincount(_bins(sure), weights=right - sure, minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def adaptive_ece(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Return the same with bins of equally many crops, so that no bin rests on two of them."""
    parts = np.array_split((right - sure)[np.argsort(sure, kind="stable")], BINS)
    return float(sum(abs(part.sum()) for part in parts) / len(sure))


def ece_by_chance(sure: npt.NDArray[np.float64], *, seed: int) -> float:
    """Return the 95th percentile of the ECE of a perfectly calibrated model with the same confidences.

    Its answers are right by exactly these odds (consistency resampling, Broecker & Smith 2007): on few crops its ECE
    is far from 0 all the same.
    """
    random = np.random.default_rng(seed % 2**32)
    drawn = [ece(sure, random.random(len(sure)) < sure) for _ in range(_CHANCE_SPLITS)]
    return float(np.quantile(drawn, 0.95))


def _bins(sure: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the number of each confidence's bin; a bin holds its upper edge (Guo et al. 2017)."""
    return np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
