"""A picture is worked with in the size that is enough, and people stay where they are on the original."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.dataset import PictureRow
from silhouette.store import Store
from silhouette.working_copy import WorkingPicture, least_scale_for, read_picture


@pytest.fixture
def stored(store: Store) -> PictureRow:
    """A picture of 800 x 600 with a working copy of a quarter of its side, of another colour to tell them apart."""
    for key, width, height, grey in (("pictures/o.jpg", 800, 600, 200), ("working/w.jpg", 200, 150, 90)):
        done, data = cv2.imencode(".jpg", np.full((height, width, 3), grey, np.uint8))
        assert done
        store.put_bytes(key, data.tobytes())
    return PictureRow(
        picture_id="p", object_key="pictures/o.jpg", sha256=hashlib.sha256(b"p").hexdigest(), width=800, height=600,
        label="a", working_key="working/w.jpg", working_width=200, working_height=150,
    )  # fmt: skip


@pytest.mark.parametrize(("wanted", "grey", "scale"), [(0.0, 90, 0.25), (0.25, 90, 0.25), (0.26, 200, 1.0)])
def test_the_working_copy_is_read_where_it_is_enough(
    store: Store, stored: PictureRow, wanted: float, grey: int, scale: float
) -> None:
    picture = read_picture(store, stored, least_scale=wanted)
    assert int(picture.pixels.mean()) == grey
    assert (picture.width, picture.height, picture.scale_xy) == (800, 600, (scale, scale))


def test_a_picture_without_a_working_copy_is_read_itself(store: Store, stored: PictureRow) -> None:
    plain = PictureRow(**{**vars(stored), "working_key": "", "working_width": 0, "working_height": 0})
    assert read_picture(store, plain).scale_xy == (1.0, 1.0)


def test_crops_want_as_many_pixels_as_their_smallest_person() -> None:
    boxes = [(0.0, 0.0, 100.0, 896.0), (10.0, 10.0, 100.0, 458.0)]
    assert least_scale_for(boxes, size=224, margin=0.0) == 0.5
    assert least_scale_for(boxes[:1], size=224, margin=0.0) == 0.25
    assert least_scale_for([(0.0, 0.0, 50.0, 60.0)], size=224, margin=0.0) == 1.0
    assert least_scale_for([], size=224, margin=0.0) == 0.0


@given(st.integers(1, 6), st.tuples(*[st.integers(0, 30)] * 2), st.tuples(*[st.integers(2, 30)] * 2))
def test_a_person_found_on_the_working_copy_is_the_same_person_on_the_original(
    factor: int, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    mask = np.zeros((80, 70), np.uint8)
    mask[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]] = 255
    seen = WorkingPicture(pixels=np.zeros((80, 70, 3), np.uint8), width=70 * factor, height=80 * factor)
    box = (float(corner[0]), float(corner[1]), float(corner[0] + size[0]), float(corner[1] + size[1]))
    contours, large_box = seen.to_original(contour_bytes.from_mask(mask), box)
    assert large_box == tuple(edge * factor for edge in box)
    large = contour_bytes.to_mask(contours, width=seen.width, height=seen.height) > 0
    wanted = np.kron(mask, np.ones((factor, factor), np.uint8)) > 0
    border = 2 * (size[0] + size[1]) * factor * factor  # half a working pixel around the person
    assert (large != wanted).sum() <= border
    again, same_box = seen.to_pixels(contours, large_box)
    assert same_box == pytest.approx(box)
    assert (contour_bytes.to_mask(again, width=70, height=80) == mask).all()


def test_people_of_the_original_itself_are_not_touched() -> None:
    picture = WorkingPicture(pixels=np.zeros((8, 6, 3), np.uint8), width=6, height=8)
    mask = np.zeros((8, 6), np.uint8)
    mask[2:5, 1:4] = 255
    contours = contour_bytes.from_mask(mask)
    assert picture.to_original(contours, (1, 2, 4, 5)) == (contours, (1, 2, 4, 5))
    assert picture.to_pixels(contours, (1, 2, 4, 5)) == (contours, (1, 2, 4, 5))
