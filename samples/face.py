"""What a drawn person's head is like, as plain data, and where its parts go.

Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samples.body import Body, Rng
from samples.canvas import Colour, Fabric, Points, ellipse
from samples.outfit import COLOURS, draw_fabric

SKINS: tuple[Colour, ...] = (
    (236, 196, 170),
    (230, 186, 154),
    (222, 172, 136),
    (204, 150, 112),
    (182, 128, 92),
    (156, 106, 76),
    (128, 86, 64),
    (102, 68, 52),
)


_HAIRS: tuple[Colour, ...] = (
    (34, 30, 32),
    (58, 42, 36),
    (92, 62, 44),
    (132, 92, 58),
    (196, 158, 100),
    (226, 200, 150),
    (160, 76, 44),
    (158, 156, 158),
    (222, 220, 218),
    (140, 70, 110),
    (70, 100, 150),
)


_HAIR_ODDS = (0.2, 0.17, 0.17, 0.12, 0.08, 0.07, 0.06, 0.05, 0.03, 0.03, 0.02)


STYLES = ("short", "side", "bob", "long", "wavy", "ponytail", "bun", "curly", "braids", "bald", "pixie")


@dataclass(frozen=True)
class Face:
    """What stays the same about a person's head through a shoot."""

    skin: Colour
    hair: Colour
    style: str
    fringe: float
    beard: bool
    glasses: bool
    smile: float
    lips: float


def draw_face(rng: Rng) -> Face:
    """Draw skin, hair and features."""
    style = STYLES[int(rng.choice(len(STYLES), p=[0.16, 0.12, 0.11, 0.13, 0.1, 0.1, 0.08, 0.09, 0.04, 0.03, 0.04]))]
    return Face(
        skin=SKINS[int(rng.integers(len(SKINS)))],
        hair=_HAIRS[int(rng.choice(len(_HAIRS), p=_HAIR_ODDS))],
        style=style,
        fringe=float(rng.uniform(-1, 1)),
        beard=bool(style in ("short", "side", "bald") and rng.random() < 0.4),
        glasses=bool(rng.random() < 0.17),
        smile=float(rng.uniform(0.0, 1.0)),
        lips=float(rng.uniform(0.1, 0.8)),
    )


@dataclass(frozen=True)
class Hat:
    """A hat and its colours."""

    kind: str  # none | cap | beanie | sun hat | fedora | scarf
    fabric: Fabric
    band: Colour


def draw_hat(rng: Rng) -> Hat:
    """Draw a hat, mostly none."""
    kind = str(
        rng.choice(["none", "cap", "beanie", "sun hat", "fedora", "scarf"], p=[0.64, 0.1, 0.08, 0.07, 0.05, 0.06])
    )
    return Hat(kind, draw_fabric(rng), COLOURS[int(rng.integers(len(COLOURS)))])


class Frame:
    """Maps head coordinates (x, y in radii, y down, chin at 1) to figure units."""

    def __init__(self, body: Body) -> None:
        self.centre, self.rx, self.ry = body.head, body.head_rx, body.head_ry
        self.tilt, self.turn, self.back = body.pose.head_tilt, body.pose.turn, body.pose.back
        self.shift = 0.62 * float(np.sin(self.turn))

    def at(self, points: list[tuple[float, float]] | Points) -> Points:
        """Return head coordinates as figure units."""
        local = np.asarray(points, np.float64) * [self.rx, self.ry]
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        turned = [local[:, 0] * c - local[:, 1] * s, local[:, 0] * s + local[:, 1] * c]
        return np.asarray(np.column_stack(turned) + self.centre, np.float64)

    def oval(self, x: float, y: float, rx: float, ry: float) -> Points:
        """Return an ellipse given in head radii."""
        return self.at(ellipse(np.array([x, y]), rx, ry, steps=24))
