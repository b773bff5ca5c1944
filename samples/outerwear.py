# ruff: noqa: RUF005  (arrays are added here, not lists joined)
"""Coats, sleeves and bags: what is worn over the garments and may hide a part of them.

Reads and writes nothing.
"""

from __future__ import annotations

import numpy as np

from samples.body import Body, Rng
from samples.canvas import Canvas, Colour, Floats, Points, ellipse, smooth, tube
from samples.clothes import fold_rows, skirt_outline
from samples.outfit import Outfit


def paint_coat(canvas: Canvas, body: Body, outfit: Outfit, rng: Rng) -> None:
    """Paint a jacket or a long coat, open or closed, without its sleeves."""
    if outfit.coat == "jacket":
        whole = body.torso(ease=0.016, bottom=0.012)
    else:
        upper = body.torso(ease=0.016, bottom=0.0)
        lower = skirt_outline(body, hem=outfit.coat_hem, flare=0.03, ease=0.018)
        if outfit.coat == "closed":
            canvas.paint(lower, outfit.coat_fabric, folds=_straight_folds(body, lower, rng))
            canvas.paint(upper, outfit.coat_fabric, shadow=0.0, depth=0.6)
            for k in range(5):
                canvas.paint(ellipse(body.waist + [0.012, -0.1 + 0.05 * k], 0.0055, 0.0055), (60, 52, 46), shadow=0.3)
            return
        whole = upper
    gap = 0.032 + 0.02 * float(rng.random())
    slide = 0.4 * body.waist_half * float(np.sin(body.pose.turn))
    for s in (-1, 1):
        if outfit.coat == "open":
            skirt = skirt_outline(body, hem=outfit.coat_hem, flare=0.04, ease=0.02)
            canvas.paint(_half(skirt, body.pelvis[0] + slide, s, gap * 1.35, flare=0.45), outfit.coat_fabric)
        canvas.paint(_half(whole, body.chest[0] + slide, s, gap, flare=0.1), outfit.coat_fabric, shadow=0.35)


def _half(shape: Points, middle: float, side: int, gap: float, *, flare: float) -> Points:
    top, bottom = float(shape[:, 1].min()), float(shape[:, 1].max())
    edge = middle + side * gap * (0.45 + flare * (shape[:, 1] - top) / (bottom - top))
    x = np.maximum(shape[:, 0], edge) if side > 0 else np.minimum(shape[:, 0], edge)
    return np.column_stack([x, shape[:, 1]])


def _straight_folds(body: Body, shape: Points, rng: Rng) -> Floats:
    bottom = float(shape[:, 1].max())
    return fold_rows(
        [
            [body.waist[0] + u, body.waist[1] + 0.03, body.pelvis[0] + 1.5 * u + rng.normal(0, 0.005), bottom, 0.4]
            for u in (-0.05, 0.012, 0.045)
        ]
    )


def paint_sleeve(canvas: Canvas, body: Body, outfit: Outfit, side: int) -> None:
    """Paint the sleeve of coat or top on one arm; nothing when the top has none."""
    coated = outfit.coat != "none"
    length, fabric = (0.97, outfit.coat_fabric) if coated else (outfit.sleeve, outfit.top)
    if length <= 0:
        return
    ease = 0.007 if coated else 0.004
    grid = np.linspace(0, length, 5)
    radii = [float(np.interp(f, [0, 0.25, 0.5, 0.75, 1], body.arm_radii())) + ease for f in grid]
    elbow = body.arms[side][1]
    folds = fold_rows(
        [
            [elbow[0] - 0.02, elbow[1] - 0.004, elbow[0] + 0.012, elbow[1] + 0.006, 0.5],
            [elbow[0] - 0.018, elbow[1] + 0.012, elbow[0] + 0.01, elbow[1] + 0.018, 0.35],
        ]
    )
    canvas.paint(body.limb(body.arms[side], radii, length, flat_end=True), fabric, folds=folds)


def paint_bag(canvas: Canvas, body: Body, outfit: Outfit) -> None:
    """Paint a bag carried at the side, in the hand or in front of the body."""
    side, s, colour = outfit.bag_side, (-1 if outfit.bag_side == 0 else 1), outfit.bag_colour
    dark = (colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6)
    if outfit.bag == "shoulder":
        at = body.pelvis + [s * (body.hip_half + 0.012), 0.0]
        strap = np.array([body.chest + [-s * 0.5 * body.shoulder_half, 0.0], body.waist, at + [0, -0.03]])
        canvas.paint(tube(strap, [0.0055, 0.0055]), dark, shadow=0.3)
        _paint_box(canvas, at, 0.046, 0.040, colour, dark)
    elif outfit.bag in ("hand", "front"):
        hand = body.arms[side][2] + [0, 0.03]
        at = hand + [0, 0.085] if outfit.bag == "hand" else body.pelvis + [0.02 * s, 0.075]
        wide, tall = (0.05, 0.055) if outfit.bag == "hand" else (0.095, 0.085)
        arch = np.array(
            [
                at + [-0.55 * wide, -tall],
                at + [-0.3 * wide, -tall - 0.035],
                at + [0.3 * wide, -tall - 0.035],
                at + [0.55 * wide, -tall],
            ]
        )
        canvas.paint(tube(arch, [0.005, 0.005]), dark, shadow=0.25)
        _paint_box(canvas, at, wide, tall, colour, dark)
    elif outfit.bag == "backpack" and not body.pose.back:
        for k in (-1, 1):
            strap = np.array(
                [
                    body.chest + [k * 0.55 * body.shoulder_half, -0.006],
                    body.chest + [k * 0.62 * body.shoulder_half, 0.07],
                    body.chest + [k * 0.9 * body.shoulder_half, 0.13],
                ]
            )
            canvas.paint(tube(strap, [0.011, 0.010]), colour, shadow=0.3)


def _paint_box(canvas: Canvas, at: Points, wide: float, tall: float, colour: Colour, dark: Colour) -> None:
    box = smooth(
        np.array(
            [
                at + [-wide * 0.92, -tall],
                at + [0, -tall],
                at + [wide * 0.92, -tall],
                at + [wide, tall * 0.9],
                at + [0.6 * wide, tall],
                at + [-0.6 * wide, tall],
                at + [-wide, tall * 0.9],
            ]
        )
    )
    canvas.paint(box, colour, shadow=0.45, depth=0.8)
    flap = np.array(
        [
            at + [-0.85 * wide, -0.92 * tall],
            at + [0.85 * wide, -0.92 * tall],
            at + [0.7 * wide, -0.15 * tall],
            at + [-0.7 * wide, -0.15 * tall],
        ]
    )
    canvas.paint(smooth(flap), dark, shadow=0.2, depth=0.5, opacity=0.75)
