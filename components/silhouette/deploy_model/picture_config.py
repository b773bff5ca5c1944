"""Triton's configurations of a picture model and of its segmenter, as the typed messages they are.

Reads an ONNX file's inputs and outputs as `PictureSettings` has them; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from silhouette.config import ServingConfig
from silhouette.contracts.model_bundle import ONNX_NAME
from silhouette.deploy_model.model_config import ModelConfig, messages, stamped
from silhouette.detector_onnx import Tensor
from silhouette.errors import InputError
from silhouette.picture_answer import INPUT_NAME, OUTPUT_NAME

_TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16"}
_INSTANCES = 2  # one decodes and traces while the other waits for the network; each takes about 100 MB
_THREADS = 1  # on a CPU a picture is faster on one thread of two than on two threads after one another


def build_segmenter(
    model: str, *, sha256: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], serving: ServingConfig
) -> ModelConfig:
    """Say how Triton serves a segmenter: requests as they come, for pictures of different shapes make no batch.

    Args:
        model: Triton's name of it.
        sha256: Of its file.
        inputs: Of its file.
        outputs: Of its file.
        serving: On what kind of device.

    Raises:
        InputError: A tensor has a type that no YOLO segmenter has.
    """
    pb2 = messages()
    config = pb2.ModelConfig(
        name=model, platform="onnxruntime_onnx", backend="onnxruntime", default_model_filename=ONNX_NAME
    )
    config.version_policy.specific.versions.append(1)
    for section, tensors in ((config.input, inputs), (config.output, outputs)):
        for name, kind, shape in tensors:
            if kind not in _TYPES:
                raise InputError(
                    f"a segmenter's tensors must be of {', '.join(_TYPES)}, {name} is {kind}; export it again"
                )
            dims = [-1 if side is None else side for side in shape]
            section.add(name=name, data_type=pb2.DataType.Value(_TYPES[kind]), dims=dims)
    on_cpu = serving.kind == "cpu"
    kind = pb2.ModelInstanceGroup.Kind.Value(f"KIND_{serving.kind.upper()}")
    config.instance_group.add(kind=kind, count=_INSTANCES if on_cpu else 1)
    if on_cpu:
        config.parameters["intra_op_thread_count"].string_value = str(_THREADS)
        config.parameters["session.intra_op.allow_spinning"].string_value = "0"
    config.parameters["onnx_sha256"].string_value = sha256
    return stamped(config)


def build_picture(model: str, *, versions: Sequence[int], digest: str) -> ModelConfig:
    """Say how Triton serves a picture model: one picture a request, so that each has an answer or a status of its own.

    Args:
        model: Triton's name of it.
        versions: The one that is served; it names its classifier's version, so an older one answers with an older
            classifier. During a switch the one before it as well: Triton looks a request's version up twice, and
            refuses one whose version went in between.
        digest: Of the code and settings of the last one.
    """
    pb2 = messages()
    config = pb2.ModelConfig(name=model, backend="python")
    config.version_policy.specific.versions.extend(versions)
    config.input.add(name=INPUT_NAME, data_type=pb2.TYPE_STRING, dims=[1])
    config.output.add(name=OUTPUT_NAME, data_type=pb2.TYPE_STRING, dims=[1])
    config.instance_group.add(kind=pb2.ModelInstanceGroup.KIND_CPU, count=_INSTANCES)
    config.parameters["picture_model"].string_value = digest
    return stamped(config)


def is_picture_model(config: ModelConfig) -> bool:
    """Tell a picture model's configuration from every other."""
    return "picture_model" in config.parameters
