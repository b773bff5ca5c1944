"""What every segmenter has in common: people found, the seam, and the limits; imports neither torch nor ultralytics.

Reads and writes nothing. `silhouette.detector` loads segmenters, `silhouette.detector_onnx` is one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import Contours
from silhouette.errors import InputError

NMS_IOU = 0.7  # ultralytics' own default for prediction
MAX_PEOPLE = 300

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectedPerson:
    """One person: exact contours of the mask at the picture's own resolution, box in its pixels, score 0 to 1."""

    contours: Contours
    box_xyxy: tuple[float, float, float, float]
    score: float


class Detector(Protocol):
    """Something that finds people.

    Attributes:
        at_once: Pictures of one shape that gain from being in one call.
        lanes: Threads that gain from calling `detect` at the same time.
    """

    at_once: int
    lanes: int

    @property
    def model_digest(self) -> str:
        """SHA-256 over the weights and every setting that changes the answer; the key of its records."""

    def detect(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        """Find the people on each picture (uint8 RGB [h, w, 3]), the surest first."""


def in_same_shape(pixels: Sequence[Pixels], *, at_once: int) -> Iterator[list[int]]:
    """Yield the indices of pictures that have one shape, at most `at_once` of them together."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pixels):
        shapes.setdefault(picture.shape, []).append(index)
    for indices in shapes.values():
        for start in range(0, len(indices), at_once):
            yield indices[start : start + at_once]


def no_such_class(path: object, person_class: str, names: dict[int, str]) -> InputError:
    """Return the error of a model without the class that is a person."""
    listed = f"{len(names)} others: {', '.join(list(names.values())[:10])}{', ...' if len(names) > 10 else ''}"
    return InputError(
        f"the model must have the class {person_class!r}, {path} has {listed};"
        " name the class of a person in segmentation.person_class of the configuration"
    )
