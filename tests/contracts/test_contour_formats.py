"""Contours leave for COCO and YOLO and come back; malformed input is refused in one line; the docs are true."""

from __future__ import annotations

import json
import re
import runpy
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from silhouette import detector
from silhouette.contracts import contour_formats as formats
from silhouette.contracts import contours
from silhouette.errors import InputError
from tests.contracts.test_contours import figure, people_masks

# pycocotools 2.0.11 hands its arrays over in the way of before NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

Mask = npt.NDArray[np.uint8]
many = settings(max_examples=200, deadline=None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=20,
)


def size_of(mask: Mask) -> dict[str, int]:
    return {"width": mask.shape[1], "height": mask.shape[0]}


def redrawn(found: contours.Contours, mask: Mask) -> Mask:
    return contours.to_mask(found, **size_of(mask))


def iou(one: Mask, other: Mask) -> float:
    return float(np.logical_and(one, other).sum() / max(1, np.logical_or(one, other).sum()))


@contextmanager
def refusal_in_one_line() -> Iterator[None]:
    """Let nothing but an InputError through in silence, and that only with one line of sensible length."""
    try:
        yield
    except InputError as refused:
        if "\n" in str(refused) or len(str(refused)) > 500:
            raise


def person(height: int = 500, *, parts: bool = False) -> Mask:
    """A standing figure with a gap between arm and body; in two parts when something stands before the legs."""
    scale = height / 500
    mask = np.zeros((round(540 * scale), round(320 * scale)), np.uint8)

    def at(*points: tuple[int, int]) -> npt.NDArray[np.int32]:
        return np.rint(np.array(points) * scale).astype(np.int32)

    cv2.ellipse(mask, at((160, 60))[0].tolist(), at((32, 40))[0].tolist(), 0, 0, 360, 255, -1)
    cv2.fillPoly(mask, [at((130, 95), (190, 95), (215, 280), (205, 520), (168, 520), (160, 320), (150, 520),
                           (112, 520), (105, 280))], 255)  # fmt: skip
    arm = at((135, 115), (70, 200), (112, 290))
    cv2.polylines(mask, [arm], False, 255, max(1, round(22 * scale)))
    if parts:
        mask[round(380 * scale) : round(410 * scale)] = 0
    return mask


# --- COCO RLE --------------------------------------------------------------------------------------------------------


@many
@given(people_masks())
def test_run_lengths_are_those_of_pycocotools_and_give_the_mask_again(mask: Mask) -> None:
    found = contours.from_mask(mask)
    expected = coco.encode(np.asfortranarray(mask // 255))
    packed = formats.to_coco_rle(found, **size_of(mask))
    plain = formats.to_coco_rle(found, **size_of(mask), compressed=False)
    assert packed == {"size": expected["size"], "counts": expected["counts"].decode()}
    assert coco.frPyObjects(plain, *mask.shape) == expected
    for rle in (packed, plain, expected, json.loads(json.dumps(plain))):
        read = formats.read_coco_segmentation(rle, **size_of(mask))
        assert contours.encode(read) == contours.encode(found)


@many
@given(people_masks())
def test_an_annotation_has_the_area_and_the_box_of_pycocotools(mask: Mask) -> None:
    entry = formats.coco_annotation(
        contours.from_mask(mask), annotation_id=7, image_id=8, category_id=1, **size_of(mask)
    )
    rle = coco.encode(np.asfortranarray(mask // 255))
    assert entry["area"] == coco.area(rle) == np.count_nonzero(mask)
    assert entry["bbox"] == coco.toBbox(rle).tolist()
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["id"], entry["image_id"], entry["category_id"], entry["iscrowd"]) == (7, 8, 1, 0)


def test_a_coco_file_of_ours_is_read_by_pycocotools(tmp_path: Any) -> None:
    from pycocotools.coco import COCO

    mask = person(parts=True)
    found = contours.from_mask(mask)
    entries = [
        formats.coco_annotation(
            found, annotation_id=number, image_id=1, category_id=1, form=form, **size_of(mask)
        )
        for number, form in enumerate(("rle", "polygons"), start=1)
    ]  # fmt: skip
    path = tmp_path / "people.json"
    images = [{"id": 1, "file_name": "1.jpg", **size_of(mask)}]
    content = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(content))
    read = COCO(str(path))
    for entry in read.loadAnns(read.getAnnIds()):
        assert (read.annToMask(entry) * 255 == mask).all()


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_a_large_picture_are_exact(compressed: bool) -> None:
    mask = np.kron(figure(), np.ones((10, 15), np.uint8)).astype(np.uint8)
    rle = formats.to_coco_rle(contours.from_mask(mask), **size_of(mask), compressed=compressed)
    assert (redrawn(formats.read_coco_segmentation(rle, **size_of(mask)), mask) == mask).all()


def test_run_lengths_may_have_runs_of_nothing_between() -> None:
    read = formats.read_coco_segmentation({"size": [2, 3], "counts": [0, 1, 0, 2, 3, 0]}, width=3, height=2)
    assert contours.to_mask(read, width=3, height=2).T.ravel().tolist() == [255] * 3 + [0] * 3


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": [12]}, r"size must be \[height, width\] = \[3, 4\], got None"),
        ({"size": [4, 3], "counts": [12]}, r"got \[4, 3\]"),
        ({"size": [3, 4]}, "counts must be a string or a list of whole numbers from 0, got None"),
        ({"size": [3, 4], "counts": []}, r"got \[\]"),
        ({"size": [3, 4], "counts": [11]}, "sum to 4x3 = 12, got 11"),
        ({"size": [3, 4], "counts": [5, 8]}, "got 13"),
        ({"size": [3, 4], "counts": [13, -1]}, r"whole numbers from 0, got \[13, -1\]"),
        ({"size": [3, 4], "counts": [6.0, 6.0]}, r"got \[6.0, 6.0\]"),
        ({"size": [3, 4], "counts": [True] * 12}, "got .True, True"),
        ({"size": [3, 4], "counts": ["6", "6"]}, "got .'6', '6'"),
        ({"size": [3, 4], "counts": [10**5000]}, "a whole number of 16610 bits"),
        ({"size": [3, 4], "counts": [1 << 62] * 4}, "whole numbers from 0"),
        ({"size": [3, 4], "counts": ""}, "no whole string of the letters 0 to o"),
        ({"size": [3, 4], "counts": "<\n"}, "no whole string"),
        ({"size": [3, 4], "counts": "ä"}, "no whole string"),
        ({"size": [3, 4], "counts": "\ud800"}, "no whole string"),
        ({"size": [3, 4], "counts": "oo"}, "no whole string"),  # goes on behind its end
        ({"size": [3, 4], "counts": "oooooooo0"}, "has 9 letters"),
        ({"size": [3, 4], "counts": "<1O"}, "counts must be from 0 and sum"),  # 12, 1, -1
        ({"size": [3, 4], "counts": "oooooo?"}, "counts must be from 0 and sum"),
    ],
)
def test_run_lengths_that_contradict_themselves_are_refused(rle: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        formats.read_coco_segmentation(rle, width=4, height=3)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith("export the annotations again")


# --- COCO polygons ---------------------------------------------------------------------------------------------------


@many
@given(people_masks())
def test_polygons_along_edges_are_exact_for_us_and_for_pycocotools(mask: Mask) -> None:
    polygons = formats.to_coco_polygons(contours.from_mask(mask))
    assert (redrawn(formats.read_coco_segmentation(polygons, **size_of(mask)), mask) == mask).all()
    if polygons:
        rle = coco.merge(coco.frPyObjects(polygons, *mask.shape))
        assert (coco.decode(rle) * 255 == mask).all()


@many
@given(people_masks())
def test_polygons_through_centres_are_exact_for_opencv(mask: Mask) -> None:
    polygons = formats.to_coco_polygons(contours.from_mask(mask), points="centres")
    read = formats.read_coco_segmentation(polygons, **size_of(mask), points="centres")
    assert (redrawn(read, mask) == mask).all()
    drawn = np.zeros_like(mask)
    for polygon in polygons:
        cv2.fillPoly(drawn, [np.array(polygon, np.int32).reshape(-1, 2)], 255)
    assert (drawn == mask).all()


@many
@given(people_masks())
def test_bridges_enclose_nothing_by_the_non_zero_rule_either(mask: Mask) -> None:
    winding = np.zeros(mask.shape, np.int64)
    for polygon in formats.to_coco_polygons(contours.from_mask(mask)):
        ring = np.array(polygon).reshape(-1, 2).astype(int)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert x0 == x1 or y0 == y1, "edges of pixels are upright or level"
            winding[min(y0, y1) : max(y0, y1), x0:] += np.sign(y1 - y0)
    assert (np.where(winding != 0, 255, 0) == mask).all()


def test_one_pixel_is_a_square_of_four_points() -> None:
    found = contours.from_mask(np.full((1, 1), 255, np.uint8), offset_xy=(5, 7))
    (polygon,) = formats.to_coco_polygons(found)
    assert sorted(zip(polygon[::2], polygon[1::2], strict=True)) == [(5, 7), (5, 8), (6, 7), (6, 8)]
    assert formats.to_coco_polygons(found, points="centres") == [[5, 7, 5, 7, 5, 7]]


def test_several_parts_are_several_polygons_and_nobody_is_none() -> None:
    assert len(formats.to_coco_polygons(contours.from_mask(person(parts=True)))) > 1
    nobody = contours.from_mask(np.zeros((4, 4), np.uint8))
    assert formats.to_coco_polygons(nobody) == []
    assert formats.read_coco_segmentation([], width=4, height=4).is_empty


def test_holes_are_bridged_dropped_or_refused() -> None:
    mask = figure()
    found = contours.from_mask(mask)
    dropped = formats.read_coco_segmentation(formats.to_coco_polygons(found, holes="drop"), **size_of(mask))
    outer = [ring for ring, parent in zip(found.rings, found.parents, strict=True) if parent < 0]
    filled = np.zeros_like(mask)
    for ring in outer:
        cv2.fillPoly(filled, [ring], 255)
    assert (redrawn(dropped, mask) == filled).all()
    with pytest.raises(InputError, match="must have no holes, got 2; bridge or drop them"):
        formats.to_coco_polygons(found, holes="refuse")
    without = contours.from_mask(filled)
    assert formats.to_coco_polygons(without, holes="refuse") == formats.to_coco_polygons(without)


@pytest.mark.parametrize(("tolerance_px", "at_least"), [(0.8, 0.99), (1.0, 0.985), (2.0, 0.97)])
def test_a_tolerance_leaves_points_out_and_costs_little(tolerance_px: float, at_least: float) -> None:
    mask = person(parts=True)
    found = contours.from_mask(mask)
    exact, coarse = (formats.to_coco_polygons(found, tolerance_px=tolerance) for tolerance in (0.0, tolerance_px))
    assert sum(map(len, coarse)) < sum(map(len, exact)) * 0.8
    assert iou(redrawn(formats.read_coco_segmentation(coarse, **size_of(mask)), mask), mask) >= at_least


def test_the_wrong_meaning_of_points_costs_half_a_pixel_around() -> None:
    mask = person()
    found = contours.from_mask(mask)
    for written, read in (("edges", "centres"), ("centres", "edges")):
        polygons = formats.to_coco_polygons(found, points=written)  # type: ignore[arg-type]
        again = formats.read_coco_segmentation(polygons, **size_of(mask), points=read)  # type: ignore[arg-type]
        assert 0.95 < iou(redrawn(again, mask), mask) < 0.99


@many
@example([[0, 0, 10, 7.033744254547649, 0, -16.524537477280678], [0, 0, 2, 0, 17, 8]], 9, 4)
@given(st.lists(st.lists(st.floats(-20, 90), min_size=6, max_size=20).filter(lambda numbers: len(numbers) % 2 == 0),
                min_size=1, max_size=4), st.integers(1, 70), st.integers(1, 70))  # fmt: skip
def test_any_polygons_give_the_pixels_whose_centre_they_enclose(
    polygons: list[list[float]], width: int, height: int
) -> None:
    mask = np.zeros((height, width), np.uint8)
    read = redrawn(formats.read_coco_segmentation(polygons, width=width, height=height), mask)
    y, x = np.mgrid[:height, :width] + 0.5
    unsure = np.zeros(mask.shape, bool)  # on an edge of any polygon, to the accuracy of float
    for numbers in polygons:
        ring, odd = np.array(numbers).reshape(-1, 2), np.zeros(mask.shape, bool)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            crossed = (y0 <= y) != (y1 <= y)
            share = np.divide(y - y0, y1 - y0, out=np.zeros_like(y), where=crossed)
            distance = x0 + share * (x1 - x0) - x
            odd ^= crossed & (distance <= 0)
            unsure |= crossed & (np.abs(distance) < 1e-6)
        mask[odd] = 255
    assert (read == mask)[~unsure].all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_smooth_float_polygons_are_read_nearly_as_by_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = 120 + 40 * np.sin(3 * angles + random.uniform(0, 6)) + random.uniform(-3, 3, 60)
    ring = np.stack([150 + radii * np.cos(angles), 200 + radii * np.sin(angles)], axis=1)
    polygons = [ring.ravel().tolist()]
    theirs = coco.decode(coco.merge(coco.frPyObjects(polygons, 400, 300))) * 255
    assert iou(redrawn(formats.read_coco_segmentation(polygons, width=300, height=400), theirs), theirs) > 0.995


def test_what_stands_out_of_the_picture_is_cut_off() -> None:
    square = [[-3.5, -2, 5, -2, 5, 3, -3.5, 3]]
    for points, rows, columns in (("edges", 3, 4), ("centres", 4, 4)):
        read = formats.read_coco_segmentation(square, width=4, height=9, points=points)  # type: ignore[arg-type]
        assert contours.box(read) == (0, 0, columns, rows)
        outside = [[number + 50 for number in square[0]]]
        nothing = formats.read_coco_segmentation(outside, width=4, height=9, points=points)  # type: ignore[arg-type]
        assert nothing.is_empty


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "must be polygons or run lengths: got None"),
        ("abc", "got 'abc'"),
        (5, "got 5"),
        ([1, 2, 3, 4, 5, 6], "polygon 0 must be a list of numbers x, y, x, y, ..., got 1"),
        ([[0, 0, 1, 1]], "polygon 0 must have an x and a y for each of at least 3 points, got 4 numbers"),
        ([[0, 0, 1, 0, 1, 1], [0] * 7], "polygon 1 .* got 7 numbers"),
        ([[0, 0, 1, 0, 1, "1"]], "polygon 0 must be a list of numbers"),
        ([[0, 0, 1, 0, 1, True]], "polygon 0 must be a list of numbers"),
        ([[0, 0, 1, 0, 1, None]], "polygon 0 must be a list of numbers"),
        ([[0, 0, 1, 0, 1, float("nan")]], "coordinates of at most 1048576, got nan"),
        ([[0, 0, 1, 0, float("-inf"), 1]], "got -inf"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "got 1000000000"),
        ([[0, 0, 10**400, 0, 1, 1]], "a whole number of 1329 bits"),
    ],
)
def test_polygons_that_are_none_are_refused(segmentation: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        formats.read_coco_segmentation(segmentation, width=10, height=10)


def test_a_hostile_size_or_outline_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(InputError, match="1 to 134217728 pixels, got 1000000x1000000"):
        formats.read_coco_segmentation([], width=10**6, height=10**6)
    with pytest.raises(InputError, match="got 0x4"):
        formats.to_coco_rle(contours.from_mask(np.zeros((4, 4), np.uint8)), width=0, height=4)
    zigzag = [float(number) for index in range(2000) for number in (index % 7, 10_000 * (index % 2))]
    with pytest.raises(InputError, match=r"pass 20000000 rows, more than 8388608"):
        formats.read_coco_segmentation([zigzag], width=10, height=10_000)


@many
@given(json_values, st.integers(1, 8), st.integers(1, 8))
def test_any_json_is_read_or_refused(value: object, width: int, height: int) -> None:
    candidates = [value, {"size": [height, width], "counts": value}, [value]]
    for points in ("edges", "centres"):
        for candidate in candidates:
            with refusal_in_one_line():
                read = formats.read_coco_segmentation(candidate, width=width, height=height, points=points)  # type: ignore[arg-type]
                contours.to_mask(read, width=width, height=height)


@many
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), min_size=1, max_size=30))
def test_any_letters_are_read_or_refused_and_the_read_ones_are_read_alike_by_pycocotools(letters: str) -> None:
    rle = {"size": [5, 7], "counts": letters}
    try:
        read = formats.read_coco_segmentation(rle, width=7, height=5)
    except InputError:
        return
    assert (coco.decode(rle) * 255 == contours.to_mask(read, width=7, height=5)).all()


def test_contours_that_stand_out_of_the_picture_are_not_written() -> None:
    found = contours.from_mask(figure())
    for write in (formats.to_coco_rle, lambda *a, **k: formats.to_yolo_line(*a, class_index=0, **k)):
        with pytest.raises(InputError, match="must lie on the picture of 150x200, got the box 5,5 to 200,200"):
            write(found, width=150, height=200)


# --- YOLO ------------------------------------------------------------------------------------------------------------


def as_ultralytics_draws(line: str, mask: Mask) -> Mask:
    """Parse and draw as `verify_image_label`, `polygon2mask` of ultralytics 8.4 do: 32-bit floats, cut, filled."""
    shares = np.array(line.split()[1:], dtype=np.float32).reshape(-1, 2)
    pixels = shares * np.array([mask.shape[1], mask.shape[0]], np.float32)
    drawn = np.zeros_like(mask)
    cv2.fillPoly(drawn, np.asarray([pixels], dtype=np.int32), 255)
    return drawn


@many
@given(people_masks())
def test_a_line_of_one_part_is_exact_and_joined_parts_only_gain_lines(mask: Mask) -> None:
    found = contours.from_mask(mask)
    if found.is_empty:
        with pytest.raises(InputError, match="at least one pixel"):
            formats.to_yolo_line(found, class_index=3, **size_of(mask))
        return
    line = formats.to_yolo_line(found, class_index=3, **size_of(mask))
    (read,) = formats.parse_yolo(line, file="a.txt", class_count=4, **size_of(mask))
    again = redrawn(read.contours, mask)
    assert read.class_index == 3
    assert (as_ultralytics_draws(line, mask) == again).all()
    assert (again[mask > 0] == 255).all()
    if found.parents.count(-1) == 1:
        assert (again == mask).all()


@many
@given(people_masks())
def test_a_line_along_edges_is_exact_with_parts_and_holes(mask: Mask) -> None:
    found = contours.from_mask(mask)
    if not found.is_empty:
        line = formats.to_yolo_line(found, class_index=0, **size_of(mask), points="edges")
        (read,) = formats.parse_yolo(line, file="a.txt", class_count=1, **size_of(mask), points="edges")
        assert contours.encode(read.contours) == contours.encode(found)


@pytest.mark.parametrize("height", [500, 2000])
def test_joining_the_parts_of_a_person_costs_a_line(height: int) -> None:
    mask = person(height, parts=True)
    line = formats.to_yolo_line(contours.from_mask(mask), class_index=0, **size_of(mask))
    drawn = as_ultralytics_draws(line, mask)
    assert iou(drawn, mask) >= 0.998
    assert np.count_nonzero(drawn != mask) <= 2 * 30 * height / 500  # two lines over the gap


def test_ultralytics_own_way_of_joining_is_read_exactly_along_edges() -> None:
    detector._import_ultralytics()  # so that it loads no code from checkpoints in any later test
    from ultralytics.data.converter import merge_multi_segment

    mask = person(parts=True)
    polygons = formats.to_coco_polygons(contours.from_mask(mask))
    joined = np.concatenate(merge_multi_segment(polygons)) / mask.shape[::-1]
    line = "0 " + " ".join(f"{share:.6f}" for share in joined.ravel())
    (read,) = formats.parse_yolo(line, file="a.txt", class_count=1, **size_of(mask), points="edges")
    assert (redrawn(read.contours, mask) == mask).all()


def test_people_stand_one_a_line_and_empty_lines_are_passed_over() -> None:
    mask = figure()
    lines = [formats.to_yolo_line(contours.from_mask(mask), class_index=number, **size_of(mask)) for number in (1, 0)]
    text = "\n" + lines[0] + "\r\n\n  \t\n" + lines[1] + "\n"
    assert [one.class_index for one in formats.parse_yolo(text, file="a", class_count=2, **size_of(mask))] == [1, 0]
    assert formats.parse_yolo("", file="a", class_count=2, width=1, height=1) == []


@pytest.mark.parametrize("points", ["edges", "centres"])
def test_the_whole_picture_and_a_crumb_of_it_are_lines_too(points: Any) -> None:
    for mask in (np.full((3, 5), 255, np.uint8), np.pad(np.full((1, 1), 255, np.uint8), 2)):
        line = formats.to_yolo_line(contours.from_mask(mask), class_index=0, **size_of(mask), points=points)
        assert len(line.split()) >= 7
        (read,) = formats.parse_yolo(line, file="a", class_count=1, **size_of(mask), points=points)
        assert (redrawn(read.contours, mask) == mask).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0", "at least 3 points, got 0 numbers"),
        ("0 0.5 0.5 0.1 0.1", "got 4 numbers, which is a box"),
        ("0 0 0 1 0 1", "got 5 numbers"),
        ("0 0 0 1 0 1 1 0.5", "an x and a y for each of at least 3 points, got 7 numbers"),
        ("0 0 0 1 0 1 one", "a number from 0 to 1, got 'one'"),
        ("0 0 0 1 0 1 nan", "got 'nan'"),
        ("0 0 0 1 0 1 inf", "got 'inf'"),
        ("0 0 0 1 0 1 1e999", "got '1e999'"),
        ("0 0 0 1 0 1 1.0001", "got '1.0001'"),
        ("0 0 0 1 0 -0.1 1", "got '-0.1'"),
        ("0 0 0 1 0 1 0_1", "got '0_1'"),
        ("0 0 0 1 0 1 ١", "a coordinate must be"),
        ("2 0 0 1 0 1 1", "the class must be a number from 0 to 1, got '2'"),
        ("-1 0 0 1 0 1 1", "got '-1'"),
        ("1.0 0 0 1 0 1 1", "got '1.0'"),
        ("person 0 0 1 0 1 1", "got 'person'"),
        ("9" * 5000 + " 0 0 1 0 1 1", "the class must be"),
    ],
)
def test_a_malformed_line_is_named_with_file_line_and_value(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        formats.parse_yolo(f"0 0 0 1 0 1 1\n\n{line}\n", file="labels/7.txt", width=9, height=9, class_count=2)
    assert str(refused.value).startswith("labels/7.txt:3: ")
    assert len(str(refused.value)) < 250


@many
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["0", "1", "0.5", "1.0", "nan", "-1", "1e-3", "2", "\n"])).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    for points in ("edges", "centres"):
        with refusal_in_one_line():
            for one in formats.parse_yolo(text, file="a", width=6, height=4, class_count=2, points=points):  # type: ignore[arg-type]
                contours.to_mask(one.contours, width=6, height=4)


# --- docs/segmentation_format ----------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"


def blocks(language: str) -> list[str]:
    text = (DOCS / "segmentation_format.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "draw_segmentation_format.py"))


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    return names


def test_the_drawing_is_fresh(drawing: dict[str, Any]) -> None:
    committed = (DOCS / "segmentation_format.svg").read_text(encoding="utf-8")
    assert drawing["draw"]() == committed, "run `python docs/draw_segmentation_format.py`"


def test_the_drawn_person_has_two_parts_and_a_hole(drawing: dict[str, Any]) -> None:
    found = contours.from_mask(drawing["picture"]())
    assert sorted(found.parents) == [-1, -1, 1]


def test_the_example_is_what_encode_writes(drawing: dict[str, Any], documented: dict[str, Any]) -> None:
    found = contours.from_mask(drawing["picture"]())
    kept, unpacked = (bytes.fromhex(block) for block in blocks("hex"))
    packed = contours.encode(found)
    # the integers are the same everywhere; how they are packed is the zlib's own affair
    assert (packed[:1], drawing["raw_bytes"](found)) == (kept[:1], unpacked)
    assert zlib.decompress(kept[1:]) == unpacked
    assert contours.encode(contours.decode(kept)) == packed
    (_, first), (_, second), _ = documented["decode"](kept)
    assert first[:2] == [(5, 13), (5, 14)]
    assert (first[-1], second[0], unpacked[0x1D:0x1F].hex(" ")) == ((9, 13), (5, 1), "07 17")


@many
@given(people_masks())
def test_the_documented_reader_reads_what_encode_writes(documented: dict[str, Any], mask: Mask) -> None:
    found = contours.from_mask(mask)
    rings = documented["decode"](contours.encode(found))
    expected = zip(found.parents, found.rings, strict=True)
    assert rings == [(parent, [tuple(point) for point in ring.tolist()]) for parent, ring in expected]
    assert documented["pixels"](rings) == {(x, y) for y, x in np.argwhere(mask).tolist()}


def test_the_documented_reader_reads_long_integers_and_refuses_another_version(documented: dict[str, Any]) -> None:
    mask = np.zeros((3, 70_000), np.uint8)
    mask[1, 3:69_000] = 255
    packed = contours.encode(contours.from_mask(mask))
    assert documented["decode"](packed) == [(-1, [(3, 1), (68_999, 1)])]
    with pytest.raises(ValueError, match="another version"):
        documented["decode"](b"\x02" + packed[1:])


def test_every_function_of_the_conversions_is_documented() -> None:
    text = (DOCS / "segmentation_format.md").read_text(encoding="utf-8")
    public = [name for name, value in vars(formats).items() if callable(value) and name.islower() and name[0] != "_"]
    own = [name for name in public if getattr(formats, name).__module__ == formats.__name__]
    assert len(own) == 6
    assert [name for name in own if f"`{name}" not in text] == []
