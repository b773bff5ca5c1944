"""What a run does when its parameters say nothing: `config/default.yaml`, checked as a whole.

Reads config/default.yaml of the checkout (or the copy inside the installed package) and, over it, the file
that SILHOUETTE_CONFIG names. Endpoints and secrets are not here but in `silhouette.settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from silhouette.errors import SettingError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT_FILE = _PACKAGE.parents[1] / "config" / "default.yaml"

CPU_BACKBONE = "tf_efficientnet_lite0"  # its weights come with a package, so the first run asks no hub
GPU_BACKBONE = "convnext_nano"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GroupConfig(_Section):
    """A classification task: its classes in the order of the model's outputs."""

    classes: list[str] = Field(min_length=2)

    @field_validator("classes")
    @classmethod
    def _are_told_apart(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes) or not all(name.strip() for name in classes):
            raise ValueError("every class must have a name of its own")
        return classes


class PicturesConfig(_Section):
    """Limits at the door, and what is done with duplicates."""

    max_megapixels: float = Field(gt=0)
    max_megabytes: float = Field(gt=0)
    workers: int = Field(ge=1)
    max_unavailable: int = Field(ge=0)
    working_side: int = Field(ge=256)
    near_distance: int = Field(ge=0, le=8)  # beyond, a million pictures have neighbours by chance
    conflicts: Literal["drop", "keep"]
    near_conflicts: Literal["drop", "keep"]


class SegmentationConfig(_Section):
    """The YOLO segmenter."""

    model_path: str
    person_class: str
    image_size: int = Field(ge=64, multiple_of=32)
    min_score: float = Field(gt=0, lt=1)
    # with defaults: they do not change what is found, so who asks for a segmentation need not know them
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    runtime: Literal["auto", "torch", "onnxruntime"] = "auto"
    half: bool = False


class DatasetConfig(_Section):
    """Crops and splits."""

    crop_size: int = Field(ge=32)
    crop_margin: float = Field(ge=0, le=1)
    background: Literal["keep", "grey"]
    people: Literal["main", "all"]
    val_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)
    min_pictures_per_class: int = Field(ge=1)

    @field_validator("test_fraction")
    @classmethod
    def _leaves_something_to_train_on(cls, test_fraction: float, info: ValidationInfo) -> float:
        if test_fraction + info.data.get("val_fraction", 0.0) >= 1:
            raise ValueError("val_fraction and test_fraction together must be below 1")
        return test_fraction


class TrainingConfig(_Section):
    """The recipe."""

    backbone: str
    epochs: int = Field(ge=1)
    frozen_epochs: int = Field(ge=0)
    frozen_share: float = Field(ge=0, lt=1)
    train_scale: float = Field(ge=0.5, le=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    backbone_lr_scale: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: float = Field(ge=0)
    class_balance: Literal["none", "weights", "sampling"]
    min_zoom: float = Field(gt=0, le=1)
    random_erasing: float = Field(ge=0, le=1)
    background_swap: float = Field(ge=0, le=1)
    ema_decay: float = Field(ge=0, lt=1)
    patience: int = Field(ge=0)
    seed: int


class GateConfig(_Section):
    """What a model must reach to be deployed."""

    min_macro_f1: float = Field(ge=0, le=1)


class ModelConfig(_Section):
    """The model that answers for a group in `ret_meta`: one that Triton serves, or an ONNX file."""

    triton: str = ""  # empty: the group's
    version: int | None = Field(default=None, ge=1)  # none: the latest that is served
    onnx: str = ""
    evaluation: str = ""  # empty: metrics.json beside the ONNX file
    abstain_below: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _is_one_model(self) -> ModelConfig:
        if self.onnx and (self.triton or self.version):
            raise ValueError("a model must be served by Triton or be an ONNX file, not both")
        if self.evaluation and not self.onnx:
            raise ValueError("evaluation must come with onnx: a served model was judged before it was deployed")
        return self


class Config(_Section):
    """The whole configuration; `for_run` lays a run's parameters over it."""

    groups: dict[str, GroupConfig]
    pictures: PicturesConfig
    segmentation: SegmentationConfig
    dataset: DatasetConfig
    training: TrainingConfig
    gate: GateConfig
    models: dict[str, ModelConfig] = {}

    def for_run(self, *, training: Mapping[str, Any], gate: Mapping[str, Any], gpus: int | None) -> Config:
        """Return the configuration with a run's parameters in it.

        Args:
            training: Values for the section `training`.
            gate: Values for the section `gate`.
            gpus: How many GPUs the training has, by which ``backbone: auto`` is resolved; None leaves it.

        Raises:
            SettingError: A value is out of its range.
        """
        content = _merge(self.model_dump(), {"training": training, "gate": gate})
        if content["training"]["backbone"] == "auto" and gpus is not None:
            content["training"]["backbone"] = GPU_BACKBONE if gpus else CPU_BACKBONE
        return _validate(content, "the run's parameters")


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingError(f"the configuration file must exist, got {path}; correct SILHOUETTE_CONFIG") from None
    except OSError as error:
        raise SettingError(
            f"the configuration file must be readable, got {error.strerror} for {path}; correct SILHOUETTE_CONFIG"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(
            f"the configuration must be YAML in UTF-8, got {' '.join(str(error).split())} in {path}; correct that file"
        ) from None
    if not isinstance(content, dict):
        raise SettingError(
            f"the configuration must be a mapping, got {type(content).__name__} in {path}; correct that file"
        )
    return content


def _validate(content: dict[str, Any], origin: str) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        rule = first["msg"].removeprefix("Value error, ")
        raise SettingError(
            f"{where} in the configuration: {rule}, got {first['input']!r}; correct it in {origin}"
        ) from None


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration.

    Raises:
        SettingError: A file is missing or malformed, a key is unknown or a value is out of its range.
    """
    shipped = _CHECKOUT_FILE if _CHECKOUT_FILE.is_file() else _PACKAGE / "default.yaml"
    paths, content = [shipped], _read(shipped)
    if extra := environ.get("SILHOUETTE_CONFIG"):
        paths.append(Path(extra))
        content = _merge(content, _read(Path(extra)))
    return _validate(content, " or ".join(map(str, paths)))
