"""Smaller files of the released model: half precision, or 8-bit integers calibrated on training crops.

Reads the release; writes `model.fp16.onnx` and `model.int8.onnx` beside it. The release is what is judged and served;
a variant is an offer to who serves elsewhere, and carries its own numbers.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import float16

from silhouette.contracts import crops as crops_contract
from silhouette.contracts import model_bundle
from silhouette.contracts.model_bundle import Variant
from silhouette.errors import InputError, ParityError
from silhouette.export_model.checked import check_onnx
from silhouette.onnx_model import OnnxModel

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.config import ExportConfig

_CALIBRATION_CROPS = 128
_QUANTISED = ["Conv", "Gemm", "MatMul"]  # where the weight and the time are; the rest stays exact


def write_variants(
    bundle: Path, *, crops: Path, pictures: npt.NDArray[np.uint8], classes: int, config: ExportConfig
) -> list[Variant]:
    """Write the variants that the configuration names, check each file and compare its answers with the release's.

    Args:
        bundle: Folder with the release.
        crops: Folder of crops; the training split calibrates ``int8``.
        pictures: uint8 [n, size, size, 3], the parity pictures.
        classes: How many probabilities there are.
        config: Names the variants.

    Raises:
        ParityError: A file is not what a model file must be, or answers with what is no number.
    """
    release = bundle / model_bundle.ONNX_NAME
    writers: dict[str, Callable[[Path, Path, Path], None]] = {"fp16": _write_fp16, "int8": _write_int8}
    made = []
    expected = OnnxModel(release).probabilities(pictures) if config.variants else np.empty(0, np.float32)
    for name in dict.fromkeys(config.variants):
        path = bundle / model_bundle.variant_name(name)
        writers[name](release, path, crops)
        check_onnx(path, crop_size=pictures.shape[1], classes=classes, max_megabytes=config.max_megabytes)
        answers = OnnxModel(path).probabilities(pictures)
        difference = float(np.abs(answers - expected).max())
        if not np.isfinite(difference):
            raise ParityError(f"the {name} variant must answer with numbers, it does not; nothing is released, take"
                              f" {name} off export.variants")  # fmt: skip
        made.append(
            Variant(
                name=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size_bytes=path.stat().st_size,
                max_difference=difference, agreement=float((answers.argmax(1) == expected.argmax(1)).mean()),
            )
        )  # fmt: skip
    return made


def _write_fp16(release: Path, path: Path, crops: Path) -> None:  # noqa: ARG001 - every writer is called alike
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights below the smallest half are cut to it, one warning each
        model = float16.convert_float_to_float16(onnx.load(release), keep_io_types=True)
    onnx.save(model, path)


class _Reader(CalibrationDataReader):
    """Training crops, spread over the split and one at a time, as ONNX Runtime's calibration asks for them."""

    def __init__(self, crops: Path) -> None:
        table = crops_contract.CropTable(crops, "train")
        if not len(table):
            raise InputError(f"int8 is calibrated on training crops, {crops} has none; take int8 off export.variants")
        rows = np.linspace(0, len(table) - 1, min(_CALIBRATION_CROPS, len(table))).round().astype(int).tolist()
        self._feeds = ({model_bundle.INPUT_NAME: crops_contract.decode_jpeg(table[row].jpeg)[None]} for row in rows)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the next crop by the input's name, or None at the end."""
        return next(self._feeds, None)


def _write_int8(release: Path, path: Path, crops: Path) -> None:
    """Quantise statically: 8-bit weights by channel, activations by the range seen on training crops."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends to everyone what is done here
    try:
        with tempfile.TemporaryDirectory(prefix="silhouette-int8-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = str(Path(folder) / "prepared.onnx")
            quant_pre_process(str(release), prepared, skip_symbolic_shape=True, skip_optimization=True)
            quantize_static(
                prepared, str(path), _Reader(crops), quant_format=QuantFormat.QDQ, per_channel=True,
                op_types_to_quantize=_QUANTISED, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
    finally:
        root.setLevel(level)
