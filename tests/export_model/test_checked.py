"""What may not be released: each way in which a model file can be another thing than it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from silhouette.errors import ParityError
from silhouette.export_model.checked import OPERATORS, check_onnx
from tests.deploy_model.bundles import write_onnx


def changed(folder: Path, change: Callable[[Any], object]) -> Path:
    """A small model that is released as it is, after a change."""
    path = folder / "model.onnx"
    write_onnx(path, weights=np.eye(3, dtype=np.float32), size=32)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def check(path: Path, *, max_megabytes: float = 1) -> None:
    check_onnx(path, crop_size=32, classes=3, max_megabytes=max_megabytes)


def test_a_model_that_is_as_it_should_be_is_let_through(tmp_path: Path) -> None:
    check(changed(tmp_path, lambda model: None))


def test_the_list_holds_operators_that_onnx_knows_and_none_that_draws_or_branches() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= OPERATORS
    assert not OPERATORS & {"If", "Loop", "Scan", "RandomNormal", "RandomUniformLike", "Bernoulli", "StringNormalizer"}


def give(model: Any, op_type: str, domain: str = "") -> None:
    model.graph.node[1].op_type, model.graph.node[1].domain = op_type, domain


def outside(model: Any) -> None:
    tensor = model.graph.initializer[2]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="weights.bin")


def another_type(model: Any) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def fixed_batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def renamed(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"


def another_output(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]))


def weights_that_do_not_fit(model: Any) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.zeros((5, 3), np.float32), "weights"))


WRONG = {
    "an operator that draws": (lambda m: give(m, "RandomUniformLike"), "operators on the list, .* RandomUniformLike"),
    "a vendor's operator": (lambda m: give(m, "Mul", "com.example"), r"ONNX's own operators, .* 'com\.example'"),
    "weights elsewhere": (outside, "hold its own weights, model.onnx keeps 'weights' elsewhere"),
    "another type": (another_type, "must be valid ONNX|one tensor"),
    "a fixed batch": (fixed_batch, "must be valid ONNX|one tensor"),
    "another name": (renamed, "one tensor"),
    "one more output": (another_output, "one tensor"),
    "weights of another shape": (weights_that_do_not_fit, "must be valid ONNX"),
    "a node without its input": (lambda m: m.graph.node[1].input.__setitem__(0, "nowhere"), "must be valid ONNX"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_not_released(case: str, tmp_path: Path) -> None:
    change, message = WRONG[case]
    with pytest.raises(ParityError, match=message):
        check(changed(tmp_path, change))


def test_what_is_too_large_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"at most 0\.0001 MB"):
        check(changed(tmp_path, lambda model: None), max_megabytes=0.0001)
