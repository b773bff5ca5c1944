"""Triton backend ``onnxruntime``, in Python: it serves an unmodified production model repository on the laptop.

The wheel's Triton has the Python backend only. Laid out as ``<backend directory>/onnxruntime/model.py``, this answers
to ``backend: "onnxruntime"`` and ``platform: "onnxruntime_onnx"`` with the wheel of onnxruntime, and refuses the same
broken configurations as the C++ backend. Runs in the venv of Triton, inside its stub; imports nothing of ours.

Reads ``<version>/model.onnx`` and the model's configuration; the parameters are those of the C++ backend:
``intra_op_thread_count``, ``inter_op_thread_count``, ``execution_mode``, ``enable_mem_arena``, ``enable_mem_pattern``,
``session.intra_op.allow_spinning``, and ``optimization.graph.level``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

DEFAULT_MAX_BATCH_SIZE = 4  # what the C++ backend takes for a batchable model that does not say
# The stub was compiled against numpy 1: under numpy 2 its Tensor(name, array) sends 0 bytes without a word. DLPack goes
# round that (and crashes it under numpy 1), so the way tensors cross depends on the numpy of the venv.
NUMPY_2 = int(np.__version__.split(".")[0]) >= 2
TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    """One instance of one model version; the methods and their names are the Python backend's."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in inputs, outputs and the batch size that config.pbtxt leaves out."""
        config = auto_complete_model_config.as_dict()
        if config.get("input") and config.get("output") and config.get("max_batch_size", 0) > 0:
            return auto_complete_model_config
        session = open_session(Path(pb_utils.get_model_dir()), config)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        max_batch_size = config.get("max_batch_size", 0)
        batchable = all(node.shape and not isinstance(node.shape[0], int) for node in (*inputs, *outputs))
        if max_batch_size == 0 and batchable and not (config.get("input") or config.get("output")):
            max_batch_size = DEFAULT_MAX_BATCH_SIZE
            auto_complete_model_config.set_max_batch_size(max_batch_size)
            if "dynamic_batching" not in config:
                auto_complete_model_config.set_dynamic_batching()
        sections = (
            ("input", inputs, auto_complete_model_config.add_input),
            ("output", outputs, auto_complete_model_config.add_output),
        )
        for section, nodes, add in sections:
            declared = {tensor["name"] for tensor in config.get(section, [])}
            for node in nodes:
                if node.name not in declared:
                    dims = dims_of(node)[1:] if max_batch_size > 0 else dims_of(node)
                    add({"name": node.name, "data_type": TRITON_TYPES[node.type], "dims": dims})
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the ONNX file and hold the configuration against it.

        Raises:
            pb_utils.TritonModelException: They do not agree; the model becomes UNAVAILABLE with this reason.
        """
        config = json.loads(args["model_config"])
        self.session = open_session(Path(args["model_repository"]) / args["model_version"], config)
        self.batched = config.get("max_batch_size", 0) > 0
        require_agreement(config, "input", self.session.get_inputs(), batched=self.batched)
        require_agreement(config, "output", self.session.get_outputs(), batched=self.batched)
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, as one batch where their shapes allow it."""
        if not self.batched or len(requests) == 1:
            return [self._answer(request) for request in requests]
        try:
            arrays = [[get(request, name) for request in requests] for name in self.inputs]
            feeds = {name: np.concatenate(parts) for name, parts in zip(self.inputs, arrays, strict=True)}
            results = self.session.run(self.outputs, feeds)
        except Exception:  # noqa: BLE001  one bad request must not fail those it was batched with: each for itself
            return [self._answer(request) for request in requests]
        cuts = np.cumsum([len(array) for array in arrays[0]])[:-1]
        parts = dict(zip(self.outputs, (np.split(result, cuts) for result in results), strict=True))
        return [
            pb_utils.InferenceResponse([put(name, parts[name][row]) for name in self._wanted(request)])
            for row, request in enumerate(requests)
        ]

    def finalize(self) -> None:
        """Let the session go."""
        del self.session

    def _wanted(self, request: Any) -> list[str]:
        """Return the outputs that a request asks for, in the order of the configuration; all if it names none."""
        asked = request.requested_output_names()
        return [name for name in self.outputs if name in asked] or self.outputs

    def _answer(self, request: Any) -> Any:
        """Answer one request; its failure is its answer."""
        try:
            wanted = self._wanted(request)
            results = self.session.run(wanted, {name: get(request, name) for name in self.inputs})
            return pb_utils.InferenceResponse([put(*pair) for pair in zip(wanted, results, strict=True)])
        except Exception as error:  # noqa: BLE001  onnxruntime's exceptions have no common base; the caller gets it
            return pb_utils.InferenceResponse([], error=pb_utils.TritonError(f"onnxruntime: {error}"))


def open_session(version_folder: Path, config: dict[str, Any]) -> ort.InferenceSession:
    """Open the ONNX file of a version with the options of its configuration, on the CPU."""

    def parameter(name: str, default: str) -> str:
        value: str = config.get("parameters", {}).get(name, {}).get("string_value", default)
        return value

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(parameter("intra_op_thread_count", "0"))
    options.inter_op_num_threads = int(parameter("inter_op_thread_count", "0"))
    if parameter("execution_mode", "0") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameter("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = parameter("enable_mem_pattern", "1") != "0"
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = GRAPH_LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    # Not ORT's default: on the few cores of a laptop, spinning threads take a third of the time of the others.
    spinning = parameter("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    path = version_folder / (config.get("default_model_filename") or "model.onnx")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def require_agreement(config: dict[str, Any], section: str, nodes: list[Any], *, batched: bool) -> None:
    """Hold the inputs or outputs of a configuration against those of the ONNX file.

    Raises:
        pb_utils.TritonModelException: A tensor is unknown, of another type, or of another shape.
    """
    known = {node.name: node for node in nodes}
    for tensor in config[section]:
        name = tensor["name"]
        refusal = f"unable to load model '{config['name']}': {section} '{name}'"
        if name not in known:
            raise pb_utils.TritonModelException(f"{refusal} is not in the ONNX file, which has {sorted(known)}")
        node = known[name]
        if TRITON_TYPES.get(node.type) != tensor["data_type"]:
            raise pb_utils.TritonModelException(
                f"{refusal} is {node.type} in the ONNX file, {tensor['data_type']} in config.pbtxt"
            )
        if tensor.get("reshape"):
            continue
        said, real = [-1] * batched + [int(dim) for dim in tensor["dims"]], dims_of(node)
        if len(said) != len(real) or any(b not in (-1, a) for a, b in zip(said, real, strict=True)):
            raise pb_utils.TritonModelException(f"{refusal} has shape {real} in the ONNX file, {said} in config.pbtxt")


def dims_of(node: Any) -> list[int]:
    """Return the shape of an ONNX input or output, -1 for what is free."""
    return [dim if isinstance(dim, int) else -1 for dim in node.shape]


def get(request: Any, name: str) -> Any:
    """Take an input tensor out of a request, as an array."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if NUMPY_2 and tensor.as_numpy().dtype != object:
        return np.from_dlpack(tensor)
    return tensor.as_numpy()


def put(name: str, array: Any) -> Any:
    """Make an output tensor of an array."""
    array = np.ascontiguousarray(array)
    return pb_utils.Tensor.from_dlpack(name, array) if NUMPY_2 else pb_utils.Tensor(name, array)
