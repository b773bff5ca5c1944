"""The temperature: one number by which the logits are divided, so that 80 % sure is right in 80 of 100 cases.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2: fitted on the val split, never on test,
by the negative log-likelihood; it changes no answer, only how sure the model says it is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts import crops as crops_contract

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.export_model.served import ServedModel

_LOG = logging.getLogger(__name__)
LOWEST, HIGHEST = 0.05, 20.0
FEWEST_CROPS = 20  # below, one lucky or unlucky crop would decide
_BATCH = 32
_HALVINGS = 60


def fit_temperature(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that makes the labels most likely, `LOWEST` to `HIGHEST`.

    The likelihood is convex in 1 / temperature, so its derivative has one zero, which is found by halving. Where every
    crop is answered right, it would run away to certainty; Platt's targets (1999, "Probabilistic outputs for support
    vector machines": (n + 1) / (n + 2) instead of 1) hold it, and mean nothing once there are many crops.

    Args:
        logits: float64 [n, classes], of crops that were not trained on.
        labels: int64 [n].
    """
    count, classes = logits.shape
    off = 1 / (count + 2)
    targets = np.full(logits.shape, off / (classes - 1))
    targets[np.arange(count), labels] = 1 - off
    wanted = float((targets * logits).sum(axis=1).mean())

    def is_too_sure(scale: float) -> bool:
        odds = np.exp(scale * (logits - logits.max(axis=1, keepdims=True)))
        expected = (odds * logits).sum(axis=1) / odds.sum(axis=1)
        return float(expected.mean()) > wanted

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_too_sure(middle) else (middle, high)
    return 2 / (low + high)


def calibrate(model: ServedModel, crops: Path, classes: list[str]) -> int:
    """Fit a model's temperature on the val split and set it; return on how many crops, 0 when there are too few."""
    import torch

    table = crops_contract.CropTable(crops, "val")
    if len(table) < FEWEST_CROPS:
        _LOG.info("the val split has %d crops, a temperature is fitted on at least %d: it stays 1", len(table),
                  FEWEST_CROPS)  # fmt: skip
        return 0
    parts = []
    for start in range(0, len(table), _BATCH):
        rows = range(start, min(start + _BATCH, len(table)))
        pixels = np.stack([crops_contract.decode_jpeg(table[row].jpeg) for row in rows])
        with torch.no_grad():
            parts.append(model.logits(torch.from_numpy(pixels)).double().numpy())
    labels = np.array([classes.index(label) for label in table.column("label")], dtype=np.int64)
    model.temperature.fill_(fit_temperature(np.concatenate(parts), labels))
    return len(table)
