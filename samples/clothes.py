# ruff: noqa: RUF005  (arrays are added here, not lists joined)
"""Garments cut over the joints of a body and painted on a canvas: what the class of a picture is about.

Reads and writes nothing.
"""

from __future__ import annotations

import numpy as np

from samples.body import Body, Rng
from samples.canvas import Canvas, Colour, Floats, Points, ellipse, smooth
from samples.outfit import Outfit


def paint_lower(canvas: Canvas, body: Body, outfit: Outfit, rng: Rng) -> None:
    """Paint the lower garment: trousers, shorts, or the skirt of a skirt or dress."""
    if outfit.label in ("skirt", "dress"):
        _paint_skirt(canvas, body, outfit, rng)
    else:
        _paint_legs(canvas, body, outfit, rng)


def _paint_legs(canvas: Canvas, body: Body, outfit: Outfit, rng: Rng) -> None:
    ease = {"slim": 1.06, "straight": 1.22, "wide": 1.42}[outfit.cut]
    end = {"slim": 1.10, "straight": 1.55, "wide": 2.5}[outfit.cut]
    if outfit.label == "shorts":
        ease, end = ease + 0.04, 1.0
    natural = [body.leg_at(0, f * outfit.hem)[1] for f in (0, 0.25, 0.5, 0.75, 1)]
    grow = np.linspace(ease, max(ease, end * outfit.hem), 5)
    radii = [float(r * g) for r, g in zip(natural, grow, strict=True)]
    if outfit.label == "shorts":
        radii = [float(r * g) for r, g in zip(natural, np.linspace(ease, ease + 0.20, 5), strict=True)]
    for side in (body.far, 1 - body.far):
        line = body.legs[side]
        creases = []
        for k, fraction in enumerate((0.06, 0.5 * outfit.hem, 0.56 * outfit.hem, 0.93 * outfit.hem)):
            centre, radius = body.leg_at(side, fraction)
            slope = float(rng.normal(0, 0.012))
            creases.append([centre[0] - radius, centre[1] + slope, centre[0] + 0.3 * radius * (k % 3), centre[1], 0.55])
        canvas.paint(body.limb(line, radii, outfit.hem, flat_end=True), outfit.bottom, folds=fold_rows(creases))
    canvas.paint(
        _pelvis(body),
        outfit.bottom,
        shadow=0.0,
        depth=0.22,
        folds=fold_rows([[body.pelvis[0], body.pelvis[1] - 0.03, body.pelvis[0], body.pelvis[1] + 0.035, 0.5]]),
    )
    if outfit.tucked:
        _paint_band(canvas, body, outfit)


def _pelvis(body: Body) -> Points:
    waist, hips, half = body.waist, body.pelvis, body.hip_half
    sides = [
        waist + [body.waist_half + 0.003, -0.005],
        waist * 0.4 + hips * 0.6 + [0.95 * half, 0],
        hips + [half + 0.002, 0.012],
        hips + [0.55 * half, 0.045],
        hips + [0, 0.055],
    ]
    mirror = [
        waist + [-body.waist_half - 0.003, -0.005],
        waist * 0.4 + hips * 0.6 + [-0.95 * half, 0],
        hips + [-half - 0.002, 0.012],
        hips + [-0.55 * half, 0.045],
    ]
    return np.vstack([smooth(np.array(sides), closed=False), smooth(np.array(mirror), closed=False)[::-1]])


def _paint_skirt(canvas: Canvas, body: Body, outfit: Outfit, rng: Rng) -> None:
    outline = skirt_outline(
        body,
        hem=outfit.hem,
        flare={"slim": 0.0, "straight": 0.035, "wide": 0.085}[outfit.cut],
        ease=0.004,
        wave=0.006 if outfit.pleats > 6 else 0.002,
        waves=outfit.pleats,
    )
    bottom = float(outline[:, 1].max())
    low = outline[outline[:, 1] > bottom - 0.03]
    creases = []
    for u in np.linspace(-0.9, 0.9, outfit.pleats):
        x = float(np.mean([low[:, 0].min(), low[:, 0].max()])) + u * float(np.ptp(low[:, 0])) / 2
        start = body.waist + [u * body.waist_half, 0.02 + 0.05 * rng.random()]
        creases.append([start[0], start[1], x + rng.normal(0, 0.004), bottom, 0.32 + 0.4 * rng.random()])
    canvas.paint(outline, outfit.bottom, folds=fold_rows(creases))
    if outfit.label == "skirt" and outfit.tucked:
        _paint_band(canvas, body, outfit)


def skirt_outline(
    body: Body, *, hem: float, flare: float, ease: float, wave: float = 0.0, waves: int = 6, top: Points | None = None
) -> Points:
    """Return a closed shape from the waist to `hem` (0 hip, 1 ankle) that covers both legs."""
    waist = body.waist if top is None else top
    ends = [body.leg_at(side, hem) for side in range(2)]
    y = float(max(c[1] for c, _ in ends))
    reach = flare * (0.3 + hem)
    left = min(float(c[0] - r) for c, r in ends) - 0.008 - ease - reach
    right = max(float(c[0] + r) for c, r in ends) + 0.008 + ease + reach
    half = body.hip_half + 0.004 + ease
    low_left, low_right = min(left, body.pelvis[0] - 0.8 * half), max(right, body.pelvis[0] + 0.8 * half)
    bulge = 0.35 * flare
    right_side = smooth(
        np.array(
            [
                waist + [body.waist_half + 0.002 + ease, 0],
                0.45 * waist + 0.55 * body.pelvis + [0.92 * half + 0.3 * bulge, 0],
                body.pelvis + [half + bulge, 0.03],
                [low_right, y],
            ]
        ),
        closed=False,
    )
    left_side = smooth(
        np.array(
            [
                waist + [-body.waist_half - 0.002 - ease, 0],
                0.45 * waist + 0.55 * body.pelvis + [-0.92 * half - 0.3 * bulge, 0],
                body.pelvis + [-half - bulge, 0.03],
                [low_left, y],
            ]
        ),
        closed=False,
    )
    t = np.linspace(0, 1, 24)
    rim = np.column_stack(
        [low_right + (low_left - low_right) * t, y + 0.012 * np.sin(np.pi * t) + wave * np.sin(2 * np.pi * waves * t)]
    )
    return np.vstack([right_side, rim, left_side[::-1]])


def _paint_band(canvas: Canvas, body: Body, outfit: Outfit) -> None:
    half = body.waist_half + 0.005
    band = np.array(
        [
            body.waist + [-half, -0.012],
            body.waist + [half, -0.012],
            body.waist + [half + 0.002, 0.010],
            body.waist + [-half - 0.002, 0.010],
        ]
    )
    colour = outfit.belt if outfit.belt is not None else outfit.bottom
    canvas.paint(band, colour, shadow=0.25, depth=0.6)
    if outfit.belt is not None and not body.pose.back:
        buckle = body.waist + [0.3 * half * np.sin(body.pose.turn), -0.001]
        canvas.paint(ellipse(buckle, 0.009, 0.008), (214, 196, 140), shadow=0.2)


def paint_top(canvas: Canvas, body: Body, outfit: Outfit, skin: Colour, rng: Rng) -> None:
    """Paint shirt, blouse or the upper part of a dress, with its neckline."""
    lower = outfit.label == "dress" or outfit.tucked
    bottom = body.waist[1] - body.pelvis[1] + 0.004 if lower else outfit.top_hem
    shape = body.torso(ease=0.004 if lower else 0.010, bottom=0.0 if lower else bottom)
    if lower:
        cut = float(body.waist[1] + 0.006)
        shape = np.column_stack([shape[:, 0], np.minimum(shape[:, 1], cut)])
        inside = np.abs(shape[:, 0] - body.waist[0]) > body.waist_half + 0.004
        at_cut = shape[:, 1] >= cut - 1e-9
        shape[at_cut & inside, 0] = body.waist[0] + np.sign(shape[at_cut & inside, 0] - body.waist[0]) * (
            body.waist_half + 0.004
        )
    side = 0.75 * body.waist_half
    creases = [
        [
            body.waist[0] + s * side,
            body.waist[1] - 0.02 - 0.03 * rng.random(),
            body.waist[0] + s * 0.2 * side,
            body.waist[1] - 0.05 - 0.03 * rng.random(),
            0.45,
        ]
        for s in (-1, 1)
    ]
    creases.append([body.chest[0] - 0.03, body.chest[1] + 0.10, body.chest[0] + 0.02, body.chest[1] + 0.115, 0.3])
    canvas.paint(shape, outfit.top, folds=fold_rows(creases), shadow=0.0 if outfit.label == "dress" else 0.3)
    if outfit.label == "dress" and outfit.belt is not None:
        _paint_band(canvas, body, outfit)
    _paint_neckline(canvas, body, outfit, skin)


def _paint_neckline(canvas: Canvas, body: Body, outfit: Outfit, skin: Colour) -> None:
    middle = body.chest + [0.35 * body.shoulder_half * np.sin(body.pose.turn), 0]
    wide, deep = 0.030 * body.build.head, {"round": 0.030, "v": 0.062, "collar": 0.036, "high": -0.002}[outfit.neckline]
    if body.pose.back:
        deep = min(deep, 0.012)
    if deep > 0:
        shape = ellipse(middle + [0, -0.008], wide, deep)
        if outfit.neckline in ("v", "collar"):
            shape = np.array([middle + [-wide, -0.016], middle + [wide, -0.016], middle + [0, deep]])
        canvas.paint(shape, skin, shadow=0.0, depth=0.25)
    if outfit.neckline == "collar" and not body.pose.back:
        for s in (-1, 1):
            flap = [
                middle + [s * 0.3 * wide, -0.022],
                middle + [s * 1.35 * wide, -0.016],
                middle + [s * 1.05 * wide, 0.022],
                middle + [s * 0.1 * wide, deep + 0.004],
            ]
            canvas.paint(np.array(flap), outfit.top, shadow=0.3, depth=0.4)
        for k in range(4):
            canvas.paint(ellipse(middle + [0, deep + 0.03 + 0.032 * k], 0.0035, 0.0035), (240, 238, 230), shadow=0.3)
    if outfit.neckline == "high":
        roll = [
            middle + [-wide, -0.020],
            middle + [wide, -0.020],
            middle + [wide * 1.15, 0.010],
            middle + [-wide * 1.15, 0.010],
        ]
        canvas.paint(smooth(np.array(roll)), outfit.top, shadow=0.3)


def fold_rows(rows: list[list[float]]) -> Floats:
    """Return creases as `Canvas.paint` takes them."""
    return np.array(rows, np.float32).reshape(-1, 5)
