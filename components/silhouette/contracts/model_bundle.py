"""A model ready to be judged and served: what `export_model` writes, as a folder.

`model.onnx`         uint8 crops in, probabilities out; pre-processing and softmax are in the graph
`model.torchscript`  the same function for those who ask for TorchScript
`golden.npz`         real crops with the answers that every later stage must give
`model.json`         this module's `ModelCard`: classes by name, input contract, provenance, parity
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

ONNX_NAME = "model.onnx"
TORCHSCRIPT_NAME = "model.torchscript"
GOLDEN_NAME = "golden.npz"  # arrays `crops` uint8 [n, size, size, 3] and `probabilities` float32 [n, classes]
JSON_NAME = "model.json"
INPUT_NAME = "crops"  # uint8 NHWC [n, size, size, 3], RGB
OUTPUT_NAME = "probabilities"  # float32 [n, classes], rows sum to 1


class ModelCard(BaseModel):
    """What a model is, in numbers and names."""

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
    """On how many crops the two were measured."""


def write(folder: Path, card: ModelCard) -> None:
    """Write `model.json` into `folder`."""
    (folder / JSON_NAME).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> ModelCard:
    """Read `model.json` of `folder`."""
    return ModelCard.model_validate_json((folder / JSON_NAME).read_text(encoding="utf-8"))
