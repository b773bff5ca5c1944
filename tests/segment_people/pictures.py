"""A small dataset of made pictures, in a real store."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.store import Store

CLASSES = ("dress", "shorts")
WIDTH, HEIGHT = 90, 120


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def row(name: str, data: bytes, *, label: str = "dress", pixset_id: str = "", split: str = "") -> PictureRow:
    sha256 = hashlib.sha256(data).hexdigest()
    return PictureRow(
        picture_id=name,
        object_key=f"pictures/{sha256[:2]}/{sha256}.png",
        sha256=sha256,
        width=WIDTH,
        height=HEIGHT,
        label=label,
        pixset_id=pixset_id,
        split=split,
    )


def write_dataset(folder: Path, rows: list[PictureRow]) -> Path:
    ordered = tuple(sorted(rows, key=lambda item: item.picture_id))
    datasets.write(folder, Dataset(group="outfit", classes=CLASSES, rows=ordered))
    return folder


def put_dataset(store: Store, folder: Path, count: int) -> Path:
    """Write `count` different pictures and their dataset; classes take turns."""
    rows = []
    for number in range(count):
        data = png(number)
        rows.append(row(f"picture {number:03d}", data, label=CLASSES[number % 2]))
        store.put_bytes(rows[-1].object_key, data)
    return write_dataset(folder, rows)
