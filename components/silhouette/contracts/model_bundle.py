"""A model ready to be judged and served: what `export_model` writes, as a folder.

`model.onnx`         the release: uint8 crops in, probabilities out; pre-processing, temperature and softmax are inside
`model.torchscript`  the same function for those who ask for TorchScript
`model.fp16.onnx`, `model.int8.onnx`  smaller and less exact, only when asked for (`ModelCard.variants`)
`golden.npz`         real crops with the answers that every later stage must give
`model.json`         this module's `ModelCard`: classes by name, input contract, provenance, parity
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from silhouette.contracts.training import AveragedCheckpoints

ONNX_NAME = "model.onnx"
TORCHSCRIPT_NAME = "model.torchscript"
GOLDEN_NAME = "golden.npz"  # arrays `crops` uint8 [n, size, size, 3] and `probabilities` float32 [n, classes]
JSON_NAME = "model.json"
INPUT_NAME = "crops"  # uint8 NHWC [n, size, size, 3], RGB
OUTPUT_NAME = "probabilities"  # float32 [n, classes], rows sum to 1


class Variant(BaseModel):
    """A smaller file of the same model, and how its answers on the parity pictures differ from the release's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """``fp16`` or ``int8``."""
    sha256: str
    size_bytes: int
    max_difference: float
    """Largest absolute difference of a probability."""
    agreement: float
    """Share of pictures for which both prefer the same class."""


def variant_name(variant: str) -> str:
    """Return the file name of a variant."""
    return f"model.{variant}.onnx"


class ModelCard(BaseModel):
    """What a model is, in numbers and names; what has a default is missing on the cards of older models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str
    experiment: str
    classes: list[str]
    crop_size: int
    crop_margin: float
    background: str
    """How a person is cut out for this model: `silhouette.imaging.cut_person`."""
    backbone: str
    onnx_sha256: str
    opset: int
    crops_digest: str
    code_version: str
    seed: int
    parameters: dict[str, Any]
    parity_torchscript: float
    """Largest absolute difference of a probability between Torch and TorchScript."""
    parity_onnx: float
    """Largest absolute difference of a probability between Torch and ONNX Runtime."""
    parity_crops: int
    """On how many pictures, real crops and odd ones, they were measured."""
    parity_batch: float = 0.0
    """Largest absolute difference of a probability between crops asked one by one, in threes and in large batches."""
    temperature: float = 1.0
    """By which the logits are divided before the softmax, inside the files (Guo et al. 2017)."""
    temperature_crops: int = 0
    """On how many crops of the val split it was fitted; 0: on none, it is 1."""
    variants: list[Variant] = []
    average: AveragedCheckpoints | None = None
    """How the mean of the best epochs' weights did in training, where it was asked for."""


def write(folder: Path, card: ModelCard) -> None:
    """Write `model.json` into `folder`."""
    (folder / JSON_NAME).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> ModelCard:
    """Read `model.json` of `folder`."""
    return ModelCard.model_validate_json((folder / JSON_NAME).read_text(encoding="utf-8"))
