"""Drawn backgrounds under the sky: street, park, beach.

Reads and writes nothing; each paints over a whole (h, w, 3) uint8 RGB picture with its floor from `horizon` down.
"""

from __future__ import annotations

import cv2
import numpy as np

from samples.backdrop import Colour, Pixels, Rng, box, gradient, poly, speckle, vary

_HOUSES: tuple[Colour, ...] = (
    (206, 150, 120),
    (222, 200, 164),
    (176, 190, 196),
    (190, 120, 104),
    (150, 160, 150),
    (230, 216, 200),
    (140, 130, 150),
    (200, 176, 120),
)


def sky(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint a sky down to the horizon."""
    tops: tuple[tuple[Colour, Colour], ...] = (
        ((112, 168, 222), (206, 226, 238)),
        ((150, 180, 206), (226, 226, 222)),
        ((240, 180, 140), (252, 226, 190)),
        ((84, 120, 180), (236, 196, 176)),
        ((196, 206, 214), (228, 230, 230)),
    )
    top, bottom = tops[int(rng.integers(len(tops)))]
    gradient(picture, 0, horizon, top, bottom)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, picture.shape[1]), rng.uniform(0.05, 0.6) * horizon
        for _ in range(6):
            at = (int(x + rng.normal(0, 38)), int(y + rng.normal(0, 6)))
            cv2.ellipse(
                picture,
                at,
                (int(rng.uniform(20, 52)), int(rng.uniform(7, 15))),
                0,
                0,
                360,
                [(c + 255) / 2 + 6 for c in bottom],
                -1,
                cv2.LINE_AA,
            )


def _tree(picture: Pixels, rng: Rng, x: float, ground: float, size: float, leaf: Colour) -> None:
    poly(
        picture,
        [
            (x - 0.05 * size, ground),
            (x - 0.03 * size, ground - 0.6 * size),
            (x + 0.03 * size, ground - 0.6 * size),
            (x + 0.05 * size, ground),
        ],
        vary(rng, (96, 72, 56), 0.15),
    )
    for k in range(26):
        at = (int(x + rng.normal(0, 0.19) * size), int(ground - size * (0.78 + rng.normal(0, 0.14))))
        shade = 0.72 + 0.45 * k / 26
        cv2.circle(
            picture,
            at,
            int(size * rng.uniform(0.09, 0.17)),
            vary(rng, (leaf[0] * shade, leaf[1] * shade, leaf[2] * shade), 0.06),
            -1,
            cv2.LINE_AA,
        )


def street(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint house fronts, pavement, perhaps a tree, a lamp, a car."""
    height, width = picture.shape[:2]
    sky(picture, rng, horizon)
    x = -rng.uniform(0, 80)
    base = horizon + int(0.08 * height)
    while x < width:
        wide = rng.uniform(0.22, 0.42) * width
        top = rng.uniform(-0.1, 0.45) * horizon
        colour = vary(rng, _HOUSES[int(rng.integers(len(_HOUSES)))], 0.1)
        box(picture, x, top, x + wide, base, colour)
        box(picture, x, top, x + wide, top + 8, vary(rng, (120, 90, 80), 0.1))
        _windows(picture, rng, x, top, wide, base, colour)
        x += wide
    ground = vary(rng, (172, 168, 162), 0.12)
    gradient(picture, base, height, ground, (ground[0] * 0.86, ground[1] * 0.86, ground[2] * 0.86))
    speckle(picture, rng, base, height, 5, 9)
    line = (ground[0] * 0.78, ground[1] * 0.78, ground[2] * 0.78)
    middle = width * rng.uniform(0.2, 0.8)
    for k in range(-12, 13):
        cv2.line(picture, (int(middle + 46 * k), base), (int(middle + 190 * k), height), line, 1, cv2.LINE_AA)
    for k in range(1, 7):
        y = int(base + (height - base) * (k / 7) ** 1.8)
        cv2.line(picture, (0, y), (width, y), line, 1, cv2.LINE_AA)
    if rng.random() < 0.5:
        _tree(
            picture, rng, rng.uniform(0, width), base + 10, rng.uniform(0.5, 0.8) * base, vary(rng, (90, 130, 70), 0.2)
        )
    if rng.random() < 0.6:
        x = rng.uniform(0, width)
        box(picture, x - 3, 0.25 * horizon, x + 3, base + 14, (58, 60, 64))
        cv2.circle(picture, (int(x), int(0.24 * horizon)), 11, (250, 236, 190), -1, cv2.LINE_AA)
    if rng.random() < 0.45:
        _car(picture, rng, rng.uniform(-40, width - 80), base + 6, 0.34 * width)


def _windows(picture: Pixels, rng: Rng, x: float, top: float, wide: float, base: int, wall: Colour) -> None:
    columns, pane = max(2, int(wide / 52)), vary(rng, (110, 140, 160), 0.25)
    step = wide / columns
    y = top + 26
    while y < base - 110:
        for k in range(columns):
            left = x + (k + 0.24) * step
            box(picture, left - 3, y - 3, left + 0.52 * step + 3, y + 47, (wall[0] * 0.8, wall[1] * 0.8, wall[2] * 0.8))
            box(
                picture,
                left,
                y,
                left + 0.52 * step,
                y + 44,
                (246, 216, 150) if rng.random() < 0.15 else vary(rng, pane, 0.1),
            )
            box(picture, left + 0.25 * step, y, left + 0.27 * step, y + 44, (226, 224, 216))
        y += 66
    shop = vary(rng, (70, 80, 90), 0.25)
    box(picture, x + 0.1 * wide, base - 74, x + 0.62 * wide, base - 8, shop)
    box(picture, x + 0.70 * wide, base - 78, x + 0.9 * wide, base, vary(rng, (120, 70, 60), 0.4))
    first = vary(rng, (190, 70, 60), 0.5)
    for k in range(8):
        left = x + (0.07 + 0.0725 * k) * wide
        poly(
            picture,
            [
                (left, base - 82),
                (left + 0.0725 * wide, base - 82),
                (left + 0.0725 * wide + 2, base - 60),
                (left - 2, base - 60),
            ],
            first if k % 2 else (240, 236, 226),
        )


def _car(picture: Pixels, rng: Rng, x: float, ground: float, size: float) -> None:
    colour = vary(rng, (150, 90, 90), 0.6)
    poly(
        picture,
        [
            (x + 0.2 * size, ground - 0.2 * size),
            (x + 0.32 * size, ground - 0.36 * size),
            (x + 0.68 * size, ground - 0.36 * size),
            (x + 0.84 * size, ground - 0.2 * size),
        ],
        (70, 84, 96),
    )
    poly(
        picture,
        [
            (x, ground - 0.07 * size),
            (x + 0.04 * size, ground - 0.2 * size),
            (x + 0.95 * size, ground - 0.21 * size),
            (x + size, ground - 0.07 * size),
        ],
        colour,
    )
    for k in (0.22, 0.78):
        cv2.circle(
            picture, (int(x + k * size), int(ground - 0.06 * size)), int(0.085 * size), (40, 40, 44), -1, cv2.LINE_AA
        )
        cv2.circle(
            picture, (int(x + k * size), int(ground - 0.06 * size)), int(0.045 * size), (170, 172, 176), -1, cv2.LINE_AA
        )


def park(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint hills, lawn, trees, perhaps a path, flowers, a bench."""
    height, width = picture.shape[:2]
    sky(picture, rng, horizon)
    leaf = vary(rng, ((92, 140, 70), (120, 150, 70), (196, 130, 60), (150, 170, 90))[int(rng.integers(4))], 0.1)
    t = np.linspace(0, 1, 24)
    for k in range(2):
        crest = horizon - (46 - 22 * k) - 24 * np.sin(t * rng.uniform(4, 9) + rng.uniform(0, 6))
        tone = 0.75 + 0.12 * k
        poly(
            picture,
            [*zip(t * width, crest, strict=True), (width, horizon + 9), (0, horizon + 9)],
            (leaf[0] * tone + 30, leaf[1] * tone + 34, leaf[2] * tone + 44),
        )
    lawn = vary(rng, (118, 154, 78), 0.12)
    gradient(
        picture,
        horizon,
        height,
        (lawn[0] * 1.12, lawn[1] * 1.1, lawn[2] * 1.1),
        (lawn[0] * 0.8, lawn[1] * 0.8, lawn[2] * 0.8),
    )
    speckle(picture, rng, horizon, height, 9, 12)
    if rng.random() < 0.7:
        a, b = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * width
        path = vary(rng, (206, 188, 156), 0.08)
        poly(picture, [(a - 10, horizon + 4), (a + 10, horizon + 4), (b + 150, height), (b - 150, height)], path)
    for _ in range(int(rng.integers(3, 8))):
        depth = rng.uniform(0.0, 0.16)
        _tree(
            picture,
            rng,
            rng.uniform(-0.05, 1.05) * width,
            horizon + depth * height,
            (0.28 + 1.6 * depth) * height * rng.uniform(0.7, 1.1),
            leaf,
        )
    for _ in range(int(rng.integers(0, 60))):
        y = rng.uniform(horizon + 20, height)
        at = (int(rng.uniform(0, width)), int(y))
        cv2.circle(picture, at, 2 + int(3 * (y - horizon) / height), vary(rng, (236, 190, 120), 0.5), -1, cv2.LINE_AA)
    if rng.random() < 0.4:
        x, y, wood = rng.uniform(0, 0.7) * width, horizon + 0.14 * height, vary(rng, (140, 92, 60), 0.15)
        for k in range(3):
            box(picture, x, y - 52 + 13 * k, x + 150, y - 44 + 13 * k, wood)
        box(picture, x - 4, y - 12, x + 154, y - 3, wood)
        for k in (8, 134):
            box(picture, x + k, y - 52, x + k + 7, y + 20, (62, 60, 60))


def beach(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint sea and sand, perhaps hills, parasols, a boat."""
    height, width = picture.shape[:2]
    sky(picture, rng, horizon)
    shore = horizon + int(0.14 * height)
    sea = vary(rng, (70, 146, 170), 0.14)
    gradient(
        picture,
        horizon,
        shore,
        (sea[0] * 0.82, sea[1] * 0.85, sea[2] * 0.95),
        (sea[0] * 1.3, sea[1] * 1.2, sea[2] * 1.1),
    )
    for _ in range(40):
        at_y = int(rng.uniform(horizon + 3, shore))
        at_x = int(rng.uniform(0, width))
        cv2.line(picture, (at_x, at_y), (at_x + int(rng.uniform(8, 50)), at_y), (226, 238, 240), 1, cv2.LINE_AA)
    if rng.random() < 0.6:
        t = np.linspace(0, 1, 16)
        crest = horizon - 26 * np.abs(np.sin(t * rng.uniform(2, 6) + rng.uniform(0, 5))) - 4
        poly(
            picture,
            [*zip(t * width, crest, strict=True), (width, horizon), (0, horizon)],
            vary(rng, (120, 140, 150), 0.1),
        )
    sand = vary(rng, (230, 206, 164), 0.07)
    gradient(picture, shore, height, (sand[0] * 0.9, sand[1] * 0.9, sand[2] * 0.9), sand)
    speckle(picture, rng, shore, height, 5, 14)
    t = np.linspace(0, 1, 30)
    wave = shore + 5 * np.sin(t * 14 + rng.uniform(0, 6))
    poly(
        picture,
        [*zip(t * width, wave + 5, strict=True), *zip(t[::-1] * width, wave[::-1] - 5, strict=True)],
        (246, 248, 246),
    )
    for _ in range(int(rng.integers(0, 3))):
        x, y, size = rng.uniform(0, width), shore + rng.uniform(0.04, 0.12) * height, rng.uniform(60, 110)
        box(picture, x - 3, y - 1.3 * size, x + 3, y, (226, 222, 214))
        first, second = vary(rng, (214, 80, 70), 0.5), (244, 240, 230)
        for k in range(6):
            a, b = -1 + k / 3, -1 + (k + 1) / 3
            poly(
                picture,
                [
                    (x, y - 1.75 * size),
                    (x + a * size, y - 1.12 * size - 18 * (1 - abs(a))),
                    (x + b * size, y - 1.12 * size - 18 * (1 - abs(b))),
                ],
                first if k % 2 else second,
            )
        poly(
            picture,
            [(x - 0.9 * size, y + 12), (x + 0.3 * size, y + 4), (x + 0.6 * size, y + 26), (x - 0.7 * size, y + 36)],
            first,
        )
    if rng.random() < 0.4:
        x = rng.uniform(0, width)
        poly(
            picture,
            [(x - 26, horizon - 4), (x + 26, horizon - 4), (x + 18, horizon + 8), (x - 18, horizon + 8)],
            (236, 236, 232),
        )
        poly(picture, [(x, horizon - 52), (x + 22, horizon - 8), (x, horizon - 8)], (248, 248, 244))
