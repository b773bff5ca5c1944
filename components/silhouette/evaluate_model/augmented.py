"""Test-time augmentation: what the mean answer to several views of a crop would be worth, beside the plain answer.

Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 4.1. What is served
answers to the crop as it is, and so does all that the gate looks at; these numbers say what a client that asks several
times would gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.evaluation import AugmentedScores
from silhouette.evaluate_model import scores
from silhouette.evaluate_model.calibration import ece
from silhouette.evaluate_model.resampling import drawn_confusions, interval

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.evaluate_model.scores import Answers

_ZOOM = 0.875  # of the crop's side that is shown, timm's own share at evaluation


def view_names(kinds: Sequence[str]) -> list[str]:
    """Return the names of the views that `views_of` makes, in its order."""
    names = ["as it is", *(["zoomed in"] if "zoom" in kinds else [])]
    return names + ([f"{name}, mirrored" for name in names] if "flip" in kinds else [])


def views_of(crops: npt.NDArray[np.uint8], kinds: Sequence[str]) -> list[npt.NDArray[np.uint8]]:
    """Return the crops as they are and in every asked-for way.

    Args:
        crops: uint8 [n, side, side, 3].
        kinds: ``flip`` (mirrored left to right), ``zoom`` (the middle, as large as the whole); both: every combination.

    Returns:
        Arrays like `crops`.
    """
    import cv2

    views = [crops]
    if "zoom" in kinds:
        side = crops.shape[1]
        edge = round(side * (1 - _ZOOM) / 2)
        middles = crops[:, edge : side - edge, edge : side - edge]
        views.append(np.stack([cv2.resize(middle, (side, side), interpolation=cv2.INTER_LINEAR) for middle in middles]))
    if "flip" in kinds:
        views += [np.ascontiguousarray(view[:, :, ::-1]) for view in views]
    return views


def augmented_scores(augmented: Answers, plain: Answers, *, kinds: Sequence[str], seed: int) -> AugmentedScores:
    """Return the scores of mean answers beside those of the plain ones to the same crops."""
    drawn = scores.f1_of(drawn_confusions(augmented, seed=seed)).mean(axis=-1)
    before = scores.f1_of(drawn_confusions(plain, seed=seed)).mean(axis=-1)
    macro_f1 = float(scores.f1_of(augmented.confusion).mean())
    return AugmentedScores(
        views=view_names(kinds), accuracy=float(scores.accuracy_of(augmented.confusion)),
        balanced_accuracy=float(scores.balanced_accuracy_of(augmented.confusion)),
        macro_f1=interval(macro_f1, drawn),
        ece=ece(augmented.probabilities.max(axis=1).astype(np.float64), augmented.predicted == augmented.labels),
        macro_f1_difference=interval(macro_f1 - float(scores.f1_of(plain.confusion).mean()), drawn - before),
    )  # fmt: skip
