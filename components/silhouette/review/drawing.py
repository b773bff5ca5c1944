"""Contours as SVG paths, and how far two models' people cover the same pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours
from silhouette.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

GRID_SIDE = 640  # a thumbnail on a dense screen
_COMPARED_SIDE = 1024  # masks are compared at this longest side: a large picture costs no more than a small one


def path(contours: Contours, *, tolerance: float = 0.0) -> str:
    """Return the ``d`` of an SVG path in pixels of the picture, to be filled by the even-odd rule.

    Points are pixel indices: shifted by half a pixel they lie on the pixels' centres.

    Args:
        contours: Of one person.
        tolerance: By how many pixels the drawn line may miss the true one; 0: every point.
    """
    return "".join(_ring(ring, tolerance) for ring in contours.rings)


def grid_tolerance(width: int, height: int) -> float:
    """Return the tolerance that is not seen at the size of a thumbnail, pixels of the picture."""
    return max(width, height) / GRID_SIDE if max(width, height) > GRID_SIDE else 0.0


def decoded(contours: bytes) -> Contours | None:
    """Unpack a person's contours; None when they are damaged, which the page shows instead of failing."""
    try:
        return contour_bytes.decode(contours)
    except InputError:
        return None


def agreement(one: Iterable[bytes], other: Iterable[bytes], *, width: int, height: int) -> float:
    """Return the IoU of everybody's masks together, 0 to 1; 1 where both found nobody. Damaged contours are nobody.

    Args:
        one: Encoded contours of the people that one model found.
        other: Those of another.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
    """
    scale = min(1.0, _COMPARED_SIDE / max(width, height))
    first, second = _covered(one, scale, width, height), _covered(other, scale, width, height)
    together = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / together if together else 1.0


def _ring(ring: npt.NDArray[np.int32], tolerance: float) -> str:
    import cv2

    points = ring
    if tolerance and len(ring) > 3:
        points = np.asarray(cv2.approxPolyDP(ring, tolerance, closed=True), dtype=np.int32).reshape(-1, 2)
    if len(points) < 3:
        # at this size it is a speck; the exact path (no tolerance) draws it as the line or dot that it is
        points = ring if not tolerance else points[:0]
    return f"M{' '.join(map(str, points.ravel().tolist()))}Z" if len(points) else ""


def _covered(people: Iterable[bytes], scale: float, width: int, height: int) -> npt.NDArray[np.bool_]:
    import cv2

    canvas = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), dtype=np.uint8)
    for person in people:
        outline = decoded(person)
        if outline is not None and not outline.is_empty:
            rings = [np.rint(ring * scale).astype(np.int32) for ring in outline.rings]
            alone = np.zeros_like(canvas)  # together, people who overlap would cancel one another
            cv2.fillPoly(alone, rings, 1)
            canvas |= alone
    return canvas.astype(bool)
