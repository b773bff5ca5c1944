"""Pictures as nobody wishes for and every service gets: turned by EXIF, CMYK, 16 bits, transparent, tiny, a thin line.

Reads and writes nothing: they are drawn from a seed, encoded as files, and brought in through `silhouette.imaging` as
serving brings a picture in, so parity is also measured where pixels are at their strangest.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from silhouette.imaging import crop_square, open_picture

Pixels = npt.NDArray[np.uint8]
_ORIENTATION = 0x0112  # EXIF


def odd_files(count: int, *, seed: int) -> list[tuple[str, bytes]]:
    """Draw and encode `count` odd pictures, kinds in turn; the same seed gives the same.

    Returns:
        (kind, file bytes) of each.
    """
    random = np.random.default_rng(seed)
    kinds = list(_KINDS)
    return [(kind, _KINDS[kind](random)) for kind in (kinds[number % len(kinds)] for number in range(count))]


def odd_crops(count: int, *, size: int, seed: int) -> Pixels:
    """Return `count` odd pictures as crops: each whole, in the square around it.

    Returns:
        uint8 [count, size, size, 3].
    """
    crops = np.empty((count, size, size, 3), np.uint8)
    for crop, (_, data) in zip(crops, odd_files(count, seed=seed), strict=True):
        opened = open_picture(data)
        height, width = opened.pixels.shape[:2]
        crop[:] = crop_square(opened.pixels, (0, 0, width, height), size=size, margin=0.03)
    return crops


def _scene(random: np.random.Generator, *, width: int, height: int) -> Pixels:
    """Draw a slope of colour with discs and grain on it, uint8 RGB [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = (x / max(width, 2) * random.uniform(-1, 1) + y / max(height, 2) * random.uniform(-1, 1))[:, :, None]
    scene = random.uniform(30, 225, 3) + slope * random.uniform(40, 160, 3)
    for _ in range(4):
        inside = np.hypot(x - random.uniform(0, width), y - random.uniform(0, height)) < max(width, height) / 6
        scene[inside] = random.uniform(0, 255, 3)
    return np.asarray(np.clip(scene + random.normal(0, 12, scene.shape), 0, 255), np.uint8)


def _encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def _turned(random: np.random.Generator) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = int(random.integers(2, 9))
    return _encoded(Image.fromarray(_scene(random, width=160, height=110)), "JPEG", quality=88, exif=exif)


def _cmyk(random: np.random.Generator) -> bytes:
    return _encoded(Image.fromarray(_scene(random, width=120, height=150)).convert("CMYK"), "JPEG", quality=90)


def _sixteen_bits(random: np.random.Generator) -> bytes:
    deep = _scene(random, width=96, height=128)[:, :, 0].astype(np.uint16) * 257
    return _encoded(Image.fromarray(deep), "PNG")


def _grey(random: np.random.Generator) -> bytes:
    return _encoded(Image.fromarray(_scene(random, width=130, height=130)).convert("L"), "JPEG", quality=70)


def _transparent(random: np.random.Generator) -> bytes:
    picture = Image.fromarray(_scene(random, width=100, height=140)).convert("RGBA")
    picture.putalpha(Image.fromarray(_scene(random, width=100, height=140)[:, :, 1]))
    return _encoded(picture, "PNG")


def _palette(random: np.random.Generator) -> bytes:
    return _encoded(Image.fromarray(_scene(random, width=90, height=70)).convert("P"), "GIF")


def _black_and_white(random: np.random.Generator) -> bytes:
    return _encoded(Image.fromarray(_scene(random, width=80, height=120)).convert("1"), "PNG")


def _tiny(random: np.random.Generator) -> bytes:
    width, height = (int(side) for side in random.integers(1, 9, 2))
    return _encoded(Image.fromarray(_scene(random, width=width, height=height)), "PNG")


def _thin_line(random: np.random.Generator) -> bytes:
    sides = (int(random.integers(600, 1500)), int(random.integers(1, 8)))
    width, height = sides if random.random() < 0.5 else sides[::-1]
    return _encoded(Image.fromarray(_scene(random, width=width, height=height)), "PNG")


def _harsh(random: np.random.Generator) -> bytes:
    """Squares of the purest colours side by side: the largest steps that pixels can make."""
    squares = random.integers(0, 2, (16, 16, 3)).astype(np.uint8) * np.uint8(255)
    return _encoded(Image.fromarray(squares.repeat(int(random.integers(1, 9)), axis=0).repeat(8, axis=1)), "PNG")


_KINDS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "turned by EXIF": _turned,
    "CMYK": _cmyk,
    "16 bits": _sixteen_bits,
    "grey": _grey,
    "transparent": _transparent,
    "palette": _palette,
    "black and white": _black_and_white,
    "tiny": _tiny,
    "thin line": _thin_line,
    "harsh": _harsh,
}
