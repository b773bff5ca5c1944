"""Contours in the formats of other tools, and back: COCO RLE, COCO polygons and YOLO txt.

    to_coco_rle, to_coco_polygons, coco_annotation    contours -> COCO
    read_coco_segmentation                            any of COCO's three forms -> contours
    to_yolo_line, parse_yolo                          contours <-> lines of a YOLO segmentation label

RLE keeps every pixel. A polygon keeps them only where writer and reader mean the same by a coordinate, so both
directions take `points`:

    edges    along the edges of pixels: pixel 7 reaches from 7.0 to 8.0 and belongs to the person when its centre,
             7.5, lies inside (pycocotools, CVAT, Label Studio)
    centres  through the outermost pixels, which belong: 7.0 to 7.99 is pixel 7 (OpenCV, ultralytics)

A polygon file has no holes; `holes` says what becomes of them. A *bridge* leads from the outer ring to the hole and
back on the same line, which encloses nothing. docs/segmentation_format tells what each way loses.

Reading is guarded by hand, because files come from elsewhere: pycocotools' C code ends the whole process on a
polygon with a far point. The tests hold both forms of RLE to what pycocotools writes and reads.

Sources: the RLE's layout and letters are those of `rleEncode` and `rleToString` in cocoapi's common/maskApi.c; the
YOLO lines those of ultralytics' `verify_image_label` and `polygon2mask` (data/utils.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import (
    MAX_COORDINATE,
    MAX_PIXELS,
    Contours,
    box,
    from_mask,
    to_cropped_mask,
)
from silhouette.errors import InputError

Points = Literal["edges", "centres"]
Holes = Literal["bridge", "drop", "refuse"]

MAX_CROSSINGS = 1 << 23  # rows that a polygon's edges pass, all counted; a person's outline has some thousand
_MAX_LETTERS = 7  # of one count in a compressed RLE: 35 bits
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COCO_WAY_OUT = "export the annotations again"

_Ring = npt.NDArray[np.int32]  # [points, 2] of x, y


class CocoRle(TypedDict):
    """COCO's run lengths; `size` is height, width; `counts` a string or, uncompressed, the lengths."""

    size: list[int]
    counts: str | list[int]


class CocoAnnotation(TypedDict):
    """One entry of `annotations` in a COCO file."""

    id: int
    image_id: int
    category_id: int
    segmentation: CocoRle | list[list[float]]
    area: int
    bbox: list[int]
    iscrowd: int


@dataclass(frozen=True, kw_only=True)
class YoloPerson:
    """One line of a YOLO segmentation label: the number of the class and the outline."""

    class_index: int
    contours: Contours


def to_coco_rle(contours: Contours, *, width: int, height: int, compressed: bool = True) -> CocoRle:
    """Write run lengths down the columns, alternately outside and inside, beginning outside. Exact.

    Args:
        contours: In pixels of the picture.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        compressed: Write `counts` as pycocotools' ASCII string, else as a list.

    Raises:
        InputError: A point lies outside the picture, or the picture has more than `MAX_PIXELS`.
    """
    counts = _counts(contours, width, height)
    return CocoRle(size=[height, width], counts=_letters(counts) if compressed else counts.tolist())


def to_coco_polygons(
    contours: Contours,
    *,
    points: Points = "edges",
    holes: Holes = "bridge",
    joined: bool = False,
    tolerance_px: float = 0.0,
) -> list[list[float]]:
    """Write one polygon a part, [x0, y0, x1, y1, ...] in pixels of the picture.

    Args:
        contours: In pixels of the picture.
        points: What a coordinate means; with ``edges`` and bridges pycocotools reads the same mask again.
        holes: ``bridge``, ``drop`` (they are filled) or ``refuse``.
        joined: Join the parts to one polygon by lines there and back, for tools that take every polygon for a person.
            As ``edges`` such a line encloses nothing.
        tolerance_px: Leave out points that move the outline by no more than this (Douglas and Peucker, 1973). With
            0 nothing is left out; with 1 a person has about a quarter of the points.

    Raises:
        InputError: There is a hole and `holes` is ``refuse``, or the person spans more than `MAX_PIXELS`.
    """
    import cv2

    polygons = _polygons(contours, points, holes)
    if joined and polygons:
        polygons = [_joined(polygons)]
    if tolerance_px > 0:
        coarse = (cv2.approxPolyDP(polygon, tolerance_px, True).reshape(-1, 2) for polygon in polygons)
        polygons = [fine if len(few) < 3 else few for few, fine in zip(coarse, polygons, strict=True)]
    return [_at_least_three(polygon).astype(np.float64).ravel().tolist() for polygon in polygons]


def coco_annotation(
    contours: Contours,
    *,
    annotation_id: int,
    image_id: int,
    category_id: int,
    width: int,
    height: int,
    form: Literal["rle", "polygons", "polygon"] = "rle",
    holes: Holes = "bridge",
) -> CocoAnnotation:
    """Return a person's entry for a COCO file.

    `area` is the number of pixels and `bbox` (left, top, width, height) holds exactly them, as pycocotools counts
    them; `iscrowd` is 0, because a line is one person whatever the form: run lengths, one polygon a part, or one
    ``polygon`` for all of a person.

    Raises:
        InputError: As `to_coco_rle` and `to_coco_polygons`.
    """
    counts = _counts(contours, width, height)
    rle = CocoRle(size=[height, width], counts=_letters(counts))
    left, top, right, bottom = box(contours)
    return CocoAnnotation(
        id=annotation_id,
        image_id=image_id,
        category_id=category_id,
        segmentation=rle if form == "rle" else to_coco_polygons(contours, holes=holes, joined=form == "polygon"),
        area=int(counts[1::2].sum()),
        bbox=[left, top, right - left, bottom - top],
        iscrowd=0,
    )


def read_coco_segmentation(segmentation: object, *, width: int, height: int, points: Points = "edges") -> Contours:
    """Read `segmentation` of a COCO annotation, whichever form it has.

    A list holds polygons: each encloses by the even-odd rule, and together they are the parts of one person, so a
    hole is only what a bridge leads to. What lies outside the picture is cut off. Annotation tools let points
    stand out by a pixel; a point further out than `MAX_COORDINATE` is refused.

    Args:
        segmentation: As `json` reads it: a list of lists of numbers, or a dict with `size` and `counts`.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        points: What a polygon's coordinate means.

    Raises:
        InputError: It is none of the three forms, is of another size, or its numbers contradict one another.
    """
    _check_size(width, height)
    if isinstance(segmentation, dict):
        return _from_counts(_read_counts(segmentation, width, height), height)
    if not isinstance(segmentation, list):
        raise _malformed(f"got {_shown(segmentation)}")
    polygons = [_read_polygon(numbers, index) for index, numbers in enumerate(segmentation)]
    return _filled(polygons, width, height, points)


def to_yolo_line(
    contours: Contours,
    *,
    class_index: int,
    width: int,
    height: int,
    points: Points = "centres",
    holes: Holes = "bridge",
) -> str:
    """Write one person: ``class x y x y ...``, each coordinate divided by the picture's side.

    YOLO has one polygon a person, so parts are joined at near points by lines there and back, as ultralytics'
    `merge_multi_segment` does. With ``centres`` these lines are drawn, one pixel thick; one part is exact.

    Args:
        contours: In pixels of the picture, at least one pixel.
        class_index: The number of the class.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        points: What a coordinate means; ``centres`` are written as the middle of the pixel, which ultralytics cuts
            to that pixel.
        holes: ``bridge``, ``drop`` (they are filled) or ``refuse``.

    Raises:
        InputError: There is no pixel, one is outside the picture, or a hole is there and refused.
    """
    if contours.is_empty:
        raise InputError("a YOLO line must have at least one pixel, got empty contours; leave the person out")
    _check_on_picture(contours, width, height)
    joined = _at_least_three(_joined(_polygons(contours, points, holes)))
    shares = (joined + (0.5 if points == "centres" else 0.0)) / [width, height]
    return f"{class_index} " + " ".join(f"{share:.7g}" for share in shares.ravel().tolist())


def parse_yolo(
    text: str, *, file: str, width: int, height: int, class_count: int, points: Points = "centres"
) -> list[YoloPerson]:
    """Read the lines of a YOLO segmentation label. Empty lines are passed over.

    Args:
        text: The file's content.
        file: Its name, for messages.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        class_count: How many classes there are; a line names one of 0 to this, exclusive.
        points: What a coordinate means; ``centres`` gives the mask that ultralytics draws and trains on.

    Raises:
        InputError: A line is malformed; the message names file, line and value.
    """
    _check_size(width, height)
    people = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words:
            class_index, shares = _read_yolo_words(words, f"{file}:{number}", class_count)
            polygon = shares.reshape(-1, 2) * [width, height]
            people.append(YoloPerson(class_index=class_index, contours=_filled([polygon], width, height, points)))
    return people


# --- run lengths -----------------------------------------------------------------------------------------------------


def _counts(contours: Contours, width: int, height: int) -> npt.NDArray[np.int64]:
    """Return the run lengths of the whole picture, drawn only where the person is."""
    import cv2

    _check_on_picture(contours, width, height)
    mask, (left, top) = to_cropped_mask(contours)
    stride = mask.shape[0] + 1
    padded = np.zeros(mask.shape[1] * stride + 1, dtype=np.uint8)  # column by column, an outside pixel behind each
    padded[1:].reshape(-1, stride)[:, :-1] = cv2.transpose(mask) if mask.size else 0
    columns, rows = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), stride)  # a run's first row, the one behind
    places = (left + columns) * height + top + rows
    repeated = np.flatnonzero(places[1::2][:-1] == places[2::2])  # the run goes on at the next column's top
    places = np.delete(places, np.concatenate([2 * repeated + 1, 2 * repeated + 2]))
    total = width * height
    ends = places if len(places) and places[-1] == total else np.append(places, total)
    return np.diff(ends, prepend=0)


def _from_counts(counts: npt.NDArray[np.int64], height: int) -> Contours:
    counts = counts.copy()
    columns_before = counts[0] // height
    counts[0] -= columns_before * height
    if len(counts) % 2:  # the last run is outside as well
        counts[-1] %= height
    inside = np.arange(len(counts)) % 2 * 255
    mask = np.repeat(inside.astype(np.uint8), counts).reshape(-1, height).T
    return from_mask(mask, offset_xy=(int(columns_before), 0)) if mask.size else Contours(rings=(), parents=())


def _letters(counts: npt.NDArray[np.int64]) -> str:
    """Compress as `rleToString`: from the third length on the difference to the one before the last, in base 32."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    rest = values[:, None] >> (5 * np.arange(_MAX_LETTERS + 1))
    digits, rest = rest[:, :-1] & 0x1F, rest[:, 1:]
    more = np.where(digits & 0x10, rest != -1, rest != 0)
    used = np.cumprod(np.concatenate([np.ones((len(values), 1), bool), more[:, :-1]], axis=1), axis=1).astype(bool)
    return bytes((digits + 0x20 * more + 48)[used].astype(np.uint8)).decode("ascii")


def _lengths_of_letters(text: str | bytes) -> npt.NDArray[np.int64]:
    letters = np.frombuffer(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, dtype=np.uint8)
    codes = letters.astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 0x3F or codes[-1] & 0x20:
        raise _malformed(f"the counts {_shown(text)} are no whole string of the letters 0 to o")
    ends = np.flatnonzero(codes & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > _MAX_LETTERS:
        raise _malformed(f"a count in {_shown(text)} has {sizes.max()} letters")
    place = np.arange(len(codes)) - np.repeat(starts, sizes)
    values = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    values -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * sizes), 0)  # the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _read_counts(rle: dict[Any, Any], width: int, height: int) -> npt.NDArray[np.int64]:
    if rle.get("size") != [height, width]:
        raise _malformed(f"size must be [height, width] = [{height}, {width}], got {_shown(rle.get('size'))}")
    given = rle.get("counts")
    if isinstance(given, str | bytes):
        counts = _lengths_of_letters(given)
    elif isinstance(given, list) and given and all(type(count) is int and 0 <= count <= MAX_PIXELS for count in given):
        counts = np.array(given, dtype=np.int64)
    else:
        raise _malformed(f"counts must be a string or a list of whole numbers from 0, got {_shown(given)}")
    if counts.min() < 0 or counts.max() > width * height or counts.sum() != width * height:
        raise _malformed(f"counts must be from 0 and sum to {width}x{height} = {width * height}, got {counts.sum()}")
    return counts


# --- polygons --------------------------------------------------------------------------------------------------------


def _polygons(contours: Contours, points: Points, holes: Holes) -> list[_Ring]:
    """Trace one polygon a part, its holes bridged, dropped or refused."""
    mask, corner = to_cropped_mask(contours)
    if points == "edges":
        mask = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)
    traced = from_mask(mask)
    outer = [ring for ring, parent in zip(traced.rings, traced.parents, strict=True) if parent < 0]
    inner = [ring for ring, parent in zip(traced.rings, traced.parents, strict=True) if parent >= 0]
    if inner and holes == "refuse":
        raise InputError(f"polygons must have no holes, got {len(inner)}; bridge or drop them, or export RLE")
    rings = _bridged(outer, inner, mask) if inner and holes == "bridge" else outer
    # at double size an edge between pixels X-1 and X is between 2X-1 and 2X: both become X
    scaled = [(ring + 1) // 2 if points == "edges" else ring for ring in rings]
    return [_without_repeats(ring) + np.array(corner, dtype=np.int32) for ring in scaled]


def _bridged(outer: list[_Ring], holes: list[_Ring], mask: npt.NDArray[np.uint8]) -> list[_Ring]:
    """Lead from the leftmost point of each hole over the person's own pixels to the ring on its left, and back.

    The ring on the left is the outer one or a hole that begins further left, so that this is a tree; it is put
    together from its leaves.
    """
    holes = sorted(
        (np.roll(hole, -int(hole[:, 0].argmin()), axis=0) for hole in holes), key=lambda ring: int(ring[0, 0])
    )
    rings = [*outer, *holes]
    steps, ring_of, edge_of = _steps(rings)
    known, first = np.unique(steps @ [1, mask.shape[1]], return_index=True)
    detours: list[dict[int, list[_Ring]]] = [{} for _ in rings]  # of each ring, by the step where they leave
    for number in range(len(rings) - 1, len(outer) - 1, -1):
        x, y = rings[number][0]
        outside = np.flatnonzero(mask[y, :x] == 0)
        place = np.array([[outside[-1] + 1 if len(outside) else 0, y]], dtype=np.int32)
        step = first[np.searchsorted(known, place[0] @ [1, mask.shape[1]])]
        around = _with_detours(rings[number], detours[number], edge_of)
        detours[ring_of[step]].setdefault(step, []).append(np.concatenate([place, around, around[:1], place]))
    return [_with_detours(ring, detours[number], edge_of) for number, ring in enumerate(outer)]


def _steps(rings: list[_Ring]) -> tuple[_Ring, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List every pixel on the way around every ring, with the number of its ring and of the edge within it."""
    begin, end = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    lengths = np.maximum(np.abs(end - begin).max(axis=1), 1)  # rings go straight or diagonally
    edge = np.repeat(np.arange(len(begin)), lengths)
    along = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    sizes = np.array([len(ring) for ring in rings])
    ring_of = np.repeat(np.arange(len(rings)), sizes)
    edge_of = np.arange(len(begin)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    steps = begin[edge] + np.sign(end - begin)[edge] * along[:, None].astype(np.int32)
    return steps, ring_of[edge], edge_of[edge]


def _with_detours(ring: _Ring, detours: dict[int, list[_Ring]], edge_of: npt.NDArray[np.int64]) -> _Ring:
    pieces, done = [], 0
    for step in sorted(detours):
        edge = int(edge_of[step])
        pieces += [ring[done : edge + 1], *detours[step]]
        done = edge + 1
    return np.concatenate([*pieces, ring[done:]])


def _spliced(polygon: _Ring, at: int, ring: _Ring, start: int) -> _Ring:
    """Walk the polygon to `at`, once around the ring from `start`, and back to where it was left."""
    return np.concatenate([polygon[: at + 1], ring[start:], ring[: start + 1], polygon[at:]])


def _joined(polygons: list[_Ring]) -> _Ring:
    """Join all parts to the largest by lines between near points."""
    joined, *others = sorted(polygons, key=len, reverse=True)
    for polygon in others:
        start = _nearest(polygon, joined[_nearest(joined, polygon[0])])
        joined = _spliced(joined, _nearest(joined, polygon[start]), polygon, start)
    return joined


def _nearest(ring: _Ring, point: npt.NDArray[np.int32]) -> int:
    return int(((ring - point).astype(np.float64) ** 2).sum(axis=1).argmin())


def _without_repeats(ring: _Ring) -> _Ring:
    kept = (ring != np.roll(ring, 1, axis=0)).any(axis=1)
    kept[0] |= not kept.any()
    return np.compress(kept, ring, axis=0)


def _at_least_three(ring: _Ring) -> _Ring:
    """Repeat the last point: every reader takes fewer than three for a box, or for a mistake."""
    return np.concatenate([ring, np.repeat(ring[-1:], max(0, 3 - len(ring)), axis=0)])


def _filled(polygons: Sequence[npt.NDArray[np.float64]], width: int, height: int, points: Points) -> Contours:
    if not polygons:
        return Contours(rings=(), parents=())
    return (_filled_by_edges if points == "edges" else _filled_by_centres)(polygons, width, height)


def _filled_by_centres(polygons: Sequence[npt.NDArray[np.float64]], width: int, height: int) -> Contours:
    """Draw each polygon with its border, as ultralytics does."""
    import cv2

    cells = [np.floor(polygon).astype(np.int32) for polygon in polygons]
    low = np.clip(np.min([ring.min(axis=0) for ring in cells], axis=0), 0, [width, height])
    high = np.clip(np.max([ring.max(axis=0) for ring in cells], axis=0) + 1, low, [width, height])
    mask = np.zeros((high - low)[::-1], dtype=np.uint8)
    if mask.size:
        for ring in cells:
            cv2.fillPoly(mask, [ring - low.astype(np.int32)], 255)
    return from_mask(mask, offset_xy=(int(low[0]), int(low[1]))) if mask.size else Contours(rings=(), parents=())


def _filled_by_edges(polygons: Sequence[npt.NDArray[np.float64]], width: int, height: int) -> Contours:
    """Take the pixels whose centre lies inside at least one polygon, each by the even-odd rule.

    Every edge crosses the centre lines of some rows. Along a row a polygon's crossings, in order, begin and end its
    runs of pixels; all runs of all polygons are added up once.
    """
    begin, end = np.concatenate(polygons), np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    down = (begin[:, 1] <= end[:, 1])[:, None]
    upper, lower = np.where(down, begin, end), np.where(down, end, begin)  # there and back must be the same line
    first, behind = (np.clip(np.ceil(side[:, 1] - 0.5), 0, height).astype(np.int64) for side in (upper, lower))
    lengths = behind - first
    if lengths.sum() > MAX_CROSSINGS:
        raise _malformed(f"its polygons pass {lengths.sum()} rows, more than {MAX_CROSSINGS}")
    edge = np.repeat(np.arange(len(lengths)), lengths)
    if not len(edge):
        return Contours(rings=(), parents=())
    row = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    share = (row + 0.5 - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + share * (lower[edge, 0] - upper[edge, 0])
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    left, top = int(column.min()), int(row.min())
    rows, stride = int(row.max()) - top + 1, int(column.max()) - left + 1  # one column more, where runs may end
    polygon = np.repeat(np.arange(len(polygons)), [len(one) for one in polygons])[edge]
    places = np.sort((polygon * rows + row - top) * stride + column - left) % (rows * stride)
    depth = np.zeros(rows * stride, dtype=np.int32)
    np.add.at(depth, places[0::2], 1)
    np.add.at(depth, places[1::2], -1)
    inside = np.cumsum(depth, out=depth).reshape(rows, stride)[:, :-1] > 0
    if not inside.size:
        return Contours(rings=(), parents=())
    return from_mask(inside.astype(np.uint8), offset_xy=(left, top))


# --- doors -----------------------------------------------------------------------------------------------------------


def _read_polygon(numbers: object, index: int) -> npt.NDArray[np.float64]:
    where = f"polygon {index}"
    if not isinstance(numbers, list) or not set(map(type, numbers)) <= {int, float}:
        raise _malformed(f"{where} must be a list of numbers x, y, x, y, ..., got {_shown(numbers)}")
    if len(numbers) < 6 or len(numbers) % 2:
        raise _malformed(f"{where} must have an x and a y for each of at least 3 points, got {len(numbers)} numbers")
    far = next((number for number in numbers if not -MAX_COORDINATE <= number <= MAX_COORDINATE), None)
    if far is not None:
        raise _malformed(f"{where} must have coordinates of at most {MAX_COORDINATE}, got {_shown(far)}")
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)


def _read_yolo_words(words: list[str], where: str, class_count: int) -> tuple[int, npt.NDArray[np.float64]]:
    head, *rest = words
    if not (head.isascii() and head.isdecimal() and len(head) < 10 and int(head) < class_count):
        raise InputError(f"{where}: the class must be a number from 0 to {class_count - 1}, got {_shown(head)}")
    if len(rest) == 4:
        raise InputError(f"{where}: a line must have at least 3 points, got 4 numbers, which is a box; export segments")
    if len(rest) % 2 or len(rest) < 6:
        raise InputError(
            f"{where}: a line must have an x and a y for each of at least 3 points, got {len(rest)} numbers; "
            "export segments"
        )
    return int(head), np.fromiter(_read_shares(rest, where), dtype=np.float64, count=len(rest))


def _read_shares(words: list[str], where: str) -> Iterator[float]:
    for word in words:
        share = float(word) if _NUMBER.fullmatch(word) else -1.0
        if not 0.0 <= share <= 1.0:
            raise InputError(
                f"{where}: a coordinate must be a number from 0 to 1, got {_shown(word)}; divide by the picture's side"
            )
        yield share


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InputError(f"a picture must have 1 to {MAX_PIXELS} pixels, got {width}x{height}; {_COCO_WAY_OUT}")


def _check_on_picture(contours: Contours, width: int, height: int) -> None:
    _check_size(width, height)
    left, top, right, bottom = box(contours)
    if left < 0 or top < 0 or right > width or bottom > height:
        raise InputError(
            f"contours must lie on the picture of {width}x{height}, got the box {left},{top} to {right},{bottom}; "
            "give the size of the upright picture"
        )


def _malformed(detail: str) -> InputError:
    return InputError(f"a COCO segmentation must be polygons or run lengths: {detail}; {_COCO_WAY_OUT}")


def _shown(value: object) -> str:
    """Show a value of any kind, length or size in one line."""
    if isinstance(value, list):
        shown = [_shown(item) if not isinstance(item, list | dict) else "..." for item in value[:6]]
        return f"[{', '.join(shown)}{', ...' if len(value) > 6 else ''}]"
    if isinstance(value, str | bytes):
        return repr(value[:60]) + ("..." if len(value) > 60 else "")
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    return str(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"
