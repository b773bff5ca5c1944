"""How honest the released model is about how sure it is, on more than 2,000 drawn test crops.

Shapes half hidden in noise, so that the network is wrong now and then; trained by the shipped recipe's losses, exported
as every model is, the temperature fitted on val alone. What is measured is the ECE of the ONNX file's answers; the line
on standard error has the ECE without the temperature beside it.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from silhouette.contracts import crops as crops_contract
from silhouette.contracts import model_bundle
from silhouette.evaluate_model.calibration import calibration_of
from silhouette.evaluate_model.evaluate import answer
from silhouette.export_model.export import export_model
from silhouette.onnx_model import OnnxModel
from silhouette.train_classifier.train import train_classifier
from tests.benchmarks import Benchmark
from tests.shapes import BACKBONE, CLASSES, draw, recipe

SIZE = 48
NOISE = 75.0  # standard deviation, of 255
SPLITS = {"train": 1500, "val": 900, "test": 2100}


def _rows(splits: dict[str, int]) -> Iterator[crops_contract.CropRow]:
    random = np.random.default_rng(11)
    for split, count in splits.items():
        for number in range(count):
            jpeg, mask_png = draw(number % 3, random, size=SIZE)
            pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), np.float32)[:, :, None]  # no colour to go by
            noisy = np.clip(pixels + random.normal(0, NOISE, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(noisy).save(stream, "JPEG", quality=90)
            yield crops_contract.CropRow(
                picture_id=f"{split}-{number}", pixset_id="", sha256=f"{number:064x}", person_index=0,
                box_xyxy=(0.0, 0.0, float(SIZE), float(SIZE)), score=0.9, label=CLASSES[number % 3], split=split,
                jpeg=stream.getvalue(), mask_png=mask_png,
            )  # fmt: skip


@contextmanager
def released(splits: dict[str, int], epochs: int) -> Iterator[Path]:
    """Train and export a model of drawn crops; the folder has `crops` and `bundle`."""
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as name:
        folder = Path(name)
        head = crops_contract.CropsHead(
            group="shapes", classes=CLASSES, crop_size=SIZE, crop_margin=0.1, background="keep", seed=5,
            dataset_digest="d" * 64, snapshot_digest="s" * 64, skipped={},
            counts={split: dict.fromkeys(CLASSES, count // 3) for split, count in splits.items()},
        )  # fmt: skip
        crops_contract.write(folder / "crops", head, _rows(splits))
        train_classifier(
            crops=folder / "crops", out=folder / "training", experiment="e", device="cpu", backbone=BACKBONE,
            config=recipe(epochs=epochs, batch_size=32, random_erasing=0.0),
        )  # fmt: skip
        export_model(crops=folder / "crops", training=folder / "training", out=folder / "bundle")
        yield folder


def ece(folder: Path) -> float:
    card = model_bundle.read(folder / "bundle")
    table = crops_contract.CropTable(folder / "crops", "test")
    test = answer(OnnxModel(folder / "bundle" / "model.onnx"), table, card.classes)
    found = calibration_of(test, temperature=card.temperature, seed=1)
    print(
        f"{len(table)} test crops, accuracy {np.mean(test.predicted == test.labels):.3f}, temperature"
        f" {card.temperature:.3f} from {card.temperature_crops} val crops: ECE {found.before.ece:.4f} without it,"
        f" {found.after.ece:.4f} released, {found.ece_by_chance:.4f} possible by chance; adaptive"
        f" {found.before.adaptive_ece:.4f}, {found.after.adaptive_ece:.4f}; NLL {found.before.nll:.4f},"
        f" {found.after.nll:.4f}; Brier {found.before.brier:.4f}, {found.after.brier:.4f}",
        file=sys.stderr,
    )
    return found.after.ece


BENCHMARK = Benchmark(
    name="evaluate.ece", ours=ece, other=0.03, unit="ECE", repetitions=1, warmups=0,
    setup=partial(released, SPLITS, 6), small=partial(released, {"train": 60, "val": 60, "test": 60}, 1),
)  # fmt: skip
