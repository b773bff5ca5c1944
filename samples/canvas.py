"""One soft-shaded, anti-aliased shape on a transparent canvas: the only brush of the drawn people.

Reads and writes nothing. Colours are RGB triples 0..255, points are (N, 2) arrays of x, y in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Floats = NDArray[np.float32]
Colour = tuple[float, float, float]

_SHADOW_TINT = (0.60, 0.57, 0.66)  # shadows are a little bluer than the cloth
_BITS = 4  # sub-pixel bits of cv2.fillPoly


def smooth(points: Points, *, closed: bool = True, steps: int = 6) -> Points:
    """Run a Catmull-Rom spline through the points and return it sampled `steps` times a segment."""
    points = np.asarray(points, np.float64)
    if closed:
        ring = np.vstack([points[-1:], points, points[:2]])
    else:
        ring = np.vstack([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    p0, p1, p2, p3 = ring[:-3, None], ring[1:-2, None], ring[2:-1, None], ring[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    sampled = curve.reshape(-1, 2)
    return sampled if closed else np.vstack([sampled, points[-1:]])


def tube(centres: Points, radii: list[float], *, round_start: bool = True, round_end: bool = True) -> Points:
    """Return the outline of a limb: a smooth centre line with a radius at each of its points."""
    line = smooth(np.column_stack([np.asarray(centres, np.float64)]), closed=False)
    radius = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(radii)), radii)[:, None]
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.column_stack([-along[:, 1], along[:, 0]])
    start = _cap(line[0], -along[0], normal[0], radius[0, 0]) if round_start else np.empty((0, 2))
    end = _cap(line[-1], along[-1], -normal[-1], radius[-1, 0]) if round_end else np.empty((0, 2))
    return np.vstack([line + normal * radius, end, (line - normal * radius)[::-1], start])


def _cap(centre: Points, outward: Points, first: Points, radius: float) -> Points:
    angles = np.linspace(0, np.pi, 7)[1:-1, None]
    return np.asarray(centre + radius * (-first * np.cos(angles) + outward * np.sin(angles)))


def ellipse(centre: Points, rx: float, ry: float, *, angle: float = 0.0, steps: int = 28) -> Points:
    """Return an ellipse as points; `angle` in radians."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    turned = [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)]
    return np.asarray(centre + np.column_stack(turned), np.float64)


@dataclass(frozen=True)
class Fabric:
    """A cloth: its colours and its pattern, laid out in figure heights so that it scales with the person."""

    colour: Colour
    second: Colour = (255, 255, 255)
    pattern: str = "plain"  # plain | stripes | pinstripes | dots | check | flowers | fade
    size: float = 0.03
    angle: float = 0.0
    sheen: float = 0.0

    def weight(self, x: Floats, y: Floats) -> Floats | None:
        """Return how much of the second colour is at each point, (h, w) in 0..1; None for plain cloth."""
        if self.pattern == "plain":
            return None
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u, v = (x * c + y * s) / np.float32(self.size), (y * c - x * s) / np.float32(self.size)
        if self.pattern == "stripes":
            return _edge(np.sin(2 * np.pi * v))
        if self.pattern == "pinstripes":
            return _edge(np.sin(2 * np.pi * u) - np.float32(0.75)) * np.float32(0.8)
        if self.pattern == "check":
            return (_edge(np.sin(2 * np.pi * u)) + _edge(np.sin(2 * np.pi * v))) * np.float32(0.42)
        if self.pattern == "fade":
            return _edge(y * np.float32(0.44) - np.float32(0.22))
        shift = np.floor(v) * np.float32(0.5 if self.pattern == "dots" else 0.37)
        du, dv = (u + shift) % 1 - np.float32(0.5), v % 1 - np.float32(0.5)
        radius = np.sqrt(du * du + dv * dv)
        if self.pattern == "dots":
            return _edge((np.float32(0.27) - radius) * np.float32(2.4) - np.float32(0.1))
        petals = np.float32(0.26) + np.float32(0.12) * np.cos(5 * np.arctan2(dv, du))
        return _edge((petals - radius) * np.float32(2.4) - np.float32(0.1)) * _edge(
            radius * np.float32(2.8) - np.float32(0.2)
        )


def _edge(wave: Floats) -> Floats:
    return np.asarray(np.clip(wave * 5 + np.float32(0.5), 0, 1), np.float32)


class Canvas:
    """A transparent picture with premultiplied colour: `planes` (3, h, w) 0..255 and `alpha` (h, w) 0..1, float32."""

    def __init__(
        self, *, height: int, width: int, unit: float, origin: tuple[float, float], to_light: tuple[float, float]
    ) -> None:
        self.planes: Floats = np.zeros((3, height, width), np.float32)
        self.alpha: Floats = np.zeros((height, width), np.float32)
        self.unit, self.origin, self.to_light = unit, np.array(origin), np.array(to_light)

    def paint(
        self,
        points: Points,
        cloth: Fabric | Colour,
        *,
        depth: float = 1.0,
        shadow: float = 0.35,
        folds: Floats | None = None,
        opacity: float = 1.0,
    ) -> None:
        """Paint one closed shape given in figure units.

        Args:
            points: (N, 2) outline in figure units (1 = the person's height), origin between the feet's centre line.
            cloth: Fabric or plain colour.
            depth: how round it looks: 0 is flat, 1 the usual.
            shadow: strength of the soft shadow it throws on what lies below, 0..1.
            folds: (K, 5) rows of x0, y0, x1, y1, strength: soft creases.
            opacity: 0..1.
        """
        pixels = np.asarray(points) * self.unit + self.origin
        volume = _thickness(pixels)
        pad = int(min(0.6 * volume, 0.035 * self.unit) + 0.02 * self.unit) + 3
        height, width = self.alpha.shape
        x0, y0 = np.maximum(np.floor(pixels.min(0)).astype(int) - pad, 0)
        x1, y1 = np.minimum(np.ceil(pixels.max(0)).astype(int) + pad, [width, height])
        if x1 - x0 < 3 or y1 - y0 < 3:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fixed = np.round((pixels - [x0, y0]) * (1 << _BITS)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _BITS)
        if shadow > 0:
            self._throw_shadow(mask, (x0, y0), shadow)
        light = self._light(mask, volume, depth)
        if folds is not None:
            light = np.maximum(light - self._creases(folds, mask.shape, (x0, y0)), 0)
        cover = mask.astype(np.float32) * np.float32(opacity / 255)
        self._lay(cloth, light, cover, (x0, y0))
        alpha = self.alpha[y0:y1, x0:x1]
        alpha += (1 - alpha) * cover

    def _throw_shadow(self, mask: NDArray[np.uint8], corner: tuple[int, int], strength: float) -> None:
        height, width = mask.shape
        reach = 0.011 * self.unit
        size = 2 * int(0.008 * self.unit) + 3
        move = np.array([[1, 0, -self.to_light[0] * reach], [0, 1, -self.to_light[1] * reach]])
        fall = cv2.blur(cv2.warpAffine(mask, move, (width, height)), (size, size))
        below = self.planes[:, corner[1] : corner[1] + height, corner[0] : corner[0] + width]
        below *= 1 - fall.astype(np.float32) * np.float32(strength / 255)

    def _light(self, mask: NDArray[np.uint8], volume: float, depth: float) -> Floats:
        size = 2 * int(np.clip(0.38 * volume, 1, 0.05 * self.unit)) + 1
        reach = 0.42 * size
        move = np.array([[1, 0, self.to_light[0] * reach], [0, 1, self.to_light[1] * reach]])
        soft = cv2.blur(cv2.blur(mask, (size, size)), (size, size))
        soft = cv2.warpAffine(soft, move, mask.shape[::-1])
        light = np.clip((soft.astype(np.float32) / 255 - np.float32(0.18)) * np.float32(1.35), 0, 1)
        return np.asarray(1 - np.float32(depth) * (1 - light), np.float32)

    def _creases(self, folds: Floats, shape: tuple[int, ...], corner: tuple[int, int]) -> Floats:
        dark = np.zeros(shape[:2], np.float32)
        for fx0, fy0, fx1, fy1, strength in folds:
            ends = np.array([[fx0, fy0], [fx1, fy1]]) * self.unit + self.origin - corner
            start, end = np.round(ends * (1 << _BITS)).astype(int)
            thick = max(1, int(0.009 * self.unit))
            cv2.line(dark, start.tolist(), end.tolist(), float(strength), thick, cv2.LINE_AA, _BITS)
        size = 2 * int(0.007 * self.unit) + 1
        return np.asarray(cv2.blur(cv2.blur(dark, (size, size)), (size, size)), np.float32)

    def _lay(self, cloth: Fabric | Colour, light: Floats, cover: Floats, corner: tuple[int, int]) -> None:
        """Blend lit cloth over what is there, one colour plane after the other (twice as fast as all at once)."""
        fabric = cloth if isinstance(cloth, Fabric) else Fabric(cloth)
        height, width = light.shape
        weight = None
        if fabric.pattern != "plain":
            x = np.arange(corner[0], corner[0] + width, dtype=np.float32) - np.float32(self.origin[0])
            y = np.arange(corner[1], corner[1] + height, dtype=np.float32) - np.float32(self.origin[1])
            weight = fabric.weight(*np.meshgrid(x / np.float32(self.unit), y / np.float32(self.unit)))
        for k in range(3):
            dark, bright = _shades(fabric.colour[k], k)
            lit = light * (bright - dark) + dark
            if weight is not None:
                dark, bright = _shades(fabric.second[k], k)
                lit += (light * (bright - dark) + dark - lit) * weight
            plane = self.planes[k, corner[1] : corner[1] + height, corner[0] : corner[0] + width]
            lit -= plane
            lit *= cover
            plane += lit


def _shades(level: float, channel: int) -> tuple[np.float32, np.float32]:
    """Return a colour channel in the shadow and in the light."""
    return np.float32(level * _SHADOW_TINT[channel]), np.float32(min(level * 1.06 + 7, 255))


def _thickness(pixels: Points) -> float:
    ring = pixels.astype(np.float32)
    return float(2 * abs(cv2.contourArea(ring)) / max(cv2.arcLength(ring, True), 1.0))
