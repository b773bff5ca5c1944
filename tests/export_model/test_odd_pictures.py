"""Odd pictures are what their names say, and come in as serving brings them in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from silhouette.export_model.odd_pictures import odd_crops, odd_files
from silhouette.export_model.parity import LEAST_PICTURES, MOST_CROPS, with_odd_pictures

FILES = odd_files(40, seed=1)


def opened(kind: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for name, data in FILES if name == kind]


def test_every_kind_is_there_and_is_what_it_is_called() -> None:
    assert {name: len(opened(name)) for name, _ in FILES} == dict.fromkeys(dict(FILES), 4)
    assert all(2 <= picture.getexif()[0x0112] <= 8 for picture in opened("turned by EXIF"))
    modes = {"CMYK": "CMYK", "16 bits": "I;16", "grey": "L", "transparent": "RGBA", "palette": "P",
             "black and white": "1"}  # fmt: skip
    for kind, mode in modes.items():
        assert {picture.mode for picture in opened(kind)} == {mode}, kind
    assert all(max(picture.size) <= 8 for picture in opened("tiny"))
    assert all(max(picture.size) / min(picture.size) > 70 for picture in opened("thin line"))


@pytest.mark.parametrize("size", [32, 224])
def test_they_become_crops_that_differ(size: int) -> None:
    crops = odd_crops(40, size=size, seed=1)
    assert crops.shape == (40, size, size, 3)
    assert crops.dtype == np.uint8
    assert len({crop.tobytes() for crop in crops}) == 40
    assert (odd_crops(40, size=size, seed=1) == crops).all()


def test_few_real_crops_are_topped_up_and_many_get_some_odd_ones() -> None:
    few, many = np.zeros((5, 32, 32, 3), np.uint8), np.zeros((MOST_CROPS, 32, 32, 3), np.uint8)
    assert len(with_odd_pictures(few)) == LEAST_PICTURES
    assert len(with_odd_pictures(many)) == MOST_CROPS + 40
    assert (with_odd_pictures(few)[:5] == 0).all()
