"""Draw people on a picture, so that a person sees at a glance who was found and where each one ends.

Reads and writes nothing: pixels in, pixels out. Shared by the overlays for markers and the gallery of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.contours import Contours, box
from silhouette.contracts.markup import palette

if TYPE_CHECKING:
    from silhouette.imaging import Pixels

_FILLED = 0.28  # of a person's colour over the picture
_HALO_RGB = (20, 20, 20)


def draw_people(pixels: Pixels, people: Sequence[Contours], *, numbered: bool = True) -> Pixels:
    """Tint and outline every person in the colour of its number, larger ones first, with the number at its head.

    Args:
        pixels: uint8 RGB [height, width, 3]; stays as it is.
        people: In pixels of these.
        numbered: Whether the numbers are written, from 1.

    Returns:
        uint8 RGB [height, width, 3].
    """
    import cv2

    drawn = pixels.copy()
    height, width = pixels.shape[:2]
    thick = max(1, round(max(height, width) / 640))
    shown = [(number, contours) for number, contours in enumerate(people, start=1) if not contours.is_empty]
    for number, contours in sorted(shown, key=lambda item: -_extent(item[1])):
        rings = list(contours.rings)
        colour = palette()[(number - 1) % 255 + 1].tolist()
        left, top, right, bottom = box(contours)
        window = drawn[top:bottom, left:right]
        mask = np.zeros(window.shape[:2], np.uint8)
        cv2.fillPoly(mask, [ring - np.array([left, top], np.int32) for ring in rings], 255)
        tinted = cv2.addWeighted(window, 1 - _FILLED, np.full_like(window, colour), _FILLED, 0)
        np.copyto(window, tinted, where=mask[:, :, None] > 0)
        for rgb, thickness in ((_HALO_RGB, thick + 2), (colour, thick)):
            cv2.polylines(drawn, rings, isClosed=True, color=rgb, thickness=thickness, lineType=cv2.LINE_AA)
    if numbered:
        for number, contours in shown:
            _write_number(drawn, number, contours)
    return drawn


def _extent(contours: Contours) -> int:
    left, top, right, bottom = box(contours)
    return (right - left) * (bottom - top)


def _write_number(drawn: Pixels, number: int, contours: Contours) -> None:
    import cv2

    height, width = drawn.shape[:2]
    scale = max(0.4, min(height, width) / 1100)
    font, thickness, text = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(2 * scale)), str(number)
    (wide, tall), below = cv2.getTextSize(text, font, scale, thickness)
    left, top, right, _ = box(contours)
    pad = max(2, round(5 * scale))
    x = int(np.clip((left + right - wide) // 2, pad, max(pad, width - wide - pad)))
    y = int(np.clip(top - 2 * pad, tall + pad, max(tall + pad, height - below - pad)))
    colour = palette()[(number - 1) % 255 + 1].tolist()
    cv2.rectangle(drawn, (x - pad, y - tall - pad), (x + wide + pad, y + below), _HALO_RGB, cv2.FILLED)
    cv2.rectangle(drawn, (x - pad, y + below), (x + wide + pad, y + below + max(1, pad // 2)), colour, cv2.FILLED)
    cv2.putText(drawn, text, (x, y), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
