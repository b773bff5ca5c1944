"""Class by class: precision, recall, F1 with its interval, areas under the curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.evaluation import ClassScore
from silhouette.evaluate_model.scores import Answers, f1_of, precision_recall_curves, roc_curves

if TYPE_CHECKING:
    import numpy.typing as npt


def per_class_scores(
    test: Answers, classes: Sequence[str], *, drawn: npt.NDArray[np.int64], pictures: Sequence[str]
) -> list[ClassScore]:
    """Return the scores of every class.

    Args:
        test: The answers.
        classes: Their names, in the order of the outputs.
        drawn: Confusions [resamples, classes, classes] of the bootstrap.
        pictures: The picture of each crop.
    """
    confusion = test.confusion
    hits, said, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    f1 = f1_of(confusion)
    low, high = np.quantile(f1_of(drawn), [0.025, 0.975], axis=0)
    areas = {curve.name: curve.area for curve in roc_curves(test, classes)}
    precisions = {curve.name: curve.area for curve in precision_recall_curves(test, classes)}
    of_pictures = np.array(pictures, dtype=object)
    return [
        ClassScore(
            name=name, precision=float(hits[n] / max(said[n], 1)), recall=float(hits[n] / max(support[n], 1)),
            f1=float(f1[n]), f1_low=float(low[n]), f1_high=float(high[n]), support=int(support[n]),
            pictures=len(set(of_pictures[test.labels == n])), roc_auc=areas.get(name),
            average_precision=precisions.get(name),
        )
        for n, name in enumerate(classes)
    ]  # fmt: skip
