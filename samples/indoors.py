"""Drawn backgrounds under a roof: room and studio.

Reads and writes nothing; each paints over a whole (h, w, 3) uint8 RGB picture with its floor from `horizon` down.
"""

from __future__ import annotations

import cv2
import numpy as np

from samples.backdrop import Pixels, Rng, box, gradient, poly, speckle, vary
from samples.outdoors import sky


def room(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint wall and floor, perhaps a window, pictures, a sofa, a plant."""
    height, width = picture.shape[:2]
    wall = vary(
        rng,
        ((226, 216, 200), (188, 200, 196), (206, 186, 180), (160, 176, 190), (232, 226, 214))[int(rng.integers(5))],
        0.08,
    )
    gradient(picture, 0, horizon, wall, (wall[0] * 0.9, wall[1] * 0.9, wall[2] * 0.9))
    if rng.random() < 0.35:
        for x in range(0, width, 46):
            box(picture, x, 0, x + 18, horizon, (wall[0] * 0.94, wall[1] * 0.94, wall[2] * 0.95))
    wood = vary(rng, ((172, 128, 88), (120, 88, 66), (206, 176, 136), (150, 150, 152))[int(rng.integers(4))], 0.1)
    gradient(picture, horizon, height, (wood[0] * 0.85, wood[1] * 0.85, wood[2] * 0.85), wood)
    speckle(picture, rng, horizon, height, 4, 16)
    for k in range(-14, 15):
        cv2.line(
            picture,
            (int(width / 2 + 52 * k), horizon),
            (int(width / 2 + 120 * k), height),
            [c * 0.72 for c in wood],
            1,
            cv2.LINE_AA,
        )
    box(picture, 0, horizon - 14, width, horizon, (240, 238, 232))
    windowed = rng.random() < 0.55
    if windowed:
        _window(picture, rng, rng.uniform(0, 0.65) * width, 0.12 * height, 0.3 * width, 0.34 * height)
    for _ in range(0 if windowed else int(rng.integers(1, 4))):
        x, y, w = rng.uniform(0, 0.85) * width, rng.uniform(0.08, 0.35) * height, rng.uniform(50, 110)
        h = w * rng.uniform(0.7, 1.4)
        box(picture, x - 6, y - 6, x + w + 6, y + h + 6, vary(rng, (80, 62, 50), 0.4))
        box(picture, x, y, x + w, y + h, vary(rng, (236, 228, 210), 0.05))
        poly(
            picture,
            [(x + 6, y + h - 8), (x + 0.4 * w, y + 0.4 * h), (x + w - 6, y + h - 8)],
            vary(rng, (120, 150, 170), 0.4),
        )
        cv2.circle(
            picture,
            (int(x + 0.7 * w), int(y + 0.3 * h)),
            int(0.13 * w),
            vary(rng, (226, 150, 90), 0.3),
            -1,
            cv2.LINE_AA,
        )
    if rng.random() < 0.5:
        cv2.ellipse(
            picture,
            (int(rng.uniform(0.3, 0.7) * width), int(0.88 * height)),
            (int(0.42 * width), int(0.08 * height)),
            0,
            0,
            360,
            vary(rng, (170, 90, 90), 0.5),
            -1,
            cv2.LINE_AA,
        )
    if rng.random() < 0.6:
        _sofa(picture, rng, rng.uniform(-0.15, 0.6) * width, horizon + 26, 0.48 * width)
    if rng.random() < 0.6:
        _plant(picture, rng, rng.uniform(0.02, 0.98) * width, horizon + 20, 0.34 * height)


def _window(picture: Pixels, rng: Rng, x: float, y: float, w: float, h: float) -> None:
    box(picture, x - 8, y - 8, x + w + 8, y + h + 8, (246, 244, 238))
    view = np.zeros((int(h), picture.shape[1], 3), np.uint8)
    sky(view, rng, int(h))
    x0, x1 = max(0, int(x)), min(picture.shape[1], int(x + w))
    picture[int(y) : int(y) + int(h), x0:x1] = view[:, x0:x1]
    box(picture, x + w / 2 - 3, y, x + w / 2 + 3, y + h, (246, 244, 238))
    box(picture, x, y + h / 2 - 3, x + w, y + h / 2 + 3, (246, 244, 238))
    curtain = vary(rng, (200, 170, 150), 0.35)
    for side in (x - 30, x + w - 14):
        for k in range(4):
            tone = 0.9 + 0.1 * (k % 2)
            box(
                picture,
                side + 11 * k,
                y - 18,
                side + 11 * k + 11,
                y + h * 1.3,
                (curtain[0] * tone, curtain[1] * tone, curtain[2] * tone),
            )


def _sofa(picture: Pixels, rng: Rng, x: float, ground: float, size: float) -> None:
    colour = vary(rng, (110, 130, 150), 0.5)
    dark = (colour[0] * 0.82, colour[1] * 0.82, colour[2] * 0.82)
    box(picture, x, ground - 0.46 * size, x + size, ground - 0.1 * size, dark)
    box(picture, x + 0.08 * size, ground - 0.26 * size, x + 0.92 * size, ground - 0.06 * size, colour)
    for k in (0.0, 0.9):
        box(picture, x + k * size, ground - 0.34 * size, x + (k + 0.1) * size, ground, colour)
    box(
        picture,
        x + 0.14 * size,
        ground - 0.4 * size,
        x + 0.34 * size,
        ground - 0.22 * size,
        vary(rng, (220, 180, 100), 0.5),
    )


def _plant(picture: Pixels, rng: Rng, x: float, ground: float, size: float) -> None:
    for _ in range(16):
        angle, reach = rng.normal(0, 0.55), size * rng.uniform(0.55, 1.0)
        tip = (x + reach * np.sin(angle), ground - 0.22 * size - 0.8 * reach * np.cos(angle))
        bend = (x + 0.5 * reach * np.sin(angle) - 12, ground - 0.3 * size - 0.5 * reach * np.cos(angle))
        poly(
            picture,
            [(x, ground - 0.22 * size), bend, tip, (bend[0] + 20, bend[1] + 6)],
            vary(rng, (76, 128, 76), 0.18),
        )
    pot = vary(rng, (196, 120, 84), 0.25)
    poly(
        picture,
        [
            (x - 0.13 * size, ground - 0.26 * size),
            (x + 0.13 * size, ground - 0.26 * size),
            (x + 0.09 * size, ground),
            (x - 0.09 * size, ground),
        ],
        pot,
    )


def studio(picture: Pixels, rng: Rng, horizon: int) -> None:
    """Paint a paper backdrop."""
    height, width = picture.shape[:2]
    paper = vary(
        rng,
        ((206, 206, 204), (186, 150, 140), (140, 166, 176), (216, 200, 150), (96, 100, 108))[int(rng.integers(5))],
        0.1,
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    glow = np.exp(-(((x / width - rng.uniform(0.3, 0.7)) / 0.5) ** 2 + ((y / height - 0.4) / 0.6) ** 2))
    fall = np.clip((y - horizon) / (0.1 * height), 0, 1) * 0.07
    picture[:] = np.clip(np.array(paper, np.float32) * (0.72 + 0.42 * glow + fall)[..., None], 0, 255).astype(np.uint8)
