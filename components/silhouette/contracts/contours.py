"""A person's outline, without loss: rings in picture pixels, and the compact bytes that the database keeps.

A mask becomes rings with `from_mask` and the same mask again with `to_mask`: all rings are filled at once by
the even-odd rule, so that a ring inside a ring is a hole. The bytes (`encode`, `decode`) are one version byte
and a zlib stream (level 1) of unsigned LEB128 integers:

    number of rings R | parent + 1 of each ring (0: an outer ring) | points of each ring | dx0 dy0 dx1 dy1 ...

where a difference is taken from the point before (the first one from 0,0; over the border of two rings as
well) and zigzag-coded. docs/segmentation_format describes it for other languages.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silhouette.errors import InputError

VERSION = 1
MAX_RAW_BYTES = 1 << 25  # 32 MiB unpacked; the noisiest real outline has some hundred kB
MAX_COORDINATE = 1 << 20  # pixels; no picture that passes the door has a side this long
MAX_PIXELS = 1 << 27  # of a mask drawn for unproved contours; the door lets 89 million pixels through
_MAX_VARINT_BYTES = 5
_WAY_OUT = "segment the picture again"


@dataclass(frozen=True, eq=False)
class Contours:
    """The outline of one person.

    Attributes:
        rings: Closed polygons, int32 [points, 2] of x, y in picture pixels; the last point joins the first.
        parents: For each ring the index of the outer ring it is a hole of; -1 for an outer ring.
    """

    rings: tuple[npt.NDArray[np.int32], ...]
    parents: tuple[int, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether there is not one pixel."""
        return not self.rings


def from_mask(mask: npt.NDArray[np.uint8], *, offset_xy: tuple[int, int] = (0, 0)) -> Contours:
    """Trace a mask.

    Args:
        mask: uint8 [height, width]; every value but 0 is the person.
        offset_xy: Where the mask's corner lies on the picture, pixels, for a mask that is only a part of it.
    """
    import cv2

    found, hierarchy = cv2.findContours(
        np.ascontiguousarray(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=offset_xy
    )
    if not found:
        return Contours(rings=(), parents=())
    rings = tuple(np.asarray(ring, dtype=np.int32).reshape(-1, 2) for ring in found)
    return Contours(rings=rings, parents=tuple(int(parent) for parent in hierarchy.reshape(-1, 4)[:, 3]))


def to_mask(contours: Contours, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw the mask: uint8 [height, width], 0 or 255.

    Raises:
        InputError: A point lies outside the picture.
    """
    import cv2

    mask = np.zeros((height, width), dtype=np.uint8)
    if contours.is_empty:
        return mask
    left, top, right, bottom = box(contours)
    if left < 0 or top < 0 or right > width or bottom > height:
        corner = [left, top] if left < 0 or top < 0 else [right - 1, bottom - 1]
        raise InputError(f"contours must lie on the picture of {width}x{height}, got a point at {corner}; {_WAY_OUT}")
    cv2.fillPoly(mask, list(contours.rings), 255)
    return mask


def box(contours: Contours) -> tuple[int, int, int, int]:
    """Return the smallest box around all pixels: left, top, right, bottom in pixels, the last two exclusive.

    Contours without a pixel have the box 0, 0, 0, 0.
    """
    if contours.is_empty:
        return 0, 0, 0, 0
    left, top = np.min([ring.min(axis=0) for ring in contours.rings], axis=0).tolist()
    right, bottom = np.max([ring.max(axis=0) for ring in contours.rings], axis=0).tolist()
    return left, top, right + 1, bottom + 1


def to_cropped_mask(contours: Contours) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Draw the mask inside `box` only, which is many times faster than the whole picture.

    Returns:
        uint8 [height, width] of the box, 0 or 255, and where its corner lies on the picture (x, y, pixels), as
        `from_mask` takes them.

    Raises:
        InputError: The box has more than `MAX_PIXELS`, which no picture has.
    """
    left, top, right, bottom = box(contours)
    width, height = right - left, bottom - top
    if width * height > MAX_PIXELS:
        raise InputError(f"contours must span at most {MAX_PIXELS} pixels, got {width}x{height}; {_WAY_OUT}")
    corner = np.array([left, top], dtype=np.int32)
    moved = Contours(rings=tuple(ring - corner for ring in contours.rings), parents=contours.parents)
    return to_mask(moved, width=width, height=height), (left, top)


def area(contours: Contours) -> float:
    """Return the area inside the rings, holes taken off, in pixels; the largest is a picture's main person."""
    import cv2

    signs = (1 if parent < 0 else -1 for parent in contours.parents)
    return sum(sign * float(cv2.contourArea(ring)) for sign, ring in zip(signs, contours.rings, strict=True))


def main_rank(contours: Contours, *, score: float, index: int) -> tuple[float, float, int]:
    """Order the people of a picture: the highest is its main person, whom its label and its answer mean.

    The one rule of training and of serving: by the area inside the contours, then by score, then the first.
    """
    return area(contours), score, -index


def encode(contours: Contours) -> bytes:
    """Pack contours into bytes; equal contours give equal bytes with the same zlib.

    Raises:
        InputError: There are more points, or larger coordinates, than `decode` accepts.
    """
    lengths = np.array([len(ring) for ring in contours.rings], dtype=np.int64)
    points = np.concatenate(contours.rings).astype(np.int64) if contours.rings else np.zeros((0, 2), np.int64)
    if points.size and (points.min() < 0 or points.max() >= MAX_COORDINATE):
        raise InputError(f"coordinates must be 0 to {MAX_COORDINATE - 1}, got {points.min()} to {points.max()}")
    deltas = np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int64)).ravel()
    header = np.concatenate([[len(lengths)], np.array(contours.parents, dtype=np.int64) + 1, lengths])
    raw = _pack(np.concatenate([header, (deltas << 1) ^ (deltas >> 63)]).astype(np.uint64))
    if len(raw) > MAX_RAW_BYTES:
        raise InputError(f"contours must fit into {MAX_RAW_BYTES} bytes, got {len(raw)}; smooth the mask first")
    return bytes([VERSION]) + zlib.compress(raw, 1)


def decode(data: bytes) -> Contours:
    """Unpack what `encode` made.

    Raises:
        InputError: The bytes are of another version, damaged, or do not describe rings.
    """
    values = _unpack(_inflate(data))
    ring_count = int(values[0]) if len(values) else -1
    start = 1 + 2 * ring_count
    if ring_count < 0 or start > len(values):
        raise _malformed("it ends before its rings")
    parents = values[1 : 1 + ring_count].astype(np.int64) - 1
    lengths = values[1 + ring_count : start].astype(np.int64)
    if not _is_forest(parents) or (lengths < 1).any() or 2 * int(lengths.sum()) != len(values) - start:
        raise _malformed("its parents or point counts contradict one another")
    zigzag = values[start:]
    deltas = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    points = np.cumsum(deltas.reshape(-1, 2), axis=0)
    if points.size and (points.min() < 0 or points.max() >= MAX_COORDINATE):
        raise _malformed(f"a coordinate is not 0 to {MAX_COORDINATE - 1}")
    rings = np.split(points.astype(np.int32), np.cumsum(lengths)[:-1]) if ring_count else []
    return Contours(rings=tuple(rings), parents=tuple(parents.tolist()))


def _malformed(detail: str) -> InputError:
    return InputError(f"contours must be bytes of version {VERSION}, these are malformed: {detail}; {_WAY_OUT}")


def _is_forest(parents: npt.NDArray[np.int64]) -> bool:
    """Tell whether every hole names an outer ring that exists."""
    named = parents[parents >= 0]
    return bool((named < len(parents)).all() and (parents[named] == -1).all())


def _inflate(data: bytes) -> bytes:
    if not data or data[0] != VERSION:
        raise _malformed(f"the first byte is {data[:1].hex() or 'missing'}")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data[1:], MAX_RAW_BYTES)
    except zlib.error as error:
        raise _malformed(str(error)) from None
    if not stream.eof or stream.unused_data:
        raise _malformed("the zlib stream is cut, too long or followed by something")
    return raw


def _pack(values: npt.NDArray[np.uint64]) -> bytes:
    """Write unsigned integers below 2**35 as LEB128."""
    shifts = (7 * np.arange(_MAX_VARINT_BYTES)).astype(np.uint64)
    groups = values[:, None] >> shifts
    follows = groups[:, 1:] != 0
    used = np.concatenate([np.ones((len(values), 1), bool), follows], axis=1)
    more = np.concatenate([follows, np.zeros((len(values), 1), bool)], axis=1)
    septets = (groups & np.uint64(0x7F)) | (more.astype(np.uint64) << np.uint64(7))
    return bytes(septets[used].astype(np.uint8).tobytes())


def _unpack(raw: bytes) -> npt.NDArray[np.uint64]:
    stream = np.frombuffer(raw, dtype=np.uint8)
    ends = np.flatnonzero(stream < 0x80)
    if not len(stream) or stream[-1] >= 0x80:
        raise _malformed("an integer is cut")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_VARINT_BYTES:
        raise _malformed("an integer is too long")
    values = np.zeros(len(ends), dtype=np.uint64)
    for number in range(int(lengths.max())):
        longer = lengths > number
        values[longer] |= (stream[starts[longer] + number] & np.uint64(0x7F)).astype(np.uint64) << np.uint64(7 * number)
    return values
