"""The training pictures of the segmenter, drawn with a seed of their own and laid out as ultralytics reads them.

Reads what `samples.make` draws; writes FOLDER/drawn (the drawn group) and FOLDER/yolo: images/, labels/, data.yaml.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from samples.make import make_samples, read_records

_MIN_RING_AREA = 24  # pixels: crumbs of a half-hidden person are not worth a label


def prepare_dataset(folder: Path, *, pictures: int, seed: int) -> Path:
    """Draw pictures and write their polygons; return the data file's path.

    The pictures are copies: ultralytics writes caches beside its labels and rewrites some JPEG files. The few that are
    stored turned are left out, since their masks are upright.
    """
    drawn, data = folder / "drawn", folder / "yolo"
    make_samples(drawn, count=pictures, seed=seed)
    shutil.rmtree(data, ignore_errors=True)
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    for record in read_records(drawn):
        with Image.open(drawn / record.file) as picture:
            turned = picture.getexif().get(0x0112, 1) != 1
        if turned:
            continue
        shutil.copyfile(drawn / record.file, data / "images" / f"{record.picture_id}.jpg")
        with Image.open(drawn / record.mask) as mask:
            lines = _label_lines(np.asarray(mask))
        (data / "labels" / f"{record.picture_id}.txt").write_text("\n".join(lines) + "\n")
    description = {"path": str(data), "train": "images", "val": "images", "names": {0: "person"}}
    (data / "data.yaml").write_text(yaml.safe_dump(description))
    return data / "data.yaml"


def _label_lines(mask: NDArray[np.uint8]) -> list[str]:
    """Return one line a person: class and polygon, as shares of width and height."""
    from ultralytics.data.converter import merge_multi_segment

    height, width = mask.shape
    lines = []
    for number in range(1, int(mask.max()) + 1):
        found, _ = cv2.findContours((mask == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        rings = [ring.reshape(-1, 2) for ring in found if cv2.contourArea(ring) > _MIN_RING_AREA]
        if not rings:
            continue
        joined = rings[0]
        if len(rings) > 1:
            joined = np.concatenate(merge_multi_segment([ring.ravel().tolist() for ring in rings]))
        shares = (joined + 0.5) / [width, height]
        lines.append("0 " + " ".join(f"{value:.5f}" for value in shares.ravel()))
    return lines
