import numpy as np
import pytest

from silhouette.compositing import feathered, over, without_person


@pytest.fixture
def mask():
    mask = np.zeros((40, 30), np.uint8)
    mask[10:30, 8:22] = 255
    return mask


def test_a_hard_edge_takes_each_pixel_from_one_picture(mask):
    person, background = np.full((40, 30, 3), 200, np.uint8), np.full((40, 30, 3), 10, np.uint8)
    mixed = over(person, mask, background, feather=0)
    assert (mixed[mask > 0] == 200).all()
    assert (mixed[mask == 0] == 10).all()


def test_a_soft_edge_mixes_near_the_outline_only(mask):
    share = feathered(mask, feather=1.5)
    assert share[20, 15] == pytest.approx(1)
    assert share[0, 0] == 0
    assert 0.3 < share[10, 15] < 0.7
    assert share.dtype == np.float32


def test_the_hole_is_filled_from_around_the_person(mask):
    picture = np.full((40, 30, 3), 60, np.uint8)
    picture[mask > 0] = 250
    filled = without_person(picture, mask, grow=2)
    assert np.abs(filled.astype(int) - 60).max() <= 5  # nothing of the 250 is left; the method shades a little
    assert (picture[mask > 0] == 250).all()  # the input is left alone


def test_a_picture_that_is_all_person_becomes_grey():
    everything = np.full((8, 8), 255, np.uint8)
    assert (without_person(np.zeros((8, 8, 3), np.uint8), everything, grow=0) == 127).all()
