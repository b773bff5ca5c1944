"""Answers turned into numbers: F1, accuracies, baselines, curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

MOST_POINTS = 100  # of a curve: the KFP UI draws no more


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the model said of one split.

    Attributes:
        labels: int64 [n], true classes.
        probabilities: float32 [n, classes].
        groups: Of each crop, what must be drawn together: its pixset, or its picture where it has none.
    """

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    groups: Sequence[str]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable classes, int64 [n]."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts [true class, predicted class]."""
        size = self.probabilities.shape[1]
        cells = np.bincount(self.labels * size + self.predicted, minlength=size * size)
        return cells.reshape(size, size)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve of one class against the rest, at most `MOST_POINTS` long.

    Attributes:
        name: The class.
        x: False positive rate of a ROC, recall of a precision-recall curve.
        y: True positive rate, or precision.
        thresholds: The probability from which on the class is said; 1 at most.
        area: Under the curve (average precision for precision-recall).
    """

    name: str
    x: list[float]
    y: list[float]
    thresholds: list[float]
    area: float


def f1_of(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return each class's F1, [..., classes] from confusions [..., classes, classes]; 0 for what never occurs."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray(2 * hits / np.maximum(total, 1))


def accuracy_of(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the share of right answers, [...] from confusions [..., classes, classes]."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return np.asarray(hits / np.maximum(confusion.sum(axis=(-2, -1)), 1))


def balanced_accuracy_of(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean recall over the classes that occur, [...] from confusions [..., classes, classes]."""
    hits, support = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1)
    recall = hits / np.maximum(support, 1)
    return np.asarray(recall.sum(axis=-1) / np.maximum((support > 0).sum(axis=-1), 1))


def majority_scores(labels: npt.NDArray[np.int64], *, majority: int, classes: int) -> tuple[float, float]:
    """Return (accuracy, macro-F1) of always answering `majority`."""
    always = np.zeros((len(labels), classes), dtype=np.float32)
    always[:, majority] = 1
    confusion = Answers(labels=labels, probabilities=always, groups=[]).confusion
    return float((labels == majority).mean()), float(f1_of(confusion).mean())


def roc_curves(answers: Answers, classes: Sequence[str]) -> list[Curve]:
    """Return a ROC for each class that is on the split beside others."""
    from sklearn.metrics import roc_auc_score, roc_curve

    curves = []
    for number, name in enumerate(classes):
        truth, scores = answers.labels == number, answers.probabilities[:, number]
        if 0 < truth.sum() < len(truth):
            x, y, thresholds = roc_curve(truth, scores)
            curves.append(_thin(name, x, y, np.minimum(thresholds, 1), float(roc_auc_score(truth, scores))))
    return curves


def pooled_roc(answers: Answers) -> Curve:
    """Return one ROC over all (crop, class) pairs, the micro-average: the KFP UI draws a single curve."""
    from sklearn.metrics import roc_auc_score, roc_curve

    truth = np.eye(answers.probabilities.shape[1], dtype=bool)[answers.labels].ravel()
    scores = answers.probabilities.ravel()
    x, y, thresholds = roc_curve(truth, scores)
    return _thin("all classes", x, y, np.minimum(thresholds, 1), float(roc_auc_score(truth, scores)))


def precision_recall_curves(answers: Answers, classes: Sequence[str]) -> list[Curve]:
    """Return a precision-recall curve for each class that is on the split."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    for number, name in enumerate(classes):
        truth, scores = answers.labels == number, answers.probabilities[:, number]
        if truth.any():
            precision, recall, thresholds = precision_recall_curve(truth, scores)
            ends = np.append(thresholds, 1.0)
            area = float(average_precision_score(truth, scores))
            curves.append(_thin(name, recall[::-1], precision[::-1], ends[::-1], area))
    return curves


def _thin(
    name: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64], area: float
) -> Curve:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
    columns = [[float(value) for value in column[keep]] for column in (x, y, thresholds)]
    return Curve(name=name, x=columns[0], y=columns[1], thresholds=columns[2], area=area)
