"""What a person wears, as plain data drawn from a seed; everything but the garment's cut is independent of the class.

Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samples.body import Rng
from samples.canvas import Colour, Fabric

CLASSES = ("dress", "skirt", "trousers", "shorts")


# No colour of cloth is near a colour of skin: nobody here shall look undressed.
COLOURS: tuple[Colour, ...] = (
    (232, 232, 230),
    (40, 42, 50),
    (46, 62, 104),
    (88, 124, 176),
    (150, 186, 214),
    (176, 42, 56),
    (226, 84, 62),
    (240, 190, 60),
    (244, 226, 120),
    (84, 120, 84),
    (134, 160, 96),
    (46, 96, 98),
    (88, 72, 110),
    (110, 170, 140),
    (138, 88, 138),
    (190, 140, 200),
    (226, 110, 150),
    (120, 124, 132),
    (178, 184, 190),
    (110, 30, 60),
    (70, 150, 160),
)


_PATTERNS = ("plain",) * 11 + ("stripes", "stripes", "pinstripes", "dots", "check", "flowers", "flowers", "fade")


@dataclass(frozen=True)
class Outfit:
    """What one person wears."""

    label: str
    top: Fabric
    bottom: Fabric
    coat_fabric: Fabric
    hem: float  # where the lower garment ends on the leg: 0 hip, 1 ankle
    cut: str  # slim | straight | wide
    pleats: int
    sleeve: float  # 0 none .. 1 wrist
    neckline: str  # round | v | collar | high
    tucked: bool
    top_hem: float  # how far an untucked top reaches below the pelvis, in heights
    belt: Colour | None
    coat: str  # none | jacket | open | closed
    coat_hem: float  # as hem
    tights: Colour | None
    shoes: str  # sneakers | flats | ankle boots | tall boots | sandals
    shoe_colour: Colour
    bag: str  # none | shoulder | hand | front | backpack
    bag_colour: Colour
    bag_side: int


def draw_fabric(rng: Rng) -> Fabric:
    """Draw a cloth of any colour and pattern."""
    first, second = rng.choice(len(COLOURS), 2, replace=False)
    jitter = rng.normal(0, 7, 3)
    colour = tuple(float(np.clip(c + j, 12, 245)) for c, j in zip(COLOURS[first], jitter, strict=True))
    return Fabric(
        colour=(colour[0], colour[1], colour[2]),
        second=COLOURS[second],
        pattern=_PATTERNS[int(rng.integers(len(_PATTERNS)))],
        size=float(rng.uniform(0.022, 0.05)),
        angle=float(rng.choice([0, 0, 0, np.pi / 2, 0.6])),
    )


def draw_outfit(rng: Rng, label: str) -> Outfit:
    """Draw an outfit of the class `label`; everything but the garment's own cut is independent of the class."""
    cut = str(rng.choice(["slim", "straight", "wide"]))
    long_coat = rng.random() < 0.08
    coat = (
        str(rng.choice(["open", "closed"], p=[0.6, 0.4]))
        if long_coat
        else ("jacket" if rng.random() < 0.11 else "none")
    )
    hems = {"dress": (0.24, 0.92), "skirt": (0.24, 0.92), "trousers": (0.90, 1.0), "shorts": (0.16, 0.50)}
    low, high = hems[label]
    hem = float(rng.uniform(low, high))
    if label == "trousers" and rng.random() < 0.12:
        hem = float(rng.uniform(0.62, 0.88))
    top, bottom, belt = draw_fabric(rng), draw_fabric(rng), COLOURS[int(rng.integers(len(COLOURS)))]
    while _distance(top.colour, bottom.colour) < 150:  # mostly two colours that can be told apart, whatever the class
        bottom = draw_fabric(rng)
    if rng.random() < 0.05:
        bottom = top
    tucked = rng.random() < (0.72 if label != "dress" else 1.0)
    return Outfit(
        label=label,
        top=top,
        bottom=top if label == "dress" and rng.random() < 0.97 else bottom,
        coat_fabric=draw_fabric(rng),
        hem=hem,
        cut=cut,
        pleats=int(rng.integers(4, 10)),
        sleeve=float(rng.choice([0.0, 0.25, 0.38, 0.62, 0.97], p=[0.16, 0.24, 0.2, 0.12, 0.28])),
        neckline=str(rng.choice(["round", "v", "collar", "high"])),
        tucked=tucked,
        top_hem=float(rng.uniform(0.005, 0.075)),
        belt=belt if rng.random() < 0.3 else None,
        coat=coat,
        coat_hem=float(rng.uniform(0.35, 0.80)),
        tights=COLOURS[int(rng.choice([1, 2, 12, 17, 11]))] if rng.random() < 0.10 else None,
        shoes=str(
            rng.choice(["sneakers", "flats", "ankle boots", "tall boots", "sandals"], p=[0.34, 0.22, 0.2, 0.1, 0.14])
        ),
        shoe_colour=COLOURS[int(rng.integers(len(COLOURS)))],
        bag=str(rng.choice(["none", "shoulder", "hand", "front", "backpack"], p=[0.66, 0.14, 0.11, 0.03, 0.06])),
        bag_colour=COLOURS[int(rng.integers(len(COLOURS)))],
        bag_side=int(rng.integers(2)),
    )


def _distance(first: Colour, second: Colour) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True))
