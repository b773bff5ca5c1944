"""Pictures for the report, small and inside the page: the mistakes, the right answers, the changed backgrounds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.crops import decode_jpeg
from silhouette.evaluate_model.reliance import VERSIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.contracts.crops import CropTable
    from silhouette.evaluate_model.reliance import Example
    from silhouette.evaluate_model.scores import Answers

_COSTLIEST, _RIGHT = 18, 12  # pictures shown
_SIDE, _QUALITY = 180, 82  # a page of 50 pictures stays below a megabyte
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A crop on the page: its picture as a data URI, and what the model said."""

    uri: str
    picture_id: str
    label: str
    predicted: str
    probability: float
    label_probability: float


@dataclass(frozen=True, kw_only=True)
class ShownView:
    """A test crop in one of the versions of `reliance`, and what the model said to it."""

    uri: str
    version: str
    predicted: str
    is_right: bool


def costliest(test: Answers, table: CropTable, classes: Sequence[str]) -> list[Shown]:
    """Return the wrong answers that cost most: the true class was given the least probability (log loss)."""
    wrong = (test.predicted != test.labels).nonzero()[0]
    cost = -np.log(np.maximum(test.probabilities[wrong, test.labels[wrong]], _TINY))
    rows = wrong[(-cost).argsort(kind="stable")][:_COSTLIEST]
    return [_show(int(row), test, table, classes) for row in rows]


def typical(test: Answers, table: CropTable, classes: Sequence[str]) -> list[Shown]:
    """Return right answers of every class in turn: the surest, the middling and the barely right one."""
    sure, chosen = test.probabilities.max(axis=1), []
    each = max(1, _RIGHT // len(classes))
    for number in range(len(classes)):
        rows = ((test.labels == number) & (test.predicted == number)).nonzero()[0]
        rows = rows[(-sure[rows]).argsort(kind="stable")]
        places = {round(step * (len(rows) - 1) / max(1, each - 1)) for step in range(each)} if len(rows) else set()
        chosen += [int(rows[place]) for place in sorted(places)]
    return [_show(row, test, table, classes) for row in chosen[: max(_RIGHT, len(classes))]]


def views_of(
    examples: Sequence[Example], test: Answers, table: CropTable, classes: Sequence[str]
) -> list[list[ShownView]]:
    """Return the example crops, each in every version."""
    shown = []
    for example in examples:
        pixels = {"original": decode_jpeg(table[example.row].jpeg), **example.views}
        label = int(test.labels[example.row])
        shown.append([
            ShownView(
                uri=_uri(pixels[name]), version=name, predicted=classes[example.answers[name]],
                is_right=example.answers[name] == label,
            )
            for name in VERSIONS
        ])  # fmt: skip
    return shown


def _show(row: int, test: Answers, table: CropTable, classes: Sequence[str]) -> Shown:
    crop = table[row]
    said, true = int(test.predicted[row]), int(test.labels[row])
    return Shown(
        uri=_uri(decode_jpeg(crop.jpeg)),
        picture_id=crop.picture_id, label=classes[true], predicted=classes[said],
        probability=float(test.probabilities[row, said]), label_probability=float(test.probabilities[row, true]),
    )  # fmt: skip


def _uri(pixels: npt.NDArray[np.uint8]) -> str:
    import cv2

    if (longest := max(pixels.shape[:2])) > _SIDE:
        size = (round(pixels.shape[1] * _SIDE / longest), round(pixels.shape[0] * _SIDE / longest))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
