"""The background of a shoot: drawn (street, park, room, beach, studio) or made of photographs.

Reads and writes nothing itself. A scene is (h, w, 3) uint8 RGB and the row of its horizon (where the floor begins).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samples.backdrop import Pixels, Rng
from samples.indoors import room, studio
from samples.outdoors import beach, park, street
from samples.photographs import printed_backdrop, textured_wall

SCENES = ("street", "park", "room", "beach", "studio", "wall", "backdrop")


_ODDS = (0.19, 0.18, 0.17, 0.13, 0.06, 0.15, 0.12)


@dataclass(frozen=True)
class Scene:
    """A background and where its floor begins."""

    rgb: Pixels
    horizon: int


def draw_scene(rng: Rng, *, width: int, height: int) -> Scene:
    """Draw a scene of any kind."""
    kind = SCENES[int(rng.choice(len(SCENES), p=_ODDS))]
    horizon = int(height * rng.uniform(0.46, 0.60))
    if kind == "wall":
        rgb = textured_wall(rng, width=width, height=height, horizon=int(0.66 * height))
        return Scene(_soften(rgb, rng, 0.0, 1.5), int(0.66 * height))
    if kind == "backdrop":
        horizon = int(0.7 * height)
        return Scene(printed_backdrop(rng, width=width, height=height, horizon=horizon), horizon)
    draw = {"street": street, "park": park, "room": room, "beach": beach, "studio": studio}[kind]
    if kind in ("room", "studio"):
        horizon = int(0.68 * height)
    picture = np.zeros((height, width, 3), np.uint8)
    draw(picture, rng, horizon)
    return Scene(_soften(picture, rng, 0.5, 2.8), horizon)


def _soften(picture: Pixels, rng: Rng, low: float, high: float) -> Pixels:
    sigma = float(rng.uniform(low, high))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.3 else picture, np.uint8)
