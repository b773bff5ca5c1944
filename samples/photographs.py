"""Backgrounds made of photographs that scikit-image carries: textured walls and floors, and printed backdrops.

Reads the PNG and JPEG files inside the installed package `skimage/data` (no download; only files in the public domain
or under CC0, listed in README.md); writes nothing.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rng = np.random.Generator
Pixels = NDArray[np.uint8]

TEXTURES = ("brick.png", "grass.png", "gravel.png")
BACKDROPS = ("coffee.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg")
_WALLS = ((196, 120, 92), (214, 196, 172), (164, 168, 176), (232, 226, 216), (150, 104, 92), (122, 140, 150))
_FLOORS = {
    "grass.png": ((104, 140, 70), (126, 150, 84), (150, 150, 90)),
    "gravel.png": ((176, 168, 156), (150, 150, 154), (196, 178, 148)),
}


@cache
def photograph(name: str) -> Pixels:
    """Return one of the package's photographs as (h, w, 3) uint8 RGB.

    Raises:
        FileNotFoundError: scikit-image is not installed or no longer carries the file.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the sample group needs scikit-image's photographs; install the extra: silhouette[local]"
        )
    path = Path(spec.origin).parent / "data" / name
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def textured_wall(rng: Rng, *, width: int, height: int, horizon: int) -> Pixels:
    """Return a tinted brick wall over a lawn or gravel floor in perspective."""
    wall = _tint(photograph("brick.png"), _WALLS[int(rng.integers(len(_WALLS)))])
    wall = np.rot90(wall)
    wall = _cover(wall, width, horizon, rng, zoom=float(rng.uniform(1.0, 1.5)))
    name = "grass.png" if rng.random() < 0.45 else "gravel.png"
    floor = _floor(_tint(photograph(name), _FLOORS[name][int(rng.integers(3))]), width, height - horizon)
    scene = np.vstack([wall, floor])
    edge = np.clip(1 - np.abs(np.arange(height) - horizon) / 26, 0, 1)[:, None, None] * 0.38
    light = np.linspace(1.12, 0.86, width) if rng.random() < 0.5 else np.linspace(0.86, 1.12, width)
    return np.clip(scene * (1 - edge) * light[None, :, None], 0, 255).astype(np.uint8)


def printed_backdrop(rng: Rng, *, width: int, height: int, horizon: int) -> Pixels:
    """Return a photograph as a blurred, recoloured backdrop that runs out into a plain floor."""
    picture = photograph(BACKDROPS[int(rng.integers(len(BACKDROPS)))])
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    gain = rng.uniform(0.75, 1.2, 3)
    recoloured = np.clip(picture * gain + rng.uniform(0, 26), 0, 255).astype(np.uint8)
    back = _cover(recoloured, width, height, rng, zoom=float(rng.uniform(1.0, 1.4)))
    back = cv2.GaussianBlur(back, (0, 0), float(rng.uniform(1.2, 7.0)))
    floor = back[int(0.6 * height) :].reshape(-1, 3).mean(0) * 0.6 + np.array([92.0, 90.0, 88.0])
    t = np.clip((np.arange(height) - horizon) / (0.16 * height), 0, 1)[:, None, None]
    shade = np.linspace(1.0, 1.16, height)[:, None, None]
    return np.asarray(np.clip(back * (1 - t) + floor * shade * t, 0, 255), np.uint8)


def _tint(grey: Pixels, colour: tuple[float, float, float]) -> Pixels:
    level = grey.astype(np.float32) / max(1.0, float(grey.mean()))
    return np.asarray(np.clip((0.35 + 0.65 * level) * np.array(colour, np.float32), 0, 255), np.uint8)


def _cover(picture: Pixels, width: int, height: int, rng: Rng, *, zoom: float) -> Pixels:
    scale = zoom * max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    x, y = int(rng.integers(size[0] - width + 1)), int(rng.integers(size[1] - height + 1))
    return np.asarray(large[y : y + height, x : x + width], np.uint8)


def _floor(texture: Pixels, width: int, height: int) -> Pixels:
    tiled = np.tile(texture, (1, 3, 1))
    h, w = tiled.shape[:2]
    source = np.array([[0.20 * w, 0], [0.80 * w, 0], [0.62 * w, h], [0.38 * w, h]], np.float32)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    return np.asarray(cv2.warpPerspective(tiled, matrix, (width, height), flags=cv2.INTER_AREA), np.uint8)
