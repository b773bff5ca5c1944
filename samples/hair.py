"""Hair in two layers (behind and in front) and hats.

Reads and writes nothing. Coordinates are those of `face.Frame`: radii of the head.
"""

from __future__ import annotations

import numpy as np

from samples.body import Body
from samples.canvas import Canvas, smooth, tube
from samples.face import Face, Frame, Hat


def paint_hair_behind(canvas: Canvas, body: Body, face: Face, hat: Hat) -> None:
    """Paint the hair that falls behind shoulders and neck."""
    frame = Frame(body)
    if hat.kind == "scarf" or face.style in ("bald", "short", "side", "pixie"):
        return
    long = {"bob": 1.15, "long": 2.9, "wavy": 2.5, "ponytail": 0.6, "bun": 0.5, "curly": 0.7, "braids": 0.7}[face.style]
    wide = {"bob": 1.32, "long": 1.22, "wavy": 1.5, "curly": 1.62}.get(face.style, 1.06)
    back = -0.25 * frame.shift
    if face.style == "curly":
        ring = [
            (back + (wide + 0.10 * (k % 2)) * np.cos(a), -0.18 + (1.32 + 0.09 * (k % 2)) * np.sin(a))
            for k, a in enumerate(np.linspace(0, 2 * np.pi, 22, endpoint=False))
        ]
        canvas.paint(smooth(frame.at(ring)), face.hair, shadow=0.0)
        return
    curl = 0.16 if face.style == "wavy" else 0.0
    sides = [
        (wide * 0.80, -0.75),
        (wide, -0.1),
        (wide + curl, 0.5 * long),
        (wide - curl, 0.8 * long),
        (wide * 0.86, long),
    ]
    ring = (
        [(back, -1.1)]
        + [(back + x, y) for x, y in sides]
        + [(back, long + 0.06)]
        + [(back - x, y) for x, y in reversed(sides)]
    )
    canvas.paint(smooth(frame.at(ring)), face.hair, shadow=0.0)
    if face.style == "bun":
        canvas.paint(frame.oval(back - 0.35 * frame.shift, -1.28, 0.52, 0.42), face.hair)
    side = -1 if frame.shift >= 0 else 1
    if face.style == "ponytail":
        tail = frame.at([(side * 0.9, -0.45), (side * 1.55, -0.1), (side * 1.6, 0.9), (side * 1.35, 1.8)])
        canvas.paint(tube(tail, [0.3 * frame.rx, 0.45 * frame.rx, 0.4 * frame.rx, 0.1 * frame.rx]), face.hair)


def paint_hair_in_front(canvas: Canvas, frame: Frame, face: Face, *, covered: bool) -> None:
    """Paint the hair over forehead and temples; `covered` by a hat, it has no shine."""
    if face.style == "bald":
        return
    if frame.back:
        canvas.paint(
            frame.oval(0, -0.08, 1.12, 1.05 if face.style in ("short", "side", "pixie", "bun") else 1.25),
            face.hair,
            shadow=0.2,
        )
        return
    puff = {"short": 1.06, "side": 1.14, "pixie": 1.1, "bob": 1.2, "curly": 1.34, "wavy": 1.2, "long": 1.14}.get(
        face.style, 1.09
    )
    line = {"short": -0.55, "side": -0.42, "pixie": -0.32, "curly": -0.5, "bun": -0.55, "ponytail": -0.52}.get(
        face.style, -0.40
    )
    low = {"short": 0.0, "side": 0.02, "pixie": 0.2, "bob": 0.95, "long": 0.8, "wavy": 0.8, "curly": 0.1}.get(
        face.style, 0.1
    )
    x, part = frame.shift, face.fringe
    outer = [(puff * np.cos(a) - 0.06 * x, puff * np.sin(a)) for a in np.linspace(np.pi, 2 * np.pi, 11)]
    outer[0], outer[-1] = (-puff * 0.98 - 0.06 * x, low), (puff * 0.98 - 0.06 * x, low)
    near = 0.86
    inner = [
        (near + 0.10 * x, low),
        (near + 0.08 * x, -0.15),
        (0.62 + 0.3 * x, line + 0.10 - 0.12 * part),
        (0.35 * part + 0.4 * x, line - 0.10 if face.style not in ("bob", "pixie") else line + 0.08),
        (-0.62 + 0.3 * x, line + 0.10 + 0.12 * part),
        (-near + 0.08 * x, -0.15),
        (-near + 0.10 * x, low),
    ]
    canvas.paint(
        frame.at(np.vstack([smooth(np.array(outer), closed=False), smooth(np.array(inner), closed=False)])),
        face.hair,
        shadow=0.35,
    )
    if not covered:
        shine = tuple(min(255.0, c * 1.25 + 26) for c in face.hair)
        arc = frame.at([(-0.55, -0.78), (-0.1, -0.93), (0.4, -0.84)])
        canvas.paint(
            tube(arc, [0.01 * frame.ry, 0.06 * frame.ry, 0.01 * frame.ry]),
            (shine[0], shine[1], shine[2]),
            shadow=0,
            depth=0,
            opacity=0.35,
        )
    if face.style == "braids":
        for s in (-1, 1):
            for k in range(6):
                bead = frame.oval(s * (1.02 + 0.06 * k) - 0.1 * x, 0.35 + 0.34 * k, 0.25 - 0.015 * k, 0.21)
                canvas.paint(bead, face.hair, shadow=0.3)


def paint_hat(canvas: Canvas, frame: Frame, hat: Hat) -> None:
    """Paint cap, beanie, sun hat or fedora."""
    x = frame.shift
    if hat.kind in ("cap", "beanie"):
        high = -1.42 if hat.kind == "beanie" else -1.28
        dome = [
            (-1.14, -0.42),
            (-1.08, -0.9),
            (-0.6, high + 0.08),
            (0, high),
            (0.6, high + 0.08),
            (1.08, -0.9),
            (1.14, -0.42),
            (0, -0.46),
        ]
        canvas.paint(smooth(frame.at(dome)), hat.fabric, shadow=0.35)
        if hat.kind == "beanie":
            band = [(-1.2, -0.66), (0, -0.72), (1.2, -0.66), (1.18, -0.34), (0, -0.38), (-1.18, -0.34)]
            canvas.paint(smooth(frame.at(band)), hat.fabric, shadow=0.35)
            canvas.paint(frame.oval(0, high - 0.1, 0.27, 0.23), hat.band, shadow=0.2)
        elif not frame.back:
            canvas.paint(frame.oval(x * 1.25, -0.44, 0.98, 0.18), hat.band, shadow=0.45)
    elif hat.kind in ("sun hat", "fedora"):
        wide, crown = (2.15, -1.35) if hat.kind == "sun hat" else (1.6, -1.42)
        canvas.paint(frame.oval(0, -0.56, wide, 0.34), hat.fabric, shadow=0.5)
        dome = [
            (-1.02, -0.62),
            (-0.96, -1.05),
            (-0.55, crown),
            (0, crown + 0.05),
            (0.55, crown),
            (0.96, -1.05),
            (1.02, -0.62),
            (0, -0.52),
        ]
        canvas.paint(smooth(frame.at(dome)), hat.fabric, shadow=0.25)
        band = [(-1.03, -0.82), (0, -0.74), (1.03, -0.82), (1.04, -0.62), (0, -0.53), (-1.04, -0.62)]
        canvas.paint(smooth(frame.at(band)), hat.band, shadow=0.1, depth=0.5)
