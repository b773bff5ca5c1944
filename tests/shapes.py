"""Crops to learn from in seconds: coloured shapes as the people, with their masks, and a recipe that learns them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from silhouette.config import TrainingConfig, load_config
from silhouette.contracts import crops

CLASSES = ["circle", "square", "ring"]
BACKBONE = "random:test_efficientnet"  # 0.4 million parameters: timm keeps it for tests
_COLOURS = [(200, 60, 60), (60, 170, 80), (60, 90, 210)]


def recipe(**changes: Any) -> TrainingConfig:
    """The shipped recipe made fit for a tiny network without weights."""
    small = {
        "epochs": 2, "frozen_epochs": 0, "frozen_share": 0.0, "train_scale": 1.0, "batch_size": 8,
        "learning_rate": 0.01, "backbone_lr_scale": 1.0, "mixup": 0.0,
    }  # fmt: skip
    return TrainingConfig.model_validate(load_config({}).training.model_dump() | small | changes)


def draw(kind: int, random: np.random.Generator, *, size: int) -> tuple[bytes, bytes]:
    """Draw one crop: (JPEG, mask as PNG)."""
    ground = tuple(int(value) for value in random.integers(90, 170, 3))
    picture, mask = Image.new("RGB", (size, size), ground), Image.new("L", (size, size))
    x, y = (int(value) for value in random.integers(size // 8, size // 4, 2))
    box = (x, y, x + size * 5 // 8, y + size * 5 // 8)
    for canvas, colour in ((picture, _COLOURS[kind % 3]), (mask, 255)):
        pen = ImageDraw.Draw(canvas)
        if CLASSES[kind % 3] == "square":
            pen.rectangle(box, fill=colour)
        else:
            pen.ellipse(box, fill=colour)
        if CLASSES[kind % 3] == "ring":
            pen.ellipse((x + size // 5, y + size // 5, box[2] - size // 5, box[3] - size // 5),
                        fill=ground if canvas is picture else 0)  # fmt: skip
    jpeg, png = io.BytesIO(), io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    mask.save(png, "PNG")
    return jpeg.getvalue(), png.getvalue()


def _place(number: int, *, size: int) -> bytes:
    """Draw stripes, of other colours and widths for every number."""
    random = np.random.default_rng([7, number])
    stripes = np.arange(size) // int(random.integers(2, 9)) % 2
    pixels = random.integers(0, 256, (2, 3), dtype=np.uint8)[stripes]
    jpeg = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (size, size, 3)))).save(jpeg, "JPEG", quality=90)
    return jpeg.getvalue()


def write_shapes(
    folder: Path,
    *,
    per_class: dict[str, int] | None = None,
    size: int = 64,
    shuffled: bool = False,
    classes: list[str] | None = None,
    picture_name: str = "{}",
    group: str = "shapes",
    places: dict[str, int] | None = None,
    background: str = "keep",
) -> crops.CropsHead:
    """Write a folder of crops; `shuffled` gives every crop a random label instead of its own.

    `places` are views without people, by split.
    """
    per_class = per_class or {"train": 20, "val": 6, "test": 8}
    names, random, rows = classes or CLASSES, np.random.default_rng(5), []
    for split, count in per_class.items():
        for number in range(count * len(names)):
            kind = number % len(names)
            jpeg, mask_png = draw(kind, random, size=size)
            label = names[int(random.integers(len(names)))] if shuffled else names[kind]
            rows.append(
                crops.CropRow(
                    picture_id=picture_name.format(f"{split}-{number}"), pixset_id=f"{split}-{number // 4}",
                    sha256=f"{len(rows):064x}", person_index=0, box_xyxy=(0.0, 0.0, float(size), float(size)),
                    score=0.9, label=label, split=split, jpeg=jpeg, mask_png=mask_png,
                )
            )  # fmt: skip
    for split, count in (places or {}).items():
        for number in range(count):
            rows.append(
                crops.CropRow(
                    picture_id=f"{split}-{number}", pixset_id="", sha256=f"{len(rows):064x}", person_index=-1,
                    box_xyxy=(0.0, 0.0, float(size), float(size)), score=0.0, label="", split=split,
                    jpeg=_place(number, size=size), mask_png=b"",
                )
            )  # fmt: skip
    counts = {
        split: {name: sum(row.split == split and row.label == name for row in rows) for name in names}
        for split in per_class
    }
    head = crops.CropsHead(
        group=group, classes=names, crop_size=size, crop_margin=0.1, background=background, seed=5,
        dataset_digest="d" * 64, snapshot_digest="s" * 64, counts=counts, skipped={},
    )  # fmt: skip
    return crops.write(folder, head, rows)
