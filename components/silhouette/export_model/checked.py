"""What an ONNX file must be before it may be called a release or a variant of one.

Reads a file; writes nothing. Who serves a model runs it: a file holds its own weights, standard operators without side
effects, and the input and output that the contract names, or it is not released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silhouette.contracts import model_bundle
from silhouette.errors import ParityError

# what networks for pictures are made of, as ONNX's standard operators; nothing that loops, branches, draws random
# numbers, reads text or belongs to one vendor
OPERATORS = frozenset(
    """
    Abs Add And ArgMax AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv Cos
    CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul
    Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements
    ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Tanh Tile TopK Transpose Trilu Unsqueeze Where
    """.split()  # noqa: SIM905 - a hundred quoted names are no easier to read
)
_STANDARD = ("", "ai.onnx")
_WAY_OUT = "nothing is released; train another backbone, or report this one"


def check_onnx(path: Path, *, crop_size: int, classes: int, max_megabytes: float) -> None:
    """Hold a model file against what a release must be.

    Args:
        path: Of the file.
        crop_size: Side of the crops that it takes.
        classes: How many probabilities it gives.
        max_megabytes: The most that it may weigh.

    Raises:
        ParityError: It is too large, malformed, keeps weights elsewhere, has an operator that is not allowed, or
            another input or output than the contract's.
    """
    import onnx

    size = path.stat().st_size / 1e6
    if size > max_megabytes:
        raise ParityError(
            f"a released model file must have at most {max_megabytes:g} MB, {path.name} has {size:.0f} MB; nothing is"
            " released, train a smaller backbone or raise export.max_megabytes"
        )
    model = onnx.load(path, load_external_data=False)
    if outside := [item.name for item in model.graph.initializer if item.data_location == onnx.TensorProto.EXTERNAL]:
        raise ParityError(f"a model file must hold its own weights, {path.name} keeps {outside[0]!r} elsewhere;"
                          f" {_WAY_OUT}")  # fmt: skip
    _check_operators(model, path)
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ParityError(f"{path.name} must be valid ONNX, it is not: {' '.join(str(error).split())[:300]};"
                          f" {_WAY_OUT}") from None  # fmt: skip
    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    wanted = (
        (model_bundle.INPUT_NAME, uint8, ["n", crop_size, crop_size, 3]),
        (model_bundle.OUTPUT_NAME, float32, ["n", classes]),
    )
    for (name, kind, shape), found in zip(wanted, (inferred.graph.input, inferred.graph.output), strict=True):
        got = [_describe(item) for item in found]
        if got != [(name, kind, shape)]:
            raise ParityError(f"{path.name} must have the one tensor {(name, kind, shape)} there, got {got};"
                              f" {_WAY_OUT}")  # fmt: skip


def _check_operators(model: Any, path: Path) -> None:
    domains = sorted({node.domain for node in model.graph.node} | {item.domain for item in model.functions})
    if strange := [domain for domain in domains if domain not in _STANDARD]:
        raise ParityError(f"a model file must use ONNX's own operators, {path.name} has some of {strange[0]!r};"
                          f" {_WAY_OUT}")  # fmt: skip
    if others := sorted({node.op_type for node in model.graph.node} - OPERATORS):
        raise ParityError(f"a model file must be made of operators on the list, {path.name} has {', '.join(others)};"
                          f" {_WAY_OUT}")  # fmt: skip


def _describe(tensor: Any) -> tuple[str, int, list[str | int]]:
    """Return a tensor's name, type and shape; a dimension without a number is ``n``."""
    kind = tensor.type.tensor_type
    shape = [axis.dim_value if axis.HasField("dim_value") else "n" for axis in kind.shape.dim]
    return tensor.name, kind.elem_type, shape
