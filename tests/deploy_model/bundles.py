"""Tiny model bundles: uint8 crops, mean per channel, a matrix, softmax. Real ONNX files, made in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from silhouette.contracts import evaluation, model_bundle
from silhouette.contracts.evaluation import Evaluation, GateRule
from silhouette.contracts.model_bundle import GOLDEN_NAME, ONNX_NAME, ModelCard

CLASSES = ("red", "green", "blue")
SIZE = 32
_WIDE, _DEEP = 1500, 40


@dataclass(frozen=True, kw_only=True)
class Judged:
    bundle: Path
    evaluation: Path
    card: ModelCard


def write_onnx(path: Path, *, weights: npt.NDArray[np.float32], size: int = SIZE, slow: bool = False) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = []
    if slow:  # work that changes nothing: the mean through wide layers, times zero, added to the logits
        wide = [("wide0", np.ones((3, _WIDE), np.float32)), ("wide", np.ones((_WIDE, _WIDE), np.float32) / _WIDE)]
        constants = [*wide, ("nothing", np.zeros((_WIDE, weights.shape[1]), np.float32))]
        steps = [helper.make_node("MatMul", ["mean", "wide0"], ["w0"])]
        steps += [helper.make_node("MatMul", [f"w{n}", "wide"], [f"w{n + 1}"]) for n in range(_DEEP)]
        steps += [helper.make_node("MatMul", [f"w{_DEEP}", "nothing"], ["zero"])]
        steps += [helper.make_node("Add", ["plain", "zero"], ["logits"])]
        nodes[3] = helper.make_node("MatMul", ["mean", "weights"], ["plain"])
        nodes[4:4] = steps
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [
            numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
            *(numpy_helper.from_array(values, name) for name, values in constants),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))


def answers(crops: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same function in numpy."""
    logits = (crops.astype(np.float64) / 255).mean(axis=(1, 2)) @ weights
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def make(
    folder: Path,
    *,
    group: str,
    classes: Sequence[str] = CLASSES,
    strength: float = 9.0,
    size: int = SIZE,
    passed: bool = True,
    permuted: bool = False,
    broken: bool = False,
    slow: bool = False,
    nan: bool = False,
) -> Judged:
    """A model that names the channel that is the brightest; `strength` makes another file of it.

    `permuted`: its golden answers are those of another order of the classes. `broken`: its file is no ONNX.
    `slow`: it says the same and takes many times as long. `nan`: its file answers what is no number.
    """
    bundle, judged = folder / "bundle", folder / "evaluation"
    bundle.mkdir(parents=True)
    judged.mkdir()
    weights = (np.eye(3, len(classes)) * strength).astype(np.float32)
    write_onnx(bundle / ONNX_NAME, weights=weights * np.float32(np.nan if nan else 1), size=size, slow=slow)
    if broken:
        (bundle / ONNX_NAME).write_bytes(b"this is no model")
    crops = np.random.default_rng(5).integers(0, 90, (7, size, size, 3), dtype=np.uint8)
    for number in range(len(crops)):
        crops[number, :, :, number % 3] += 120
    probabilities = answers(crops, weights)
    told = np.roll(probabilities, 1, axis=1) if permuted else probabilities
    np.savez(bundle / GOLDEN_NAME, crops=crops, probabilities=told)
    sha256 = hashlib.sha256((bundle / ONNX_NAME).read_bytes()).hexdigest()
    card = ModelCard(
        group=group,
        experiment=f"e{strength:g}",
        classes=list(classes),
        crop_margin=0.1,
        background="keep",
        crop_size=size,
        backbone="mean",
        onnx_sha256=sha256,
        opset=18,
        crops_digest="0",
        code_version="0",
        seed=0,
        parameters={},
        parity_torchscript=0.0,
        parity_onnx=0.0,
        parity_crops=7,
    )
    model_bundle.write(bundle, card)
    evaluation.write(
        judged,
        Evaluation(
            group=group,
            experiment=card.experiment,
            onnx_sha256=sha256,
            classes=card.classes,
            test_crops=7,
            accuracy=1.0,
            majority_accuracy=0.4,
            majority_macro_f1=0.2,
            balanced_accuracy=1.0,
            macro_f1=1.0 if passed else 0.31,
            macro_f1_low=0.9,
            macro_f1_high=1.0,
            per_class=[],
            confusion=[],
            rules=[GateRule(rule="macro_f1", value=1.0 if passed else 0.31, limit=0.45, passed=passed)],
        ),
    )
    return Judged(bundle=bundle, evaluation=judged, card=card)
