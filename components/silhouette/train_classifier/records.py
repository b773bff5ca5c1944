"""What a training leaves to look at: metrics.csv, one log line an epoch, pictures of what the network saw.

Writes `csv_logs/metrics.csv` (no clock in it: the same seed on a CPU gives the same bytes) and
`train_batches/{first,last}_epoch.png`.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, Trainer

from silhouette.train_classifier.ranks import gathered

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from silhouette.train_classifier.classifier import CropClassifier
    from silhouette.train_classifier.tracking import Tracker

_LOG = logging.getLogger(__name__)
_METRICS = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1")
_CELL, _STRIP, _COLUMNS, _MOST = 160, 20, 8, 32  # pixels, pixels, crops, crops


class EpochRecord(Callback):
    """Keep one row an epoch; rows travel in the checkpoint, so a resumed run writes the whole table.

    Args:
        folder: Where metrics.csv goes.
        tracker: Gets the same rows.
        on_epoch: Is told (epochs done, val macro-F1); what it raises ends the training.
    """

    def __init__(self, folder: Path, tracker: Tracker, *, on_epoch: Callable[[int, float], None] | None = None) -> None:
        self._path, self._tracker, self._on_epoch = folder / "metrics.csv", tracker, on_epoch
        self.rows: list[dict[str, float]] = []
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the run that was interrupted."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, _trainer: Trainer, _module: Any) -> None:
        """Look at the clock, for the log line only."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: CropClassifier) -> None:
        """Write the table anew, and say how the epoch went."""
        seen = trainer.callback_metrics
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        losses = gathered((float(module.loss_sum), module.loss_count))
        loss = sum(total for total, _ in losses) / sum(count for _, count in losses)
        row = {"epoch": trainer.current_epoch + 1, "learning_rate": rate, "train_loss": loss} | {
            name: float(seen[name]) for name in _METRICS
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(row)
        table.writerows([f"{value:.6g}" for value in kept.values()] for kept in self.rows)
        self._path.write_text(text.getvalue(), encoding="utf-8")
        self._tracker.log(row, step=int(row["epoch"]))
        best = max(self.rows, key=lambda kept: kept["val_macro_f1"])
        _LOG.info(
            "epoch %d of %d: train loss %.3f, val macro-F1 %.3f (best %.3f in epoch %d), %.1f s",
            row["epoch"], trainer.max_epochs, row["train_loss"], row["val_macro_f1"], best["val_macro_f1"],
            best["epoch"], time.monotonic() - self._started,
        )  # fmt: skip
        if self._on_epoch is not None:
            self._on_epoch(int(row["epoch"]), row["val_macro_f1"])


class BatchPictures(Callback):
    """Draw the first batch of the first and of the last epoch, exactly as the (first device's) network got it.

    Args:
        folder: Where the PNG files go.
        classes: Their names.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._folder, self._classes = folder, classes

    def on_train_batch_start(self, trainer: Trainer, module: CropClassifier, batch: dict[str, Any], index: int) -> None:
        """Hang on to the network's input for one forward pass."""
        if index or not trainer.is_global_zero:
            return
        names = [self._classes[label] for label in batch["label"].tolist()[:_MOST]]
        files = [self._folder / "last_epoch.png"] + [self._folder / "first_epoch.png"] * (trainer.current_epoch == 0)

        def draw(_net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            hook.remove()
            grid = labelled_grid((inputs[0][:_MOST] * module.std + module.mean).detach(), names)
            for file in files:
                grid.save(file)

        hook = module.trained.register_forward_pre_hook(draw)


def labelled_grid(crops: torch.Tensor, names: Sequence[str]) -> Image.Image:
    """Draw crops (float [n, 3, size, size], 0 to 1) in rows, each with its class below."""
    import matplotlib
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    # The font that comes with matplotlib knows Latin, Greek and Cyrillic; Pillow's own knows Latin only.
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 13)
    columns = min(_COLUMNS, len(names))
    size = (columns * _CELL, math.ceil(len(names) / columns) * (_CELL + _STRIP))
    grid = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(grid)
    pixels = (crops.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for number, (crop, name) in enumerate(zip(pixels, names, strict=True)):
        x, y = number % columns * _CELL, number // columns * (_CELL + _STRIP)
        grid.paste(Image.fromarray(np.ascontiguousarray(crop)).resize((_CELL - 4, _CELL - 4)), (x + 2, y + 2))
        pen.text((x + 4, y + _CELL - 1), name if len(name) < 22 else f"{name[:20]}…", fill="#222222", font=font)
    return grid
