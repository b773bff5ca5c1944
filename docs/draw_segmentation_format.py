"""Draw segmentation_format.svg: a person on a grid of pixels, its rings, and the bytes that they become.

    python docs/draw_segmentation_format.py

The bytes are those of `silhouette.contracts.contours.encode`; a test draws again and compares.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from silhouette.contracts import contours

FILE = Path(__file__).with_name("segmentation_format.svg")

# one hand on the hip, and a bench before the knees
PICTURE = [
    "..............",
    ".....####.....",
    ".....####.....",
    ".....####.....",
    "......##......",
    "...########...",
    "..##########..",
    "..##..####.##.",
    "..##..####..#.",
    "..###.####....",
    "...#######....",
    "....######....",
    "..............",
    ".....#####....",
    ".....##.##....",
    "....###.###...",
]

_CELL = 27  # pixels of the drawing a pixel of the picture
_LEFT, _TOP = 58, 92
_BYTE = 46  # width of a byte's cell
_BYTE_ROW = 66
_BYTES_A_ROW = 16
_WIDTH = 860
_INK, _SOFT, _LINE, _PERSON = "#1b2530", "#5d6b79", "#d5dce3", "#e9eef3"
_RINGS = ("#0072b2", "#c2500a", "#00795a", "#9a4b86")  # told apart by the colour-blind as well
_HEAD = "#44515e"
_WORDS = (
    ("Part", ("An outer ring and its holes. This person has two:", "something stands before the knees.")),
    ("Hole", ("Its ring, too, runs on the person's own pixels;", "its parent is the outer ring of the part.")),
    (
        "Direction",
        ("The filled circle is point 0; numbers go on around", "the ring, and the last point joins the first."),
    ),
    (
        "Even-odd",
        (
            "Fill all rings at once: a pixel on a ring belongs;",
            "any other does when a ray from it to the",
            "outside crosses rings an odd number of times.",
        ),
    ),
)


def picture() -> npt.NDArray[np.uint8]:
    """Return the drawn person's mask: uint8 [height, width], 0 or 255."""
    return np.array([[255 if sign == "#" else 0 for sign in line] for line in PICTURE], dtype=np.uint8)


def raw_bytes(person: contours.Contours) -> bytes:
    """Return what is inside the zlib stream."""
    return zlib.decompress(contours.encode(person)[1:])


def draw() -> str:
    """Return the drawing as SVG text."""
    mask = picture()
    person = contours.from_mask(mask)
    bytes_top = _TOP + len(PICTURE) * _CELL + 106
    cells = list(_described(person))
    height = bytes_top + -(-len(cells) // _BYTES_A_ROW) * _BYTE_ROW + 30
    fonts = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"',
        f'role="img" aria-labelledby="title about" font-family="{fonts}">',
        '<title id="title">A person as rings, and the rings as bytes</title>',
        '<desc id="about">A person of two parts, one with a hole, on a grid of pixels. Rings of numbered points run',
        "through the centres of the outermost pixels. Below, every byte with its meaning.</desc>",
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="10" fill="#fff" stroke="{_LINE}"/>',
        *_grid(mask),
        *(line for number, ring in enumerate(person.rings) for line in _ring(ring, _RINGS[number])),
        *_legend(person),
        *_bytes(cells, bytes_top),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, words: str, *, size: float = 13, colour: str = _INK, **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{extra}>{escape(words)}</text>'


def _mono(x: float, y: float, words: str, **more: str) -> str:
    family = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
    return _text(x, y, words, font_family=family, **more)  # type: ignore[arg-type]


def _centre(x: int, y: int) -> tuple[float, float]:
    return _LEFT + (x + 0.5) * _CELL, _TOP + (y + 0.5) * _CELL


def _grid(mask: npt.NDArray[np.uint8]) -> Iterator[str]:
    rows, columns = mask.shape
    yield _text(28, 38, "1  The mask and its rings", size=16, font_weight="600")
    yield _text(28, 58, "points are centres of pixels", size=12.5, colour=_SOFT)
    for y, x in np.argwhere(mask).tolist():
        yield (
            f'<rect x="{_LEFT + x * _CELL}" y="{_TOP + y * _CELL}" width="{_CELL}" height="{_CELL}" fill="{_PERSON}"/>'
        )
    right, bottom = _LEFT + columns * _CELL, _TOP + rows * _CELL
    upright = "".join(f"M{_LEFT + x * _CELL} {_TOP}V{bottom}" for x in range(columns + 1))
    level = "".join(f"M{_LEFT} {_TOP + y * _CELL}H{right}" for y in range(rows + 1))
    yield f'<path d="{upright}{level}" stroke="{_LINE}" fill="none"/>'
    for x in range(columns):
        yield _text(_centre(x, 0)[0], _TOP - 8, str(x), size=10.5, colour=_SOFT, text_anchor="middle")
    for y in range(rows):
        yield _text(_LEFT - 8, _centre(0, y)[1] + 4, str(y), size=10.5, colour=_SOFT, text_anchor="end")
    yield _text(right + 6, _TOP - 8, "x", size=11, colour=_SOFT, font_style="italic")
    yield _text(_LEFT - 12, bottom + 14, "y", size=11, colour=_SOFT, font_style="italic")


def _ring(ring: npt.NDArray[np.int32], colour: str) -> Iterator[str]:
    places = [_centre(x, y) for x, y in ring.tolist()]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places) + "Z"
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>'
    for number, (x, y) in enumerate(places):
        fill, ink = (colour, "#fff") if number == 0 else ("#fff", colour)
        yield f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
        yield _text(x, y + 3.6, str(number), size=10, colour=ink, text_anchor="middle", font_weight="600")


def _legend(person: contours.Contours) -> Iterator[str]:
    left, top = _LEFT + len(PICTURE[0]) * _CELL + 56, 38
    yield _text(left, top, "2  What is kept", size=16, font_weight="600")
    columns = (left + 26, left + 92, left + 196, left + 268)
    for x, words in zip(columns, ("ring", "what", "parent", "points"), strict=True):
        yield _text(x, top + 38, words, size=12.5, colour=_SOFT)
    yield f'<path d="M{left} {top + 48}H{left + 330}" stroke="{_LINE}"/>'
    y = top + 72
    for number, (ring, parent) in enumerate(zip(person.rings, person.parents, strict=True)):
        yield f'<rect x="{left}" y="{y - 11}" width="14" height="14" rx="3" fill="{_RINGS[number]}"/>'
        what = "outer ring" if parent < 0 else f"hole in {parent}"
        for x, words in zip(columns, (str(number), what, str(parent).replace("-", "−"), str(len(ring))), strict=True):
            yield _text(x, y, words, size=14, font_weight="600" if x == columns[0] else "400")
        y += 28
    yield f'<path d="M{left} {y - 10}H{left + 330}" stroke="{_LINE}"/>'
    y += 22
    for heading, lines in _WORDS:
        yield _text(left, y, heading, size=13, font_weight="600")
        for line in lines:
            y += 18
            yield _text(left, y, line, size=12.5, colour=_HEAD)
        y += 28


def _described(person: contours.Contours) -> Iterator[tuple[int, str, str, str]]:
    """Yield every byte of the stream with what it means, its colour, and the group that it begins or ''."""
    stream = iter(raw_bytes(person))  # every number of this small person is one byte
    yield next(stream), str(len(person.rings)), _HEAD, "rings"
    for number, parent in enumerate(person.parents):
        yield next(stream), f"{parent + 1}−1", _RINGS[number], "" if number else "parents"
    for number, ring in enumerate(person.rings):
        yield next(stream), str(len(ring)), _RINGS[number], "" if number else "points"
    for number, ring in enumerate(person.rings):
        for index in range(len(ring)):
            for axis in "xy":
                value = next(stream)
                difference = (value >> 1) ^ -(value & 1)
                signed = f"{difference:+d}".replace("-", "−").replace("+0", "0")
                group = f"ring {number}" if index == 0 and axis == "x" else ""
                yield value, f"{axis} {signed}", _RINGS[number], group


def _bytes(cells: Iterable[tuple[int, str, str, str]], top: int) -> Iterator[str]:
    cells = list(cells)
    yield _text(28, top - 42, "3  The bytes inside the zlib stream", size=16, font_weight="600")
    reading = "left: offset · above: what begins · in a cell: the byte, hexadecimal, and what it says"
    yield _text(28, top - 22, reading, size=12.5, colour=_SOFT)
    yield _text(
        _WIDTH - 58,
        top - 42,
        f"kept: 01, then zlib of these {len(cells)} bytes",
        text_anchor="end",
        size=12.5,
        colour=_HEAD,
    )
    for place, (value, meaning, colour, group) in enumerate(cells):
        row, column = divmod(place, _BYTES_A_ROW)
        x, y = _LEFT + 12 + column * _BYTE, top + row * _BYTE_ROW + 8
        if column == 0:
            yield _mono(_LEFT, y + 22, f"{place:04x}", text_anchor="end", colour=_SOFT)
        if group:
            yield _text(
                x + 1, y - 4, group, size=11, colour=colour if group[-1].isdigit() else _HEAD, font_weight="600"
            )
        yield f'<rect x="{x}" y="{y}" width="{_BYTE - 4}" height="46" rx="4" fill="{colour}" fill-opacity="0.09"/>'
        yield f'<rect x="{x}" y="{y}" width="{_BYTE - 4}" height="3" rx="1.5" fill="{colour}"/>'
        middle = x + (_BYTE - 4) / 2
        yield _mono(middle, y + 22, f"{value:02x}", text_anchor="middle", colour=_INK)
        yield _text(middle, y + 39, meaning, size=11.5, colour=_HEAD, text_anchor="middle")


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
