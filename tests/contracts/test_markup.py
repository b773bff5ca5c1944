"""Names say what a marker saw whatever a tool puts before them; numbers come back from a PNG as they were."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silhouette.contracts import markup
from silhouette.contracts.contours import from_mask, to_mask
from silhouette.errors import InputError
from tests.contracts.test_contours import people_masks

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(
    names, st.integers(1, 2**63 - 1), st.integers(0, 10**6), st.sampled_from(["", "a1b2c3d4-", "/data/upload/3/0f-"])
)
def test_a_name_says_its_picture_segmentation_and_revision(picture_id: str, number: int, rev: int, before: str) -> None:
    name = markup.export_name(picture_id=picture_id, segmentation_id=number, revision=rev)
    for ending in (".jpg", ".png", ".JPEG"):
        found = markup.parse_name(f"{before}{name}{ending}")
        assert found is not None
        assert (found.segmentation_id, found.revision) == (number, rev)
        assert found.is_of(picture_id)
        assert not found.is_of(picture_id + "x")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x.jpg",
        "x_s1_r2",
        "x_s_r2.jpg",
        "_s1_r2.jpg",
        "x_s1_r2.jpg/y.jpg",
        "x_s1_r-1.jpg",
        "x_s9223372036854775808_r0.jpg",
    ],
)
def test_any_other_name_says_nothing(name: str) -> None:
    assert markup.parse_name(name) is None


def test_a_name_that_ends_like_another_is_not_of_it() -> None:
    found = markup.parse_name("xouter_s1_r0.jpg")
    assert found is not None
    assert not found.is_of("outer")


@settings(max_examples=60, deadline=None)
@given(st.lists(people_masks(), min_size=1, max_size=4))
def test_everybody_is_numbered_and_what_is_shared_is_told(masks: list[npt.NDArray[np.uint8]]) -> None:
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (0, 1))
    whole = [np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1]))) for mask in masks]
    found = markup.to_index_map([from_mask(mask) for mask in whole], width=width, height=height)
    times = sum((mask > 0).astype(int) for mask in whole)
    assert ((found.numbers > 0) == (times > 0)).all()
    assert ((to_mask(found.shared, width=width, height=height) > 0) == (times > 1)).all()
    assert found.shared_pixels == int((times > 1).sum())
    for number, mask in enumerate(whole, start=1):
        assert (mask[found.numbers == number] > 0).all()
    assert (markup.read_png(markup.write_png(found.numbers), width=width, height=height) == found.numbers).all()


def test_colours_are_all_different_and_nobody_is_black() -> None:
    assert len({tuple(colour) for colour in markup.palette().tolist()}) == 256
    assert markup.palette()[0].tolist() == [0, 0, 0]


def test_a_person_who_leaves_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="person 1 must lie on the picture of 5x5"):
        markup.to_index_map([from_mask(np.full((9, 9), 255, np.uint8))], width=5, height=5)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_end_in_anything_but_a_line(data: bytes) -> None:
    with pytest.raises(InputError):
        markup.read_png(b"\x89PNG\r\n\x1a\n" + data, width=3, height=3)
