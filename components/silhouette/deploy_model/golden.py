"""The golden crops: real pictures with the answers that the exported model gave, held against what Triton answers.

Reads `golden.npz` of a model bundle.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts.model_bundle import GOLDEN_NAME, ModelCard
from silhouette.deploy_model.asking import ask
from silhouette.deploy_model.repository import label_lines
from silhouette.errors import InputError, ParityError
from silhouette.triton_client import Triton

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TOLERANCE = 1e-4  # of a probability: two builds of ONNX Runtime on two machines differ by about 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Crops uint8 [n, size, size, 3], their probabilities float32 [n, classes], and the names of the classes."""

    crops: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    labels: list[str]


def read_golden(bundle: Path, card: ModelCard) -> Golden:
    """Read a bundle's golden crops.

    Raises:
        InputError: The file is missing, malformed, or does not belong to the model.
    """
    import numpy as np

    path = bundle / GOLDEN_NAME
    try:
        with np.load(path) as arrays:
            crops, probabilities = arrays["crops"], arrays["probabilities"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} must hold the golden crops: {error}; export the model again") from None
    shapes = (crops.shape[1:], probabilities.shape)
    wanted = ((card.crop_size, card.crop_size, 3), (len(crops), len(card.classes)))
    if not len(crops) or shapes != wanted or crops.dtype != np.uint8:
        raise InputError(
            f"{path} must hold uint8 crops {list(wanted[0])} and {len(card.classes)} probabilities for each, got"
            f" {crops.dtype} {list(crops.shape)} and {list(probabilities.shape)}; export the model again"
        )
    return Golden(crops=crops, probabilities=probabilities.astype(np.float32), labels=label_lines(card.classes))


def check_golden(triton: Triton, model: str, golden: Golden, *, version: int, names: bool = True) -> float:
    """Hold a served version against the golden answers, over HTTP.

    Args:
        triton: The server.
        model: Triton's name of the model.
        golden: What it must answer.
        version: The version that is asked.
        names: Whether the names of the classes are checked as well.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        ParityError: A probability differs by more than `TOLERANCE`, or a class is another one.
    """
    import numpy as np

    answer, _ = ask(triton, model, golden.crops, version=str(version))
    if answer.shape != golden.probabilities.shape:
        raise ParityError(
            f"the served model must answer {list(golden.probabilities.shape)} probabilities, {model} version {version}"
            f" gave {list(answer.shape)}; export the model again"
        )
    difference = float(np.abs(answer - golden.probabilities).max())
    expected, found = golden.probabilities.argmax(axis=1), answer.argmax(axis=1)
    others = int((expected != found).sum())
    if not difference <= TOLERANCE or others:
        raise ParityError(
            f"the served model must answer the golden crops as it did when it was exported, within {TOLERANCE:g};"
            f" {model} version {version} differs by {difference:.2g} and names another class for {others} of"
            f" {len(expected)}; export and evaluate the model again"
        )
    name = triton.class_name(model, golden.crops[0], version=str(version)) if names else ""
    if names and name != golden.labels[int(expected[0])]:
        raise ParityError(
            f"Triton must call the first golden crop {golden.labels[int(expected[0])]!r}, it says {name!r};"
            " deploy the model again"
        )
    return difference
