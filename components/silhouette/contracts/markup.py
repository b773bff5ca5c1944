"""What markers get and hand back: the files' names, and PNG masks with a number for every person.

    export_name, parse_name     which segmentation a file shows, and which of its revisions
    to_index_map                people -> numbers by pixel, and the pixels that several people share
    write_png, read_png         numbers <-> PNG
    trace_person                a person's pixels -> contours

A name is all that every tool gives back as it was, so it says what the marker saw:
``<key>_s<segmentation>_r<revision>``. In a PNG, 0 is nobody and n is the n-th person of the segmentation. A pixel has
one number: the smaller person (by pixels; of equal ones the later) lies above the larger, so that nobody is hidden
whole; `IndexMap.shared` says where that took a pixel from somebody. Up to 255 people are 8 bits with a palette, more
are 16 bits.
"""

from __future__ import annotations

import colorsys
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import Contours, from_mask, to_cropped_mask
from silhouette.errors import InputError
from silhouette.names import safe_key

MASKS, OVERLAYS, PICTURES = "masks", "overlays", "images"  # folders of an export
INSTANCES_NAME = "annotations/instances_default.json"
LABEL_STUDIO_NAME = "annotations/label_studio.json"
TABLE_NAME = "pictures.csv"
LAYOUT_NAME = "layout.json"
CATEGORY_ID, CATEGORY = 1, "person"
MOST_PEOPLE = 1000  # on one picture that is read; of more, somebody painted noise
_PALETTE_PEOPLE = 255
_NAME = re.compile(r"(?:.*[/\\])?([^/\\]*[a-z0-9])_s(\d{1,19})_r(\d{1,9})\.[A-Za-z0-9]{1,8}", re.ASCII | re.DOTALL)
_MOST_SEGMENTATIONS = (1 << 63) - 1  # PostgreSQL's bigint
_UNKNOWN = 1 << 17  # in place of a number: a colour that stands for nobody
_GOLDEN_TURN = 0.381966  # of the colour wheel: neighbours in number are far apart in hue

Numbers = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def store_prefix(group: str) -> str:
    """Return where the store has a group's export, without a slash at the end."""
    return f"markup/masks/{safe_key(group)}"


def export_name(*, picture_id: str, segmentation_id: int, revision: int) -> str:
    """Return the name of a picture's files, without folder and ending."""
    return f"{safe_key(picture_id)}_s{segmentation_id}_r{revision}"


@dataclass(frozen=True, kw_only=True)
class ReturnedName:
    """What a file name says: the segmentation and its revision; `front` ends with the picture's key."""

    front: str
    segmentation_id: int
    revision: int

    def is_of(self, picture_id: str) -> bool:
        """Tell whether the picture is meant; Label Studio puts eight letters and a hyphen before an uploaded file."""
        before = self.front.removesuffix(key := safe_key(picture_id))
        return self.front.endswith(key) and not re.search(r"[A-Za-z0-9_]$", before)


def parse_name(file_name: str) -> ReturnedName | None:
    """Return what a file name, with its ending and whatever folders or address before it, says; None: nothing."""
    found = _NAME.fullmatch(file_name)
    if not found or int(found[2]) > _MOST_SEGMENTATIONS:
        return None
    return ReturnedName(front=found[1], segmentation_id=int(found[2]), revision=int(found[3]))


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexMap:
    """A picture's people as numbers.

    Attributes:
        numbers: uint8, or uint16 for more than 255 people, [height, width]; 0 is nobody.
        shared: Pixels that belong to two people or more, as contours.
        shared_pixels: How many.
    """

    numbers: Numbers
    shared: Contours
    shared_pixels: int


def to_index_map(people: Sequence[Contours], *, width: int, height: int) -> IndexMap:
    """Paint people over one another, the larger below.

    Raises:
        InputError: A person does not lie on the picture, or there are more than 16 bits can number.
    """
    numbers = np.zeros((height, width), np.uint8 if len(people) <= _PALETTE_PEOPLE else np.uint16)
    if len(people) > np.iinfo(np.uint16).max:
        raise InputError(f"a picture must have at most 65535 people to be numbered, it has {len(people)}")
    drawn = [to_cropped_mask(contours) for contours in people]
    sizes = [int(np.count_nonzero(mask)) for mask, _ in drawn]
    twice = np.zeros((height, width), np.bool_)
    for index in sorted(range(len(people)), key=lambda one: (-sizes[one], one)):
        mask, (left, top) = drawn[index]
        bottom, right = top + mask.shape[0], left + mask.shape[1]
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InputError(
                f"person {index + 1} must lie on the picture of {width}x{height}, got the box {left},{top} to"
                f" {right},{bottom}; segment the picture again"
            )
        window, inside = numbers[top:bottom, left:right], mask > 0
        twice[top:bottom, left:right] |= inside & (window > 0)
        window[inside] = index + 1
    return IndexMap(
        numbers=numbers, shared=from_mask(twice.astype(np.uint8)), shared_pixels=int(np.count_nonzero(twice))
    )


@cache
def palette() -> npt.NDArray[np.uint8]:
    """Return the colours of the numbers, uint8 [256, 3]: black, then 255 different ones."""
    colours = [(0, 0, 0)]
    for number in range(_PALETTE_PEOPLE):
        lightness, saturation = (0.55, 0.42, 0.68)[number % 3], (0.9, 0.75)[number // 3 % 2]
        red, green, blue = colorsys.hls_to_rgb(0.58 + number * _GOLDEN_TURN, lightness, saturation)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(colours, dtype=np.uint8)


def write_png(numbers: Numbers) -> bytes:
    """Write numbers as PNG: 8 bits with `palette`, or 16 bits."""
    from PIL import Image

    stream = io.BytesIO()
    picture = Image.fromarray(numbers)
    if numbers.dtype == np.uint8:
        picture.putpalette(palette().tobytes())
    picture.save(stream, "PNG")
    return stream.getvalue()


def read_png(data: bytes, *, width: int, height: int) -> npt.NDArray[np.uint16]:
    """Read numbers from a PNG, whatever a picture editor made of its palette.

    Grey values are numbers; colours are those of `palette`, as such or by another palette.

    Args:
        data: The file's bytes.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Returns:
        uint16 [height, width].

    Raises:
        InputError: It is no PNG, is damaged, has another size, a colour that stands for nobody, or too many people.
    """
    from PIL import PngImagePlugin  # the plugin itself: ultralytics replaces Image.open

    try:
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
        if picture.size != (width, height):  # before a pixel is decoded
            raise InputError(
                f"a mask must have the picture's size of {width}x{height}, got {picture.size[0]}x{picture.size[1]};"
                " do not scale it"
            )
        mode = picture.mode
        pixels = np.asarray(picture if mode in ("P", "L", "I;16", "I") else picture.convert("RGB"))
        colours = np.asarray(picture.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever its parser stumbles over
        raise InputError(
            f"a mask must be a PNG that can be opened, got {type(error).__name__}: {error}; save it again"
        ) from None
    if mode in ("L", "I;16", "I"):
        numbers = pixels
    elif mode == "P":
        numbers = _by_colour(colours)[pixels] if len(colours) <= 256 else pixels
    else:
        wide = pixels.astype(np.int32)
        packed, inverse = np.unique(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], return_inverse=True)
        few = packed if len(packed) <= 256 else packed[:0]
        if not len(few):
            raise InputError(f"a mask must have the colours of its people only, got {len(packed)}; paint without blur")
        numbers = _by_colour(np.stack([few >> 16 & 255, few >> 8 & 255, few & 255], axis=1))[inverse]
    return _checked(numbers.reshape(height, width))


def trace_person(seen: npt.NDArray[np.bool_]) -> Contours:
    """Return a person's contours from its pixels, bool [height, width], one of them at least set."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    window = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return from_mask(window.astype(np.uint8), offset_xy=(int(columns[0]), int(rows[0])))


def _by_colour(colours: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return the number that each colour [n, 3] stands for, filled up to 256 with `_UNKNOWN`."""
    known = {tuple(colour): number for number, colour in enumerate(palette().tolist())}
    numbers = [known.get(tuple(colour), _UNKNOWN) for colour in colours.tolist()]
    return np.array(numbers + [_UNKNOWN] * (256 - len(numbers)), dtype=np.int32)


def _checked(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    highest = int(numbers.max(initial=0))
    if highest == _UNKNOWN:
        raise InputError("a mask must have the colours of the export, it has others; paint with colours that are there")
    if highest > np.iinfo(np.uint16).max or numbers.min(initial=0) < 0:
        raise InputError(f"a mask must have numbers from 0 to 65535, got {highest}; save it with 8 or 16 bits")
    people = int(np.count_nonzero(np.bincount(numbers.ravel(), minlength=1)[1:]))
    if people > MOST_PEOPLE:
        raise InputError(f"a mask must have at most {MOST_PEOPLE} people, got {people}; paint without blur")
    return numbers.astype(np.uint16)
