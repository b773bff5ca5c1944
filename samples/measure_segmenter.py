"""Measure the committed segmenter on drawn pictures: `python -m samples.measure_segmenter --on FOLDER`.

Reads a folder that `samples.make` drew and model/people-seg.pt, through the same detector as `segment_people`.
Writes nothing; `samples.train_segmenter` puts the figures into the model card.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from samples.make import read_records

MODEL_FOLDER = Path(__file__).parent / "model"
MODEL_FILE = "people-seg.pt"
IMAGE_SIZE = 640  # what segment_people shows its model by default
FOUND_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class SegmenterFigures:
    """How well the main person of each picture is found, at a score of 0.25.

    `found` is the share of pictures on which a detection has an IoU of at least 0.5 with the main person's true mask;
    `mean_iou` the mean of the best IoU over all pictures, misses counted as they are; `largest_is_main` the share on
    which the largest detection is the main person; `extra_a_picture` detections beyond the people there are;
    `companions_found` the share of the other people that a detection has an IoU of at least 0.5 with.
    """

    pictures: int
    found: float
    mean_iou: float
    median_iou: float
    largest_is_main: float
    extra_a_picture: float
    companions_found: float


def measure(model: Path, samples: Path, *, limit: int | None = None, image_size: int = IMAGE_SIZE) -> SegmenterFigures:
    """Run the model over the first `limit` pictures of a drawn folder and compare with the true masks."""
    from silhouette.contracts.contours import to_mask
    from silhouette.detector import load_detector

    detector = load_detector(model, image_size=image_size, device="cpu")
    best: list[float] = []
    companions: list[bool] = []
    largest_is_main, extra = 0, 0
    for record in read_records(samples)[:limit]:
        with Image.open(samples / record.file) as picture, Image.open(samples / record.mask) as mask:
            upright = ImageOps.exif_transpose(picture)
            pixels, numbers = np.asarray(upright.convert("RGB")), np.asarray(mask)
        truth = numbers == 1
        height, width = truth.shape
        masks = [to_mask(person.contours, width=width, height=height) > 0 for person in detector.detect([pixels])[0]]
        overlaps = [_iou(mask, truth) for mask in masks]
        others = [numbers == number for number in range(2, len(record.people) + 1)]
        companions += [any(_iou(mask, other) >= FOUND_IOU for mask in masks) for other in others]
        best.append(max(overlaps, default=0.0))
        if masks and overlaps[int(np.argmax([int(mask.sum()) for mask in masks]))] >= FOUND_IOU:
            largest_is_main += 1
        extra += max(0, len(masks) - len(record.people))
    ious, count = np.array(best), len(best)
    return SegmenterFigures(
        pictures=count,
        found=float((ious >= FOUND_IOU).mean()),
        mean_iou=float(ious.mean()),
        median_iou=float(np.median(ious)),
        largest_is_main=largest_is_main / count,
        extra_a_picture=extra / count,
        companions_found=sum(companions) / max(1, len(companions)),
    )


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m samples.measure_segmenter", description="Measure the segmenter.")
    parser.add_argument("--on", type=Path, required=True, help="folder drawn by samples.make")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER / MODEL_FILE, help="default: the committed one")
    parser.add_argument("--limit", type=int, help="pictures (default: all)")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE, help="longest side seen (default %(default)s)")
    options = parser.parse_args()
    print(measure(options.model, options.on, limit=options.limit, image_size=options.image_size))


if __name__ == "__main__":
    main()
