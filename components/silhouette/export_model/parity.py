"""The exported files must answer as the trained network does; a breach stops the release.

The ladder: the network in torch, TorchScript within 1e-5, ONNX Runtime within 1e-4, both with the same preferred class;
then crops asked one by one, in threes and in large batches. `deploy_model` adds the last rung, Triton over HTTP.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from silhouette.contracts import crops as crops_contract
from silhouette.errors import InputError, ParityError
from silhouette.export_model.odd_pictures import odd_crops
from silhouette.onnx_model import OnnxModel

if TYPE_CHECKING:
    import numpy.typing as npt

TORCHSCRIPT_TOLERANCE = 1e-5  # of a probability
ONNX_TOLERANCE = 1e-4
MOST_CROPS = 216  # real ones
LEAST_PICTURES = 256  # real and odd ones together
LEAST_ODD = 40
_ODD_SEED = 2026  # the same odd pictures for every model
_ALONE = 32  # so many pictures are asked in other batches, too
_THREE = 3
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Largest absolute differences of a probability over `crops` pictures; `batch`: between sizes of a batch."""

    torchscript: float
    onnx: float
    batch: float
    crops: int


def choose_crops(folder: Path, *, most: int = MOST_CROPS) -> npt.NDArray[np.uint8]:
    """Return up to `most` real crops, spread over the test split, then val, then train.

    Returns:
        uint8 [n, size, size, 3].
    """
    chosen: list[npt.NDArray[np.uint8]] = []
    for split in ("test", "val", "train"):
        table = crops_contract.CropTable(folder, split)
        count = min(most - len(chosen), len(table))
        rows = np.linspace(0, len(table) - 1, count).round().astype(int).tolist() if count else []
        chosen += [crops_contract.decode_jpeg(table[row].jpeg) for row in rows]
    if not chosen:
        raise InputError(f"parity is measured on real crops, {folder} has none; run build_dataset again")
    return np.stack(chosen)


def with_odd_pictures(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return real crops with odd pictures behind them, at least `LEAST_PICTURES` in all."""
    count = max(LEAST_ODD, LEAST_PICTURES - len(crops))
    return np.concatenate([crops, odd_crops(count, size=crops.shape[1], seed=_ODD_SEED)])


def check_parity(
    served: torch.nn.Module, *, torchscript: Path, onnx: Path, crops: npt.NDArray[np.uint8], largest_batch: int = _BATCH
) -> Parity:
    """Compare the two files with the network.

    Args:
        served: Pre-processing, network, temperature and softmax, in eval mode.
        torchscript: File to judge.
        onnx: File to judge.
        crops: uint8 [n, size, size, 3].
        largest_batch: Of the batches in which ONNX Runtime is asked.

    Raises:
        ParityError: A file differs by more than its tolerance, or prefers another class beyond a tie.
    """
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # torch deprecates TorchScript as a whole
            warnings.simplefilter("ignore", category)
        scripted = torch.jit.load(torchscript)
    expected = _answers(served, crops)
    model = OnnxModel(onnx)
    answers = model.probabilities(crops, batch=largest_batch)
    some = np.linspace(0, len(crops) - 1, min(_ALONE, len(crops))).round().astype(int)
    batches = [
        _difference(f"ONNX Runtime, asked {batch} at a time,", answers[some],
                    model.probabilities(crops[some], batch=batch), ONNX_TOLERANCE)
        for batch in (1, _THREE)
    ]  # fmt: skip
    return Parity(
        torchscript=_difference("TorchScript", expected, _answers(scripted, crops), TORCHSCRIPT_TOLERANCE),
        onnx=_difference("ONNX Runtime", expected, answers, ONNX_TOLERANCE),
        batch=max(batches),
        crops=len(crops),
    )


def _answers(net: torch.nn.Module, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        parts = [net(torch.from_numpy(crops[at : at + _BATCH])) for at in range(0, len(crops), _BATCH)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def _difference(who: str, expected: npt.NDArray[np.float32], given: npt.NDArray[np.float32], tolerance: float) -> float:
    way_out = "nothing is released; keep this folder and report the backbone, or train with another one"
    largest = float(np.abs(expected - given).max())
    if not largest <= tolerance:  # also true of NaN
        worst = int(np.abs(expected - given).max(axis=1).argmax())
        raise ParityError(
            f"{who} must answer as the trained network within {tolerance:g}, got {largest:.3g} on picture {worst}"
            f" of {len(expected)}; {way_out}"
        )
    rows = np.arange(len(expected))
    lead = expected[rows, expected.argmax(1)] - expected[rows, given.argmax(1)]
    if (lead > tolerance).any():
        raise ParityError(
            f"{who} must prefer the class that the trained network prefers, picture {lead.argmax()} differs; {way_out}"
        )
    return largest
