# ruff: noqa: RUF005  (arrays are added here, not lists joined)
"""One drawn person: the order in which skin, garments, hair and bags are laid over one another.

Reads and writes nothing. `draw_figure` returns a cut-out with soft edges and true coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samples.body import Body, Build, Pose
from samples.canvas import Canvas, Colour, Floats, Points, ellipse, smooth, tube
from samples.clothes import paint_lower, paint_top
from samples.face import Face, Hat
from samples.hair import paint_hair_behind
from samples.head import paint_head, paint_neck
from samples.outerwear import paint_bag, paint_coat, paint_sleeve
from samples.outfit import Outfit


@dataclass(frozen=True)
class Cutout:
    """A person cut out: premultiplied colour (h, w, 3) 0..255 and coverage (h, w) 0..1, and where the ground is."""

    rgb: Floats
    alpha: Floats
    feet: tuple[float, float]  # x, y of the point between the feet, in pixels of the cut-out


@dataclass(frozen=True)
class Person:
    """Everything about one person on one picture."""

    build: Build
    face: Face
    hat: Hat
    outfit: Outfit
    pose: Pose
    detail_seed: int


def draw_figure(person: Person, *, height_px: float, to_light: tuple[float, float]) -> Cutout:
    """Draw a person `height_px` tall, two to three times as large and then reduced."""
    fine = 2.0 if height_px < 620 else 1.5
    unit = height_px * fine
    canvas = Canvas(
        height=int(1.36 * unit), width=int(1.3 * unit), unit=unit, origin=(0.65 * unit, 1.29 * unit), to_light=to_light
    )
    _paint(canvas, person)
    ys, xs = np.flatnonzero(canvas.alpha.max(1) > 0), np.flatnonzero(canvas.alpha.max(0) > 0)
    x0, x1, y0, y1 = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
    size = (max(2, round((x1 - x0) / fine)), max(2, round((y1 - y0) / fine)))
    planes = [cv2.resize(plane[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA) for plane in canvas.planes]
    return Cutout(
        rgb=np.stack(planes, axis=-1),
        alpha=np.asarray(cv2.resize(canvas.alpha[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA), np.float32),
        feet=((float(canvas.origin[0]) - x0) / fine, (float(canvas.origin[1]) - y0) / fine),
    )


def _paint(canvas: Canvas, person: Person) -> None:
    rng = np.random.default_rng(person.detail_seed)
    body, outfit, skin = Body(person.build, person.pose), person.outfit, person.face.skin
    if outfit.bag == "backpack" and not person.pose.back:
        pack = ellipse(
            body.chest + [-0.35 * body.shoulder_half * np.sin(person.pose.turn) * 2, 0.12],
            1.12 * body.shoulder_half,
            0.13,
        )
        canvas.paint(pack, outfit.bag_colour)
    if not person.pose.back:
        paint_hair_behind(canvas, body, person.face, person.hat)
    order = (body.far, 1 - body.far)
    hidden = body.far if abs(person.pose.turn) > 0.35 and not person.pose.arms_in_front[body.far] else None
    if hidden is not None:
        _paint_arm(canvas, body, outfit, skin, hidden)
    for side in order:
        _paint_leg(canvas, body, outfit, skin, side)
    canvas.paint(body.torso(), skin, shadow=0.0)
    paint_neck(canvas, body, skin)
    over = outfit.label == "dress" or not outfit.tucked  # the upper garment hangs over the lower one
    if not over:
        paint_top(canvas, body, outfit, skin, rng)
    paint_lower(canvas, body, outfit, rng)
    if over:
        paint_top(canvas, body, outfit, skin, rng)
    if outfit.coat != "none":
        paint_coat(canvas, body, outfit, rng)
    if person.pose.back:
        paint_hair_behind(canvas, body, person.face, person.hat)
    paint_head(canvas, body, person.face, person.hat)
    if outfit.bag == "shoulder" or (outfit.bag == "backpack"):
        paint_bag(canvas, body, outfit)
    if outfit.bag == "backpack" and person.pose.back:
        canvas.paint(
            smooth(ellipse(body.chest + [0, 0.14], 0.85 * body.shoulder_half, 0.12, steps=10)), outfit.bag_colour
        )
    for side in order:
        if side != hidden:
            _paint_arm(canvas, body, outfit, skin, side)
    if outfit.bag in ("hand", "front"):
        paint_bag(canvas, body, outfit)
        if outfit.bag == "front":
            _paint_hand(canvas, body, skin, outfit.bag_side)


def _paint_arm(canvas: Canvas, body: Body, outfit: Outfit, skin: Colour, side: int) -> None:
    canvas.paint(body.limb(body.arms[side], body.arm_radii(), 1.0, flat_end=False), skin)
    _paint_hand(canvas, body, skin, side)
    paint_sleeve(canvas, body, outfit, side)


def _paint_hand(canvas: Canvas, body: Body, skin: Colour, side: int) -> None:
    elbow, wrist = body.arms[side][1:]
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    across = np.array([-along[1], along[0]]) * (1 if side == 0 else -1)
    size = 0.9 + 0.1 * body.build.limbs
    palm = np.array([wrist - 0.004 * along, wrist + 0.02 * size * along, wrist + 0.044 * size * along])
    canvas.paint(tube(palm, [0.0135 * size, 0.0175 * size, 0.0095 * size]), skin, shadow=0.2)
    thumb = np.array([wrist + 0.012 * along, wrist + 0.024 * along - 0.018 * size * across])
    canvas.paint(tube(thumb, [0.0065 * size, 0.0055 * size]), skin, shadow=0.1)


def _paint_leg(canvas: Canvas, body: Body, outfit: Outfit, skin: Colour, side: int) -> None:
    bare: Colour = outfit.tights if outfit.tights is not None else skin
    line = body.legs[side]
    canvas.paint(body.limb(line, body.leg_radii(), 1.0, flat_end=False), bare)
    knee = body.leg_at(side, 0.53)[0]
    canvas.paint(
        ellipse(knee, 0.012, 0.010), (0.9 * bare[0], 0.9 * bare[1], 0.9 * bare[2]), shadow=0, depth=0, opacity=0.35
    )
    if outfit.shoes == "tall boots":
        centres = np.array([body.leg_at(side, f)[0] for f in (0.60, 0.7, 0.85, 1.0)])
        radii = [1.10 * body.leg_at(side, f)[1] for f in (0.60, 0.7, 0.85, 1.0)]
        canvas.paint(tube(centres, radii, round_start=False), outfit.shoe_colour)
    elif outfit.shoes == "ankle boots":
        centres = np.array([body.leg_at(side, f)[0] for f in (0.86, 1.0)])
        canvas.paint(tube(centres, [0.030, 0.026], round_start=False), outfit.shoe_colour)
    _paint_shoe(canvas, body, outfit, bare, side)


def _paint_shoe(canvas: Canvas, body: Body, outfit: Outfit, bare: Colour, side: int) -> None:
    ankle = body.legs[side][2]
    s = -1 if side == 0 else 1
    face = float(np.sin(body.pose.turn))
    toe_x = 0.072 * face + s * 0.020 * (1 - abs(face))
    down = 0.026 + 0.012 * (1 - abs(face))
    heel = ankle + [-0.016 * face, 0.006]
    if body.pose.back:
        toe_x, down = 0.3 * toe_x, 0.02
    line: Points = np.array([heel + [0, 0.004], ankle + [0.45 * toe_x, 0.4 * down + 0.008], ankle + [toe_x, down]])
    colour = bare if outfit.shoes == "sandals" else outfit.shoe_colour
    sole = (236, 234, 228) if outfit.shoes == "sneakers" else (70, 54, 46)
    canvas.paint(tube(line + [0, 0.007], [0.020, 0.021, 0.0165]), sole, shadow=0.2)
    canvas.paint(tube(line, [0.0205, 0.021, 0.016]), colour, shadow=0.2)
    if outfit.shoes == "sandals":
        for t in (0.35, 0.8):
            at = line[0] + (line[2] - line[0]) * t
            canvas.paint(
                tube(np.array([at + [-0.017, -0.004], at + [0.017, 0.004]]), [0.0055, 0.0055]),
                outfit.shoe_colour,
                shadow=0.2,
            )
    elif outfit.shoes == "sneakers":
        for t in (0.42, 0.62):
            at = line[0] + (line[2] - line[0]) * t
            canvas.paint(
                tube(np.array([at + [-0.010, -0.009], at + [0.010, -0.006]]), [0.003, 0.003]), (246, 244, 240), shadow=0
            )
    elif outfit.shoes == "flats":
        canvas.paint(
            ellipse(line[0] + (line[1] - line[0]) * 0.55 + [0, -0.006], 0.0125, 0.009), bare, shadow=0, depth=0.2
        )
