# ruff: noqa: RUF005  (arrays are added here, not lists joined)
"""The head of a drawn person: neck, face, beard, glasses, headscarf.

Reads and writes nothing. Coordinates are those of `face.Frame`: radii of the head.
"""

from __future__ import annotations

import numpy as np

from samples.body import Body
from samples.canvas import Canvas, Colour, smooth, tube
from samples.face import Face, Frame, Hat
from samples.hair import paint_hair_in_front, paint_hat


def paint_neck(canvas: Canvas, body: Body, skin: Colour) -> None:
    """Paint the neck, down into the collar."""
    line = np.array([body.head + [0, 0.55 * body.head_ry], body.neck + [0, 0.0], body.chest + [0, 0.03]])
    radius = 0.0245 * (0.6 + 0.4 * body.build.limbs) * body.build.head
    canvas.paint(tube(line, [radius * 0.95, radius, radius * 1.5]), skin, shadow=0.0)


def paint_head(canvas: Canvas, body: Body, face: Face, hat: Hat) -> None:
    """Paint head, face, the hair in front, beard, glasses and hat."""
    frame = Frame(body)
    if hat.kind == "scarf":
        ring = [
            (0, -1.22),
            (0.85, -0.9),
            (1.18, -0.1),
            (1.05, 0.8),
            (1.25, 1.55),
            (0, 1.9),
            (-1.25, 1.55),
            (-1.05, 0.8),
            (-1.18, -0.1),
            (-0.85, -0.9),
        ]
        canvas.paint(smooth(frame.at(ring)), hat.fabric, shadow=0.4)
    egg = [(np.cos(a) * (1 - 0.16 * max(0.0, np.sin(a)) ** 2), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 28)[:-1]]
    if hat.kind == "scarf":
        egg = [(0.12 * frame.shift + 0.86 * x, 0.86 * y + 0.04) for x, y in egg]
    elif not frame.back:
        for s in (-1, 1):
            if s * frame.shift < 0.3:
                canvas.paint(frame.oval(s * 0.98 - 0.1 * frame.shift, 0.08, 0.13, 0.2), face.skin, shadow=0.1)
    canvas.paint(frame.at(egg), face.skin, shadow=0.4 if hat.kind != "scarf" else 0.2, depth=0.75)
    if not frame.back:
        _paint_features(canvas, frame, face, covered=hat.kind == "scarf")
    if hat.kind != "scarf":
        paint_hair_in_front(canvas, frame, face, covered=hat.kind in ("cap", "beanie", "fedora", "sun hat"))
        paint_hat(canvas, frame, hat)
    elif frame.back:
        canvas.paint(frame.at(egg), hat.fabric, shadow=0.0)


def _paint_features(canvas: Canvas, frame: Frame, face: Face, *, covered: bool) -> None:
    skin, x = face.skin, frame.shift
    dark = (skin[0] * 0.62, skin[1] * 0.5, skin[2] * 0.48)
    brow = tuple(0.75 * c for c in face.hair) if sum(face.hair) < 500 else dark
    squeeze = 1 - 0.28 * abs(x)
    for s in (-1, 1):
        cx = x + s * 0.40 * squeeze
        canvas.paint(
            frame.oval(x + s * 0.52 * squeeze, 0.38, 0.24, 0.15), (226, 120, 110), shadow=0, depth=0, opacity=0.22
        )
        canvas.paint(frame.oval(cx, 0.02, 0.15 * squeeze, 0.085), (244, 240, 236), shadow=0.15, depth=0.1)
        canvas.paint(frame.oval(cx + 0.05 * x, 0.025, 0.085, 0.095), (50, 38, 34), shadow=0, depth=0)
        arch = frame.at([(cx - 0.2 * squeeze, -0.2 - 0.02 * s), (cx, -0.26), (cx + 0.2 * squeeze, -0.2 + 0.02 * s)])
        canvas.paint(tube(arch, [0.03 * frame.ry] * 2), (brow[0], brow[1], brow[2]), shadow=0, depth=0)
    nose = frame.at([(x * 1.12, 0.05), (x * 1.28 + 0.05, 0.30), (x * 1.1 - 0.05, 0.33)])
    canvas.paint(tube(nose, [0.018 * frame.ry] * 2), dark, shadow=0, depth=0, opacity=0.55)
    if face.beard and not covered:
        ring = [
            (x * 0.5 - 0.88, 0.2),
            (x * 0.9 - 0.36 * squeeze, 0.47),
            (x * 0.9 + 0.36 * squeeze, 0.47),
            (x * 0.5 + 0.88, 0.2),
            (0.72, 0.72),
            (0.3, 1.06),
            (-0.3, 1.06),
            (-0.72, 0.72),
        ]
        canvas.paint(smooth(frame.at(ring)), face.hair, shadow=0, depth=0.5, opacity=0.9)
    mouth = frame.at([(x - 0.24 * squeeze, 0.56), (x, 0.58 + 0.11 * face.smile), (x + 0.24 * squeeze, 0.56)])
    red = (dark[0] + 60 * face.lips, dark[1] + 5, dark[2] + 12)
    canvas.paint(
        tube(mouth, [0.028 * frame.ry, (0.035 + 0.03 * face.lips) * frame.ry, 0.028 * frame.ry]),
        red,
        shadow=0,
        depth=0.2,
    )
    if face.glasses:
        for s in (-1, 1):
            lens = frame.oval(x + s * 0.41 * squeeze, 0.03, 0.29 * squeeze, 0.2)
            canvas.paint(tube(np.vstack([lens, lens[:1]]), [0.022 * frame.ry] * 2), (36, 34, 40), shadow=0, depth=0)
            canvas.paint(lens, (210, 226, 236), shadow=0, depth=0, opacity=0.18)
