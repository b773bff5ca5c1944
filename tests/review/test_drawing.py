"""What is drawn is what was found: the same pixels by the even-odd rule, holes and parts included."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette.contracts import contours
from silhouette.contracts.contours import Contours
from silhouette.review import drawing


def drawn(path: str, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Fill a path as a browser does, pixels by their centres."""
    rings = []
    for ring in filter(None, path.split("Z")):
        assert ring.startswith("M")
        rings.append(np.array(ring[1:].split(" "), dtype=np.int32).reshape(-1, 2))
    mask = np.zeros((height, width), np.uint8)
    if rings:
        cv2.fillPoly(mask, rings, 255)
    return mask


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.95))
def test_the_exact_path_is_the_mask(seed: int, width: int, height: int, density: float) -> None:
    mask = np.where(np.random.default_rng(seed).random((height, width)) < density, np.uint8(255), np.uint8(0))
    path = drawing.path(contours.from_mask(mask))
    assert (drawn(path, width=width, height=height) == mask).all()


def test_a_thumbnail_needs_fewer_points_and_looks_the_same() -> None:
    y, x = np.mgrid[:2000, :3000]
    ring = ((x - 1500) ** 2 + (y - 1000) ** 2 < 700**2) & ((x - 1500) ** 2 + (y - 1000) ** 2 > 300**2)
    outline = contours.from_mask(ring.astype(np.uint8))
    exact, small = drawing.path(outline), drawing.path(outline, tolerance=drawing.grid_tolerance(3000, 2000))
    assert len(small) < len(exact) / 10
    one, other = (drawn(path, width=3000, height=2000) > 0 for path in (exact, small))
    assert (one & other).sum() / (one | other).sum() > 0.99
    assert small.count("M") == 2, "the hole is a hole at this size too"


def test_small_pictures_lose_no_point_and_nobody_is_an_empty_path() -> None:
    assert drawing.grid_tolerance(640, 480) == 0.0
    assert drawing.path(Contours(rings=(), parents=())) == ""
    assert drawing.decoded(b"\x07") is None


def packed(x0: int, y0: int, x1: int, y1: int, *, side: int = 100) -> bytes:
    mask = np.zeros((side, side), np.uint8)
    mask[y0:y1, x0:x1] = 1
    return contours.encode(contours.from_mask(mask))


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ([], [], 1.0),
        ([packed(0, 0, 10, 10)], [], 0.0),
        ([packed(0, 0, 10, 10)], [packed(0, 0, 10, 10)], 1.0),
        ([packed(0, 0, 10, 10)], [packed(20, 0, 30, 10)], 0.0),
        ([packed(0, 0, 10, 10)], [packed(0, 0, 20, 10)], 0.5),
        ([packed(0, 0, 20, 10), packed(5, 0, 15, 10)], [packed(0, 0, 20, 10)], 1.0),
        ([packed(0, 0, 10, 10), packed(50, 50, 60, 60)], [packed(0, 0, 10, 10)], 0.5),
        ([b"damaged"], [packed(0, 0, 10, 10)], 0.0),
        ([b"damaged"], [], 1.0),
    ],
)
def test_agreement_is_the_iou_of_everybodys_masks_together(one: list[bytes], other: list[bytes], iou: float) -> None:
    assert drawing.agreement(one, other, width=100, height=100) == pytest.approx(iou)
    assert drawing.agreement(other, one, width=100, height=100) == pytest.approx(iou)


def test_a_large_picture_is_compared_at_a_size_that_costs_little() -> None:
    one, other = packed(0, 0, 4000, 4000, side=8000), packed(0, 0, 8000, 4000, side=8000)
    assert drawing.agreement([one], [other], width=8000, height=8000) == pytest.approx(0.5, abs=0.01)
