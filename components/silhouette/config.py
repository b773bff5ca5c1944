"""What a run does when its parameters say nothing: `config/default.yaml`, checked as a whole.

Reads config/default.yaml of the checkout (or the copy inside the installed package); over it, the files that
SILHOUETTE_CONFIG names; over them, variables like SILHOUETTE_CONFIG__TRAINING__EPOCHS. Endpoints and secrets are not
here but in `silhouette.settings`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from silhouette.config_file import Layer, environment_layers, holder, merge, read_layer
from silhouette.errors import SettingError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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

    def for_detector(self) -> dict[str, Any]:
        """Return what `silhouette.detector.load_detector` is told beside the file."""
        return self.model_dump(exclude={"model_path"})


class DatasetConfig(_Section):
    """Crops and splits."""

    crop_size: int = Field(ge=32)
    crop_margin: float = Field(ge=0, le=1)
    background: Literal["keep", "grey"]
    people: Literal["main", "all"]
    val_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)
    min_pictures_per_class: int = Field(ge=1)
    review_states: tuple[Literal["unchecked", "approved"], ...] = Field(default=("unchecked", "approved"), min_length=1)
    background_crops: int = Field(default=2000, ge=2)

    @field_validator("test_fraction")
    @classmethod
    def _leaves_something_to_train_on(cls, test_fraction: float, info: ValidationInfo) -> float:
        if test_fraction + info.data.get("val_fraction", 0.0) >= 1:
            raise ValueError("val_fraction and test_fraction together must be below 1")
        return test_fraction


class TrainingConfig(_Section):
    """The recipe."""

    backbone: str
    weights: str
    epochs: int = Field(ge=1)
    frozen_epochs: int = Field(ge=0)
    frozen_share: float = Field(ge=0, lt=1)
    train_scale: float = Field(ge=0.5, le=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    backbone_lr_scale: float = Field(gt=0, le=1)
    layer_decay: float = Field(gt=0, le=1)
    accumulate: int = Field(ge=1)
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: float = Field(ge=0)
    class_balance: Literal["none", "weights", "sampling", "logit_adjustment"]
    min_zoom: float = Field(gt=0, le=1)
    random_erasing: float = Field(ge=0, le=1)
    background_swap: float = Field(ge=0, le=1)
    background_set: float = Field(ge=0)
    background_blur: float = Field(ge=0)
    background_fill: float = Field(ge=0)
    background_feather: float = Field(ge=0, le=16)
    ema_decay: float = Field(ge=0, lt=1)
    patience: int = Field(ge=0)
    average_top: int = Field(default=0, ge=0)  # with a default: experiments before it are reproduced without
    checkpoint_minutes: float = Field(gt=0)
    wandb_pictures: bool
    devices: int | str = 1  # with a default: experiments before it were on one
    seed: int

    @field_validator("devices", mode="before")
    @classmethod
    def _are_auto_or_a_number(cls, devices: object) -> object:
        if devices != "auto" and not (isinstance(devices, int) and not isinstance(devices, bool) and devices >= 1):
            raise ValueError("it must be auto or a number of devices, 1 or more")
        return devices


class ExportConfig(_Section):
    """The released model files."""

    # with defaults: they do not change what the release answers, so who asks for one need not know them
    opset: int = Field(default=18, ge=18, le=20)  # below the exporter does not write, above Triton 24.10 does not read
    largest_batch: int = Field(default=32, ge=2, le=256)
    max_megabytes: float = Field(default=500, gt=0, le=2000)
    variants: list[Literal["fp16", "int8"]] = Field(default=[])


class EvaluateConfig(_Section):
    """What is measured beside the released model as it is (`silhouette.evaluate_model.augmented`)."""

    # with defaults: it changes no number that the gate looks at, so who asks for a judgement need not know it
    test_time_augmentation: list[Literal["flip", "zoom"]] = Field(default=[])


class GateConfig(_Section):
    """What a model must reach to be deployed; None switches a rule off (`silhouette.evaluate_model.gate`)."""

    min_macro_f1: float | None = Field(ge=0, le=1)
    max_ece: float | None = Field(ge=0, le=1)
    max_bg_gap: float | None = Field(ge=0, le=1)
    max_regression: float | None = Field(ge=0, le=1)
    min_test_pictures_per_class: int | None = Field(ge=1)


class ServingConfig(_Section):
    """How a model is served by Triton, and what a new version must be beside the one before."""

    # with defaults: they change how fast a model answers, not what, so who asks for a deployment need not know them
    kind: Literal["cpu", "gpu", "auto"] = "cpu"
    instances: int = Field(default=1, ge=1)
    threads: int = Field(default=2, ge=1)
    max_batch_size: int = Field(default=32, ge=1)
    queue_delay_us: int = Field(default=500, ge=0)
    accelerator: Literal["none", "tensorrt", "openvino"] = "none"
    response_cache: bool = False
    rate_limit: int = Field(default=0, ge=0)
    max_slowdown: float | None = Field(default=2.0, gt=0)
    max_disagreement: float | None = Field(default=None, ge=0, le=1)
    recent_crops: int = Field(default=64, ge=0, le=1024)


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
    export: ExportConfig
    evaluate: EvaluateConfig
    gate: GateConfig
    serving: ServingConfig
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
        content = merge(self.model_dump(), {"training": training, "gate": gate})
        if content["training"]["backbone"] == "auto" and gpus is not None:
            content["training"]["backbone"] = GPU_BACKBONE if gpus else CPU_BACKBONE
        layer = Layer(name="the run's parameters", content=content)
        try:
            return Config.model_validate(content)
        except ValidationError as error:
            raise SettingError(_mistakes(error, [layer])[0]) from None


def shipped_file() -> Path:
    """Return the file below all others."""
    return _CHECKOUT_FILE if _CHECKOUT_FILE.is_file() else _PACKAGE / "default.yaml"


def own_files(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the files that SILHOUETTE_CONFIG names, the later ones above the earlier."""
    return [Path(path) for path in environ.get("SILHOUETTE_CONFIG", "").split(os.pathsep) if path]


def read_layers(environ: Mapping[str, str] = os.environ) -> list[Layer]:
    """Read all that the configuration is made of, the lowest first.

    Raises:
        SettingError: A file is missing or malformed.
    """
    files = [read_layer(path) for path in (shipped_file(), *own_files(environ))]
    return files + environment_layers(environ)


def mistakes(layers: Sequence[Layer]) -> list[str]:
    """Return what is wrong with a configuration, a line each: key, rule, value, way out and place."""
    try:
        Config.model_validate(_merged(layers))
    except ValidationError as error:
        return _mistakes(error, layers)
    return []


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration.

    Raises:
        SettingError: A file is missing or malformed, a key is unknown or a value is out of its range.
    """
    layers = read_layers(environ)
    try:
        return Config.model_validate(_merged(layers))
    except ValidationError as error:
        first, *others = _mistakes(error, layers)
        more = f" (and {len(others)} more: `silhouette config check`)" if others else ""
        raise SettingError(first + more) from None


def _merged(layers: Sequence[Layer]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for layer in layers:
        content = merge(content, layer.content)
    return content


def _mistakes(error: ValidationError, layers: Sequence[Layer]) -> list[str]:
    return [_mistake(one, layers) for one in error.errors()]


def _mistake(error: ErrorDetails, layers: Sequence[Layer]) -> str:
    path = tuple(str(part) for part in error["loc"])
    rule = error["msg"].removeprefix("Value error, ")
    way_out = "correct it"
    if error["type"] == "extra_forbidden":
        rule = "there is no such key"
        if near := difflib.get_close_matches(path[-1], _keys_beside(path), n=1):
            way_out = f"do you mean {near[0]}? Correct it"
    found = f"{'.'.join(path)} in the configuration: {rule}, got {error['input']!r}"
    return f"{found}; {way_out} in {holder(layers, path).place(path)}"


def _keys_beside(path: Sequence[str]) -> list[str]:
    model: Any = Config
    for key in path[:-1]:
        kept = model.model_fields.get(key) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = kept.annotation if kept is not None else next(iter(get_args(model)[1:]), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
