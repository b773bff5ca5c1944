"""The flat brush of the drawn backgrounds: polygons, gradients, noise, varied colours.

Reads and writes nothing; paints into (h, w, 3) uint8 RGB in place, coordinates in pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Colour = tuple[float, float, float]


def gradient(picture: Pixels, y0: int, y1: int, top: Colour, bottom: Colour) -> None:
    """Fill rows y0 to y1 from one colour to another."""
    t = np.linspace(0, 1, max(1, y1 - y0))[:, None, None]
    picture[y0:y1] = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)


def speckle(picture: Pixels, rng: Rng, y0: int, y1: int, strength: float, cell: int) -> None:
    """Roughen rows y0 to y1 with soft noise."""
    height, width = y1 - y0, picture.shape[1]
    small = rng.normal(0, strength, (height // cell + 2, width // cell + 2)).astype(np.float32)
    fine = rng.normal(0, 0.5 * strength, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    noise = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) + cv2.resize(fine, (width, height))
    picture[y0:y1] = np.clip(picture[y0:y1] + noise[..., None], 0, 255).astype(np.uint8)


def poly(picture: Pixels, points: list[tuple[float, float]], colour: Colour) -> None:
    """Fill a polygon."""
    cv2.fillPoly(picture, [np.round(np.array(points) * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def box(picture: Pixels, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    """Fill a rectangle."""
    poly(picture, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)


def vary(rng: Rng, colour: Colour, spread: float) -> Colour:
    """Return a colour near the given one."""
    r, g, b = np.clip(np.array(colour) * rng.uniform(1 - spread, 1 + spread) + rng.normal(0, 60 * spread, 3), 0, 255)
    return float(r), float(g), float(b)
