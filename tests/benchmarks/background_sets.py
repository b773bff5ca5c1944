"""Crops to find out on how far a model leans on the background; drawn by the code of samples/, the same each time.

`write_biased` draws a set in which the place predicts the class in 95 of 100 pictures of train and val, and tells
nothing in test; every person of test is drawn on both: crops `test`, and `test_like_training` beside them.
`write_samples` cuts the sample group by its true masks, its backgrounds as they are.
Both have places without people in the splits of a background set, of other draws and of every kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from samples.body import Build, draw_pose
from samples.face import draw_face, draw_hat
from samples.figure import Person, draw_figure
from samples.indoors import room
from samples.make import make_samples, read_records
from samples.outdoors import beach, park, street
from samples.outfit import CLASSES, draw_outfit
from samples.scenes import draw_scene
from silhouette.build_dataset.encoding import jpeg_of, png_of
from silhouette.build_dataset.splits import assign_splits
from silhouette.contracts import crops
from silhouette.contracts.crops import BACKGROUND_TEST, BACKGROUND_TRAIN, CropRow, CropsHead
from silhouette.contracts.dataset import PictureRow
from silhouette.imaging import cut_person, open_picture

LIKE_TRAINING = "test_like_training"
BIAS = 0.95
PLACES = dict(zip(CLASSES, (street, park, room, beach), strict=True))
_SIDE = 288  # of a drawn picture, pixels
_MARGIN = 0.03

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many pictures are drawn: of the biased set by split, of the sample group, of places for training."""

    train: int
    val: int
    test: int
    samples: int
    places: int
    crop_size: int


def write_biased(folder: Path, size: Size, *, background: str, seed: int = 3) -> None:
    """Draw the set in which the place predicts the class; the crops' own background is ``keep`` or ``grey``."""
    counts = {"train": size.train, "val": size.val, "test": size.test}
    items = [(split, number) for split, count in counts.items() for number in range(count)]
    draw = partial(_biased_rows, crop_size=size.crop_size, background=background, seed=seed)
    rows = [row for part in _on_all_cores(draw, items) for row in part]
    rows += _places(size, seed)
    _write(folder, rows, size=size, background=background, group="the place predicts the class")


def write_samples(folder: Path, size: Size, *, background: str, drawn: Path) -> None:
    """Cut the sample group, which is drawn into `drawn` unless it is there."""
    make_samples(drawn, count=size.samples)
    records = read_records(drawn)
    pictures = [
        PictureRow(
            picture_id=record.picture_id, object_key="", sha256=record.sha256, width=record.width,
            height=record.height, label=record.label, pixset_id=record.pixset_id,
        )
        for record in records
    ]  # fmt: skip
    splits = assign_splits(pictures, val_fraction=0.15, test_fraction=0.15, seed=17)
    rows = []
    for record in records:
        pixels = open_picture((drawn / record.file).read_bytes()).pixels
        mask = np.asarray(cv2.imread(str(drawn / record.mask), cv2.IMREAD_UNCHANGED) == 1, np.uint8) * np.uint8(255)
        cut = cut_person(pixels, mask, _box(mask), size=size.crop_size, margin=_MARGIN, background=background)
        split = splits[record.picture_id]
        rows.append(_row(record.picture_id, record.pixset_id, label=record.label, split=split, cut=cut))
    _write(folder, rows + _places(size, 4), size=size, background=background, group="outfit")


def _biased_rows(item: tuple[str, int], *, crop_size: int, background: str, seed: int) -> list[CropRow]:
    cv2.setNumThreads(1)
    split, number = item
    rng = np.random.default_rng([seed, ("train", "val", "test").index(split), number])
    label = CLASSES[number % len(CLASSES)]
    other = [name for name in CLASSES if name != label]
    biased = label if rng.random() < BIAS else other[int(rng.integers(len(other)))]
    anywhere = CLASSES[int(rng.integers(len(CLASSES)))]
    person = Person(
        Build.draw(rng),
        draw_face(rng),
        draw_hat(rng),
        draw_outfit(rng, label),
        draw_pose(rng),
        int(rng.integers(1 << 31)),
    )
    figure = draw_figure(person, height_px=float(rng.uniform(0.78, 0.9)) * _SIDE, to_light=(0.5, -0.87))
    wanted = {split: biased} if split != "test" else {split: anywhere, LIKE_TRAINING: biased}
    rows = []
    for name, place in wanted.items():
        scene = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        PLACES[place](scene, rng, int(_SIDE * rng.uniform(0.46, 0.6)))
        scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), float(rng.uniform(0.5, 2.0))), np.uint8)
        pixels, mask = _stand(scene, figure.rgb, figure.alpha, figure.feet)
        cut = cut_person(pixels, mask, _box(mask), size=crop_size, margin=_MARGIN, background=background)
        rows.append(_row(f"{split} {number}", f"{split} {number}", label=label, split=name, cut=cut))
    return rows


def _stand(
    scene: Pixels, rgb: npt.NDArray[np.float32], alpha: npt.NDArray[np.float32], feet: tuple[float, float]
) -> tuple[Pixels, Pixels]:
    """Put a figure (premultiplied) into the middle of a scene; return the picture and the figure's mask."""
    x, y = round(_SIDE / 2 - feet[0]), round(0.96 * _SIDE - feet[1])
    top, left = max(0, y), max(0, x)
    bottom, right = min(_SIDE, y + alpha.shape[0]), min(_SIDE, x + alpha.shape[1])
    cut = (slice(top - y, bottom - y), slice(left - x, right - x))
    picture, mask = scene.astype(np.float32), np.zeros((_SIDE, _SIDE), np.uint8)
    picture[top:bottom, left:right] = picture[top:bottom, left:right] * (1 - alpha[cut][..., None]) + rgb[cut]
    mask[top:bottom, left:right] = np.where(alpha[cut] >= 0.5, np.uint8(255), np.uint8(0))
    return np.asarray(np.clip(picture, 0, 255), np.uint8), mask


def _places(size: Size, seed: int) -> list[CropRow]:
    rows = []
    for split, count in ((BACKGROUND_TRAIN, size.places), (BACKGROUND_TEST, max(2, size.places // 4))):
        for number in range(count):
            rng = np.random.default_rng([seed, 9, len(split), number])
            scene = draw_scene(rng, width=_SIDE, height=_SIDE).rgb
            side = int(_SIDE * rng.uniform(0.6, 1))
            x, y = (int(rng.integers(_SIDE - side + 1)) for _ in range(2))
            view = cv2.resize(scene[y : y + side, x : x + side], (size.crop_size,) * 2, interpolation=cv2.INTER_AREA)
            cut = np.asarray(view, np.uint8), None
            rows.append(_row(f"{split} {number}", f"{split} {number}", label="", split=split, cut=cut))
    return rows


def _row(picture_id: str, pixset_id: str, *, label: str, split: str, cut: tuple[Pixels, Pixels | None]) -> CropRow:
    pixels, mask = cut
    return CropRow(
        picture_id=picture_id, pixset_id=pixset_id, sha256=hashlib.sha256(picture_id.encode()).hexdigest(),
        person_index=-1 if mask is None else 0, box_xyxy=(0.0, 0.0, 1.0, 1.0), score=1.0, label=label, split=split,
        jpeg=jpeg_of(pixels), mask_png=b"" if mask is None else png_of(mask),
    )  # fmt: skip


def _write(folder: Path, rows: list[CropRow], *, size: Size, background: str, group: str) -> None:
    counts = {split: dict.fromkeys(CLASSES, 0) for split in ("train", "val", "test")}
    for row in rows:
        if row.split in counts:
            counts[row.split][row.label] += 1
    head = CropsHead(
        group=group, classes=list(CLASSES), crop_size=size.crop_size, crop_margin=_MARGIN, background=background,
        seed=0, dataset_digest="drawn", snapshot_digest="drawn", counts=counts, skipped={}, background_digest="drawn",
    )  # fmt: skip
    crops.write(folder, head, rows)


def _box(mask: Pixels) -> tuple[float, float, float, float]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _on_all_cores(draw: partial[list[CropRow]], items: list[tuple[str, int]]) -> Iterator[list[CropRow]]:
    if len(items) < 100:
        yield from map(draw, items)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, items, chunksize=16)
