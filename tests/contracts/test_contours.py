"""Contours keep every pixel of a mask, and malformed bytes are refused."""

from __future__ import annotations

import contextlib
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from silhouette.contracts import contours
from silhouette.errors import InputError

masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=st.sampled_from([0, 255])
)


@st.composite
def people_masks(draw: st.DrawFn) -> npt.NDArray[np.uint8]:
    """Draw masks of 1 to 70 pixels a side: boxes that touch, overlap and are cut by the border, holes, noise."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    mask = np.full((height, width), draw(st.sampled_from([0, 0, 0, 255])), np.uint8)
    numbers = st.integers(-5, 70)
    for x, y, size_x, size_y, value in draw(
        st.lists(
            st.tuples(numbers, numbers, st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 255, 255])),
            max_size=12,
        )
    ):
        mask[max(0, y) : max(0, y + size_y), max(0, x) : max(0, x + size_x)] = value
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(mask.shape)
    mask[noise < draw(st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.5]))] ^= 255
    return mask


def figure(size: int = 200) -> npt.NDArray[np.uint8]:
    """A body with two holes, an island inside a hole, a lone pixel, and a part cut by the border."""
    mask = np.zeros((size, size), np.uint8)
    mask[20:180, 40:120] = 255
    mask[40:100, 60:100] = 0
    mask[60:80, 70:90] = 255
    mask[120, 80] = 0
    mask[5, 5] = 255
    mask[150:, 150:] = 255
    return mask


def assert_exact(mask: npt.NDArray[np.uint8]) -> None:
    packed = contours.encode(contours.from_mask(mask))
    again = contours.decode(packed)
    assert (contours.to_mask(again, width=mask.shape[1], height=mask.shape[0]) == mask).all()
    assert contours.encode(again) == packed


@given(masks)
def test_any_mask_survives_the_round_trip(mask: npt.NDArray[np.uint8]) -> None:
    assert_exact(mask)


@settings(max_examples=300, deadline=None)
@given(people_masks())
def test_contours_are_the_same_again_after_a_mask(mask: npt.NDArray[np.uint8]) -> None:
    assert_exact(mask)
    found = contours.from_mask(mask)
    height, width = mask.shape
    again = contours.from_mask(contours.to_mask(found, width=width, height=height))
    assert again.parents == found.parents
    assert [ring.tolist() for ring in again.rings] == [ring.tolist() for ring in found.rings]


@given(people_masks())
def test_the_box_holds_exactly_the_pixels_and_the_cropped_mask_is_what_it_holds(mask: npt.NDArray[np.uint8]) -> None:
    found = contours.from_mask(mask)
    rows, columns = np.nonzero(mask)
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
    left, top, right, bottom = contours.box(found)
    assert (left, top, right, bottom) == expected
    cropped, corner = contours.to_cropped_mask(found)
    assert corner == (left, top)
    assert cropped.tolist() == mask[top:bottom, left:right].tolist()


def test_a_box_that_no_picture_has_is_not_drawn() -> None:
    far = contours.MAX_COORDINATE - 1
    ring = np.array([[0, 0], [far, 0], [far, far]], np.int32)
    found = contours.decode(contours.encode(contours.Contours(rings=(ring,), parents=(-1,))))
    with pytest.raises(InputError, match="at most 134217728 pixels, got 1048576x1048576"):
        contours.to_cropped_mask(found)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300), st.floats(0.5, 20))
def test_smooth_blobs_with_holes_and_islands_survive(seed: int, width: int, height: int, sigma: float) -> None:
    import cv2

    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    assert_exact(np.where(cv2.GaussianBlur(noise, (0, 0), sigma) > 0, 255, 0).astype(np.uint8))


def test_holes_islands_lone_pixels_and_cut_parts_have_the_right_parents() -> None:
    mask = figure()
    assert_exact(mask)
    found = contours.from_mask(mask)
    assert len(found.rings) == 6
    assert sum(parent == -1 for parent in found.parents) == 4
    holes = [index for index, parent in enumerate(found.parents) if parent >= 0]
    assert len({found.parents[index] for index in holes}) == 1


def test_a_full_and_an_empty_picture_survive() -> None:
    assert_exact(np.full((7, 9), 255, np.uint8))
    assert_exact(np.zeros((7, 9), np.uint8))
    assert contours.from_mask(np.zeros((7, 9), np.uint8)).is_empty


def test_a_large_picture_survives() -> None:
    mask = np.kron(figure(), np.ones((20, 30), np.uint8)).astype(np.uint8)
    mask[1000:1010, ::3] ^= 255
    assert_exact(mask)


def test_a_part_of_the_picture_is_traced_where_it_lies() -> None:
    mask = figure()
    whole = np.zeros((400, 500), np.uint8)
    whole[100:300, 250:450] = mask
    found = contours.from_mask(mask, offset_xy=(250, 100))
    assert (contours.to_mask(found, width=500, height=400) == whole).all()


def test_a_point_outside_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="must lie on the picture of 150x200"):
        contours.to_mask(contours.from_mask(figure()), width=150, height=200)
    moved = contours.from_mask(figure(), offset_xy=(-7, 0))
    with pytest.raises(InputError, match=r"must lie on the picture of 200x200, got a point at \[-2, 5\]"):
        contours.to_mask(moved, width=200, height=200)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_crash(data: bytes) -> None:
    for candidate in (data, bytes([contours.VERSION]) + zlib.compress(data, 1)):
        try:
            contours.decode(candidate)
        except InputError:
            continue


@given(masks, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_contours_or_a_refusal(mask: npt.NDArray[np.uint8], place: int, value: int) -> None:
    packed = bytearray(contours.encode(contours.from_mask(mask)))
    packed[place % len(packed)] = value
    with contextlib.suppress(InputError):
        contours.decode(bytes(packed))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80",
        b"\xff\xff\xff\xff\x7f",  # 34 thousand million rings
        b"\xff\xff\xff\xff\xff\x01",
        b"\x01\x00",  # no point count
        b"\x01\x00\x02\x00\x00",  # one point of two
        b"\x01\x00\x00",  # a ring of no points
        b"\x01\x01\x01\x00\x00",  # a hole of itself
        b"\x01\x03\x01\x00\x00",  # a hole of a ring that is not there
        b"\x01\x00\x01\x01\x00",  # x = -1
        b"\x01\x00\x01\xff\xff\xff\xff\x7f\x00",  # far outside
        b"\x00\x00",  # something behind
    ],
)
def test_contradictions_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError, match="malformed"):
        contours.decode(bytes([contours.VERSION]) + zlib.compress(raw, 1))


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = zlib.compress(bytes(contours.MAX_RAW_BYTES + 1000), 9)
    with pytest.raises(InputError, match="malformed"):
        contours.decode(bytes([contours.VERSION]) + bomb)


def test_another_version_is_refused() -> None:
    packed = contours.encode(contours.from_mask(figure()))
    with pytest.raises(InputError, match="the first byte is 02"):
        contours.decode(b"\x02" + packed[1:])
