"""Crops in plain colours, and a real ONNX model that names the colour that is strongest: what it leans on is known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from silhouette.contracts import crops
from silhouette.onnx_model import OnnxModel
from tests.deploy_model.bundles import write_onnx

CLASSES = ["red", "green", "blue"]
SIZE = 32


def colour_model(folder: Path) -> OnnxModel:
    """A model that sees the mean of each channel, of the person and of what is around alike."""
    write_onnx(folder / "model.onnx", weights=(np.eye(3) * 40).astype(np.float32), size=SIZE)
    return OnnxModel(folder / "model.onnx")


def _encoded(pixels: np.ndarray, file_format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format)
    return stream.getvalue()


def write_painted(
    folder: Path,
    *,
    coloured: str,
    background: str = "keep",
    per_class: int = 6,
    background_set: bool = False,
    without: str = "",
) -> crops.CropsHead:
    """Write crops whose `coloured` part, "person" or "background", has the colour of the class; the other is grey.

    `background_set` adds white backgrounds; `without` leaves a class out of the training split.
    """
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:24, 8:24] = 255
    rows = []
    for split in ("train", "val", "test"):
        for number in range(per_class * len(CLASSES)):
            label = CLASSES[number % 3]
            if split == "train" and label == without:
                continue
            pixels = np.full((SIZE, SIZE, 3), 100, np.uint8)
            inside = mask > 0
            pixels[inside if coloured == "person" else ~inside, number % 3] = 220
            if background == "grey":
                pixels[~inside] = 127
            rows.append(_row(split, number, pixels, mask, label))
    if background_set:
        white, nobody = np.full((SIZE, SIZE, 3), 255, np.uint8), np.zeros_like(mask)
        rows += [_row("background_test", number, white, nobody, "") for number in range(3)]
    head = crops.CropsHead(
        group="colours", classes=CLASSES, crop_size=SIZE, crop_margin=0.1, background=background, seed=1,
        dataset_digest="d" * 64, snapshot_digest="s" * 64, counts={}, skipped={},
    )  # fmt: skip
    return crops.write(folder, head, rows)


def _row(split: str, number: int, pixels: np.ndarray, mask: np.ndarray, label: str) -> crops.CropRow:
    return crops.CropRow(
        picture_id=f"{split}-{number}", pixset_id=f"{split}-{number // 3}", sha256=f"{number:064x}", person_index=0,
        box_xyxy=(0.0, 0.0, 20.0, 20.0 + number), score=0.9, label=label, split=split,
        jpeg=_encoded(pixels, "PNG"), mask_png=_encoded(mask, "PNG"),
    )  # fmt: skip
