"""Triton's configuration of a model, `config.pbtxt`, as the typed message it is; never text that is pasted together.

Reads and writes protobuf text; https://github.com/triton-inference-server/common, protobuf/model_config.proto.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silhouette.config import ServingConfig
from silhouette.contracts.deployment import LABELS_NAME
from silhouette.contracts.model_bundle import INPUT_NAME, ONNX_NAME, OUTPUT_NAME, ModelCard
from silhouette.errors import ServiceError
from silhouette.triton_client import FINGERPRINT

ModelConfig = Any  # tritonclient's inference.ModelConfig, which ships no types


_ACCELERATORS = {"tensorrt": {"precision_mode": "FP16"}, "openvino": {}}


@functools.cache
def messages() -> Any:
    """Load tritonclient's generated messages past its `grpc` package, which wants grpcio for what we never call."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("silhouette_model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(
    card: ModelCard, *, model: str, versions: Sequence[int], serving: ServingConfig, labels: bool = True
) -> ModelConfig:
    """Say how Triton serves a model.

    Args:
        card: Of the latest version.
        model: Triton's name of it.
        versions: Those that are served, the latest last. They are named one by one, so that a version folder that
            is still being written is never taken up, whenever Triton starts.
        serving: How.
        labels: Whether Triton finds class names in the latest version's folder.
    """
    pb2 = messages()
    side = card.crop_size
    config = pb2.ModelConfig(
        name=model,
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        default_model_filename=ONNX_NAME,
        max_batch_size=serving.max_batch_size,
    )
    config.version_policy.specific.versions.extend(versions)
    config.input.add(name=INPUT_NAME, data_type=pb2.TYPE_UINT8, dims=[side, side, 3])
    # names beside the version, not the model: one write of config.pbtxt then changes model and names together
    label_file = f"{versions[-1]}/{LABELS_NAME}" if labels else ""
    config.output.add(name=OUTPUT_NAME, data_type=pb2.TYPE_FP32, dims=[len(card.classes)], label_filename=label_file)
    kind = pb2.ModelInstanceGroup.Kind.Value(f"KIND_{serving.kind.upper()}")
    config.instance_group.add(kind=kind, count=serving.instances)
    config.dynamic_batching.max_queue_delay_microseconds = serving.queue_delay_us
    if serving.kind == "cpu":
        config.parameters["intra_op_thread_count"].string_value = str(serving.threads)
        config.parameters["session.intra_op.allow_spinning"].string_value = "0"
    if serving.accelerator != "none":
        side_of = config.optimization.execution_accelerators
        options = {"tensorrt": side_of.gpu_execution_accelerator, "openvino": side_of.cpu_execution_accelerator}
        accelerator = options[serving.accelerator].add(name=serving.accelerator)
        accelerator.parameters.update(_ACCELERATORS[serving.accelerator])
    if serving.rate_limit:
        config.instance_group[0].rate_limiter.resources.add(name="slots", count=serving.rate_limit)
    config.response_cache.enable = serving.response_cache
    warm_up = config.model_warmup.add(name="one_crop", batch_size=1).inputs[INPUT_NAME]
    warm_up.data_type, warm_up.zero_data = pb2.TYPE_UINT8, True
    warm_up.dims.extend([side, side, 3])
    config.parameters["onnx_sha256"].string_value = card.onnx_sha256
    return stamped(config)


def stamped(config: ModelConfig) -> ModelConfig:
    """Give a finished configuration its fingerprint."""
    content = config.SerializeToString(deterministic=True)
    config.parameters[FINGERPRINT].string_value = hashlib.sha256(content).hexdigest()
    return config


def fingerprint(config: ModelConfig) -> str:
    """Return what tells this configuration from every other, as `ServedConfig.fingerprint` has it once it is loaded."""
    return str(config.parameters[FINGERPRINT].string_value)


def versions_of(config: ModelConfig) -> list[int]:
    """Return the versions that a configuration serves, the latest last."""
    return sorted(int(version) for version in config.version_policy.specific.versions)


def to_text(config: ModelConfig) -> bytes:
    """Write `config.pbtxt`."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config, as_utf8=True)).encode()


def to_json(config: ModelConfig) -> str:
    """Write the JSON that Triton takes at a load instead of `config.pbtxt`."""
    from google.protobuf import json_format

    return str(json_format.MessageToJson(config, preserving_proto_field_name=True))


def from_text(text: bytes, *, source: str) -> ModelConfig:
    """Read `config.pbtxt`.

    Raises:
        ServiceError: It is damaged; `source` names it.
    """
    from google.protobuf import text_format

    try:
        return text_format.Parse(text.decode(), messages().ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"{source} must be a configuration of Triton, it is not: {error}; remove that object, then deploy again"
        ) from None
