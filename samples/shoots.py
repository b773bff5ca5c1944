"""The plan of the sample group: who wears what, where and in which light, all from one seed; and one composed picture.

Reads and writes nothing. A shoot (a pixset) shares one background, one model and one light; pictures of one label in
it share the outfit. Labels are dealt out at random over all pictures, so nothing but the clothes goes with the class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from samples.backdrop import Pixels
from samples.body import Build, Rng, draw_pose
from samples.canvas import Floats
from samples.face import Face, draw_face, draw_hat
from samples.figure import Cutout, Person, draw_figure
from samples.outfit import CLASSES, draw_outfit
from samples.scenes import Scene, draw_scene

CLASS_SHARES = {"dress": 0.27, "skirt": 0.23, "trousers": 0.28, "shorts": 0.22}
LONG_SIDE, SHORT_SIDE = 640, 480
SCENE_MARGIN = 1.16  # the scene is drawn this much larger than a picture, so that each picture crops it elsewhere
_MIN_VISIBLE_SHARE = 0.0016  # of the picture: a companion of whom less can be seen is left out
_MAX_HIDDEN = 0.42  # of the main person


@dataclass(frozen=True)
class Shoot:
    """One pixset: its number and the labels of its pictures."""

    seed: int
    number: int
    first_picture: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """A finished picture: (h, w, 3) uint8 RGB, (h, w) uint8 mask (1 is the main person), boxes x0, y0, x1, y1."""

    rgb: Pixels
    mask: Pixels
    boxes_xyxy: tuple[tuple[int, int, int, int], ...]


def plan_shoots(*, count: int, seed: int) -> list[Shoot]:
    """Deal `count` pictures out over shoots of 4 to 8 and labels over pictures."""
    rng = np.random.default_rng([seed, 11])
    exact = {name: share * count for name, share in CLASS_SHARES.items()}
    quota = {name: int(value) for name, value in exact.items()}
    for name in sorted(CLASSES, key=lambda n: quota[n] - exact[n])[: count - sum(quota.values())]:
        quota[name] += 1
    labels = [name for name in CLASSES for _ in range(quota[name])]
    rng.shuffle(labels)
    shoots: list[Shoot] = []
    done = 0
    while done < count:
        left = count - done
        sizes = [size for size in range(4, 9) if left == size or left - size >= 4] or [left]
        size = int(rng.choice(sizes))
        shoots.append(Shoot(seed, len(shoots), done, tuple(labels[done : done + size])))
        done += size
    return shoots


def draw_shoot(shoot: Shoot) -> list[Drawn]:
    """Draw all pictures of a shoot."""
    cv2.setNumThreads(1)  # several processes draw at once; also keeps the result independent of the machine
    rng = np.random.default_rng([shoot.seed, 12, shoot.number])
    width, height = (SHORT_SIDE, LONG_SIDE) if rng.random() < 0.7 else (LONG_SIDE, SHORT_SIDE)
    scene = draw_scene(rng, width=int(width * SCENE_MARGIN), height=int(height * SCENE_MARGIN))
    side = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.45, 0.85))
    look = _Look((side, -float(np.sqrt(1 - side * side))), rng.uniform(-1, 1, 3), float(rng.uniform(0, 1)))
    build, face = Build.draw(rng), draw_face(rng)
    outfits = {label: (draw_outfit(rng, label), draw_hat(rng)) for label in CLASSES}
    drawn = []
    for k, label in enumerate(shoot.labels):
        own = np.random.default_rng([shoot.seed, 13, shoot.number, k])
        outfit, hat = outfits[label]
        main = Person(build, face, hat, outfit, draw_pose(own), int(own.integers(1 << 31)))
        drawn.append(_compose(own, scene, look, main, width=width, height=height))
    return drawn


@dataclass(frozen=True)
class _Look:
    to_light: tuple[float, float]
    warmth: NDArray[np.float64]
    contrast: float


def _compose(rng: Rng, scene: Scene, look: _Look, main: Person, *, width: int, height: int) -> Drawn:
    zoom = float(rng.uniform(1.0, SCENE_MARGIN - 0.02))
    crop = (int(width * zoom), int(height * zoom))
    x, y = int(rng.integers(scene.rgb.shape[1] - crop[0])), int(rng.integers(scene.rgb.shape[0] - crop[1]))
    view = scene.rgb[y : y + crop[1], x : x + crop[0]]
    picture = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    placed = _place(rng, main, look, (scene.horizon - y) / zoom, width=width, height=height)
    kept, masks = _keep_readable(placed, width=width, height=height)
    for item in kept:
        _shade_ground(picture, item, look)
    for item in kept:
        _paste(picture, item)
    numbers = np.zeros((height, width), np.uint8)
    order = sorted(range(len(kept)), key=lambda i: not kept[i].is_main)
    for number, i in enumerate(order, start=1):
        numbers[masks[i]] = number
    if rng.random() < 0.06:
        _plant_in_front(rng, picture, numbers, width=width, height=height)
    rgb = _grade(rng, picture, look)
    return Drawn(rgb, numbers, tuple(_box(numbers == n) for n in range(1, len(kept) + 1) if (numbers == n).any()))


@dataclass(frozen=True)
class _Placed:
    cutout: Cutout
    x: int
    y: int
    height_px: float
    is_main: bool


def _place(rng: Rng, main: Person, look: _Look, horizon: float, *, width: int, height: int) -> list[_Placed]:
    framing = str(rng.choice(["full", "cut", "side", "small"], p=[0.70, 0.14, 0.08, 0.08]))
    tall, feet = height * float(rng.uniform(0.70, 0.88)), height * float(rng.uniform(0.91, 0.975))
    centre = width * float(rng.uniform(0.34, 0.66))
    if framing == "cut":
        tall = height * float(rng.uniform(1.02, 1.28))
        feet = height * float(rng.uniform(0.04, 0.11)) + tall
    elif framing == "side":
        centre = width * float(rng.uniform(0.01, 0.09))
        centre = width - centre if rng.random() < 0.5 else centre
    elif framing == "small":
        tall, feet = height * float(rng.uniform(0.47, 0.62)), height * float(rng.uniform(0.84, 0.95))
    placed = [_stand(main, look, centre, feet, tall, is_main=True)]
    many = int(rng.choice([0, 1, 2, 3], p=[0.62, 0.24, 0.09, 0.05]))
    for _ in range(many):
        kind = str(rng.choice(["behind", "beside", "far", "front"], p=[0.40, 0.18, 0.35, 0.07]))
        scale = {"behind": (0.70, 0.88), "beside": (0.90, 0.97), "far": (0.36, 0.58), "front": (0.55, 0.66)}[kind]
        size = float(rng.uniform(*scale))
        offset = (
            float(rng.choice([-1, 1]))
            * tall
            * float(
                rng.uniform(
                    *{"behind": (0.10, 0.40), "beside": (0.26, 0.42), "far": (0.16, 0.7), "front": (0.13, 0.25)}[kind]
                )
            )
        )
        ground = horizon + size * (feet - horizon) if kind != "front" else feet + 0.02 * height
        other = _someone(rng)
        if kind == "front":
            other = replace(other, build=replace(other.build, head=1.34, legs=0.93, limbs=other.build.limbs * 1.05))
        placed.append(_stand(other, look, centre + offset, ground, size * tall, is_main=False))
    return sorted(placed, key=lambda item: item.y + item.cutout.feet[1])


def _someone(rng: Rng) -> Person:
    face: Face = draw_face(rng)
    label = CLASSES[int(rng.integers(len(CLASSES)))]
    return Person(
        Build.draw(rng), face, draw_hat(rng), draw_outfit(rng, label), draw_pose(rng), int(rng.integers(1 << 31))
    )


def _stand(person: Person, look: _Look, centre: float, feet: float, tall: float, *, is_main: bool) -> _Placed:
    cutout = draw_figure(person, height_px=tall, to_light=look.to_light)
    return _Placed(cutout, round(centre - cutout.feet[0]), round(feet - cutout.feet[1]), tall, is_main)


def _window(item: _Placed, width: int, height: int) -> tuple[slice, slice, slice, slice] | None:
    h, w = item.cutout.alpha.shape
    x0, y0, x1, y1 = max(0, item.x), max(0, item.y), min(width, item.x + w), min(height, item.y + h)
    if x1 <= x0 or y1 <= y0:
        return None
    return slice(y0, y1), slice(x0, x1), slice(y0 - item.y, y1 - item.y), slice(x0 - item.x, x1 - item.x)


def _keep_readable(placed: list[_Placed], *, width: int, height: int) -> tuple[list[_Placed], list[NDArray[np.bool_]]]:
    """Leave out companions of whom hardly anything shows, who hide the main person or look larger; back to front."""
    kept = list(placed)
    while True:
        masks = [_visible(i, kept, width=width, height=height) for i in range(len(kept))]
        areas = [int(mask.sum()) for mask in masks]
        main = next(i for i, item in enumerate(kept) if item.is_main)
        alone = int(_visible(0, [kept[main]], width=width, height=height).sum())
        bad = [
            i
            for i, area in enumerate(areas)
            if i != main and (area < _MIN_VISIBLE_SHARE * width * height or area > 0.8 * areas[main])
        ]
        if areas[main] < (1 - _MAX_HIDDEN) * alone:
            bad += list(range(main + 1, len(kept)))
        if not bad:
            return kept, masks
        kept.pop(max(bad))


def _visible(index: int, items: list[_Placed], *, width: int, height: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    for i in range(index, len(items)):
        window = _window(items[i], width, height)
        if window is not None:
            rows, columns, from_rows, from_columns = window
            covered = items[i].cutout.alpha[from_rows, from_columns] >= 0.5
            mask[rows, columns] = covered if i == index else mask[rows, columns] & ~covered
    return mask


def _shade_ground(picture: Floats, item: _Placed, look: _Look) -> None:
    """Multiply a soft cast shadow and a darker contact shadow into the floor."""
    height, width = picture.shape[:2]
    scale = 4
    small = cv2.resize(item.cutout.alpha, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    fx, fy = item.x + item.cutout.feet[0], item.y + item.cutout.feet[1] - 0.012 * item.height_px
    lean, flat = -0.75 * look.to_light[0], 0.20
    matrix = np.array(
        [
            [1.0, -lean, fx / scale - item.cutout.feet[0] / scale + lean * item.cutout.feet[1] / scale],
            [0.0, flat, fy / scale - flat * item.cutout.feet[1] / scale],
        ]
    )
    cast = cv2.warpAffine(small, matrix, (width // scale, height // scale))
    blur = max(1.2, 0.007 * item.height_px)
    cast = 0.34 * cv2.GaussianBlur(cast, (0, 0), blur)
    contact = np.zeros_like(cast)
    cv2.ellipse(
        contact,
        (int(fx / scale), int(fy / scale)),
        (max(2, int(0.12 * item.height_px / scale)), max(1, int(0.018 * item.height_px / scale))),
        0,
        0,
        360,
        0.42,
        -1,
    )
    contact = cv2.GaussianBlur(contact, (0, 0), blur)
    dark = cv2.resize(np.maximum(cast, contact), (width, height), interpolation=cv2.INTER_LINEAR)
    picture *= 1 - dark[..., None]


def _paste(picture: Floats, item: _Placed) -> None:
    window = _window(item, picture.shape[1], picture.shape[0])
    if window is None:
        return
    rows, columns, from_rows, from_columns = window
    alpha = item.cutout.alpha[from_rows, from_columns, None]
    picture[rows, columns] = picture[rows, columns] * (1 - alpha) + item.cutout.rgb[from_rows, from_columns]


def _plant_in_front(rng: Rng, picture: Floats, numbers: Pixels, *, width: int, height: int) -> None:
    """Let a bush at the lower border hide a part of the legs; it belongs to nobody's mask."""
    leaf = np.array([70, 112, 62]) * rng.uniform(0.7, 1.3) + rng.uniform(-14, 14, 3)
    cover = np.zeros((height, width), np.uint8)
    start, span = float(rng.uniform(-0.1, 0.7)) * width, float(rng.uniform(0.25, 0.5)) * width
    tall, many = float(rng.uniform(0.10, 0.25)) * height, 260
    for k in range(many):  # from the rim inwards and from dark to bright
        x, u = start + span * float(rng.random()), float(rng.random()) ** 1.5 * (1 - 0.6 * k / many)
        arch = np.sin(np.pi * np.clip((x - start) / span, 0, 1)) ** 0.5
        at = (int(x), int(height - tall * arch * (u if k > 130 else k / 130)))
        radius = int(rng.uniform(8, 17) * (1.25 - 0.6 * k / many))
        shade = leaf * (0.55 + 0.6 * k / many) * rng.uniform(0.9, 1.1)
        cv2.circle(picture, at, radius, shade.tolist(), -1, cv2.LINE_AA)
        cv2.circle(cover, at, radius, 255, -1)
    numbers[cover > 0] = 0


def _grade(rng: Rng, picture: Floats, look: _Look) -> Pixels:
    height, width = picture.shape[:2]
    gain = 1 + np.array([0.06, 0.02, -0.06]) * look.warmth[0] + 0.05 * look.warmth[1]
    graded = picture * gain.astype(np.float32)
    mean = np.float32(126)
    graded = mean + (graded - mean) * np.float32(0.88 + 0.22 * look.contrast)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    graded *= (1 - np.float32(0.10) * (x * x + y * y) ** 2 / 2)[..., None]
    grain = rng.integers(-4, 5, (height, width)).astype(np.float32)
    return np.asarray(np.clip(graded + grain[..., None], 0, 255), np.uint8)


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
