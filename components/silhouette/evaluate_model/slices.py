"""Where the model is good and where it is not: accuracy by size, shape, detector score and shoot.

Intervals are Wilson's (1927), which hold for small counts and at 0 and 100 %, where a bootstrap says nothing. They take
the crops of a slice for independent, so one shoot's is rather too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.evaluation import Slice

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.contracts.crops import CropTable
    from silhouette.evaluate_model.scores import Answers

SMALL = 10  # crops below which a slice says nothing
_Z = 1.96
_MOST_PIXSETS = 8
_INFINITY = float("inf")
_SHAPES = (("wide or square, up to 1.2 as tall as wide", 1.2), ("1.2 to 2 as tall as wide", 2.0),
           ("2 to 3 as tall as wide", 3.0), ("over 3 as tall as wide", _INFINITY))  # fmt: skip
_SCORES = (("below 0.5", 0.5), ("0.5 to 0.7", 0.7), ("0.7 to 0.9", 0.9), ("0.9 and more", _INFINITY))


def slices_of(answers: Answers, table: CropTable, *, crop_size: int) -> list[Slice]:
    """Return the slices of a split that have crops, by kind; of the shoots, those that look worst.

    Args:
        answers: To the crops of the table, in its order.
        table: The split.
        crop_size: In multiples of it people's sizes are told: below, a crop is a person enlarged.
    """
    right = answers.predicted == answers.labels
    boxes = np.array(table.column("box_xyxy"), dtype=np.float64)
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sizes = (
        (f"under {crop_size // 2} px", crop_size / 2),
        (f"{crop_size // 2} to {crop_size} px", crop_size),
        (f"{crop_size} to {2 * crop_size} px", 2 * crop_size),
        (f"{2 * crop_size} px and more", _INFINITY),
    )
    return [
        *_by_number("size", np.maximum(wide, tall), sizes, right),
        *_by_number("shape", tall / np.maximum(wide, 1e-9), _SHAPES, right),
        *_by_number("score", np.array(table.column("score"), dtype=np.float64), _SCORES, right),
        *_by_pixset(table.column("pixset_id"), right),
    ]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    share, spread = hits / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * np.sqrt(share * (1 - share) / count + spread / 4 / count) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _slice(kind: str, name: str, *, hits: int, count: int) -> Slice:
    low, high = wilson(hits, count)
    return Slice(
        kind=kind, name=name, crops=count, accuracy=hits / count, low=low, high=high, is_small=count < SMALL
    )  # fmt: skip


def _by_number(
    kind: str,
    values: npt.NDArray[np.float64],
    ranges: tuple[tuple[str, float], ...],
    right: npt.NDArray[np.bool_],
) -> Iterator[Slice]:
    rounded = values.round(6)  # 0.9 in float32 is a little less
    number = np.searchsorted([end for _, end in ranges], rounded, side="right")
    for place, (name, _) in enumerate(ranges):
        if (inside := number == place).any():
            yield _slice(kind, name, hits=int(right[inside].sum()), count=int(inside.sum()))


def _by_pixset(pixsets: list[str], right: npt.NDArray[np.bool_]) -> list[Slice]:
    """Return the shoots whose interval ends lowest: few crops alone put none in front."""
    names, numbers = np.unique(np.array(pixsets, dtype=object).astype(str), return_inverse=True)
    hits, counts = np.bincount(numbers, weights=right, minlength=len(names)), np.bincount(numbers)
    every = [
        _slice("pixset", str(name), hits=int(found), count=int(count))
        for name, found, count in zip(names, hits, counts, strict=True)
        if name
    ]
    return sorted(every, key=lambda one: (one.high, one.name))[:_MOST_PIXSETS]
