"""One training run: what `train_classifier` leaves for `export_model`.

A folder: `checkpoints/best.ckpt` (Lightning, weights under ``model.``), `csv_logs/metrics.csv`,
`train_batches/*.png` and `training.json` (this module).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

FILE_NAME = "training.json"
TUNED_NAME = "tuned.yaml"  # what a search found: values of the recipe, to lay over the configuration
BEST_CHECKPOINT = "checkpoints/best.ckpt"


class AveragedCheckpoints(BaseModel):
    """The mean of the best epochs' weights, and how it did on the validation split beside the best epoch alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: list[int]
    """The best first."""
    val_macro_f1: float
    best_val_macro_f1: float
    """Of the first of `epochs` alone."""
    kept: bool
    """It did better, and is what `BEST_CHECKPOINT` holds."""

    def told(self) -> str:
        """Say both numbers and which of the two was kept."""
        numbers = ", ".join(map(str, self.epochs))
        return (
            f"val macro-F1 {self.val_macro_f1:.3f} by the mean of epochs {numbers}, {self.best_val_macro_f1:.3f} by"
            f" epoch {self.epochs[0]} alone, which {'gives way' if self.kept else 'stays'}"
        )


class TrainingRecord(BaseModel):
    """What was trained, on what, and how far it came on the validation split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str
    experiment: str
    classes: list[str]
    backbone: str
    crop_size: int
    mean: list[float]
    std: list[float]
    seed: int
    parameters: dict[str, Any]
    crops_digest: str
    code_version: str
    best_epoch: int
    best_val_macro_f1: float
    average: AveragedCheckpoints | None = None
    """None: none was asked for, or there was one epoch only."""
    backgrounds: dict[str, float] = {}
    """Share of the training crops that got another background, by its kind; empty: none did."""


def experiment_name(*, crops_digest: str, settings: str, code_version: str) -> str:
    """Name an experiment after what goes into it: the same inputs, recipe and code give the same name.

    Args:
        crops_digest: `CropsHead.digest`.
        settings: The training configuration as JSON.
        code_version: Version of the code that trains.
    """
    content = "\n".join((crops_digest, settings, code_version))
    return f"e-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def write(folder: Path, record: TrainingRecord) -> None:
    """Write `training.json` into `folder`."""
    (folder / FILE_NAME).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> TrainingRecord:
    """Read `training.json` of `folder`."""
    return TrainingRecord.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
