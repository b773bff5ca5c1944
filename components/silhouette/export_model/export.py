"""Export the best checkpoint of a training as a bundle, and prove that it answers as the network did.

Reads crops and the training's folder; writes what `silhouette.contracts.model_bundle` names.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import crops as crops_contract
from silhouette.contracts import model_bundle
from silhouette.contracts import training as training_contract
from silhouette.names import safe_key

if TYPE_CHECKING:
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)
_GOLDEN_CROPS = 12


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The bundle in numbers; parities are largest absolute differences of a probability."""

    onnx_sha256: str
    onnx_bytes: int
    parity_torchscript: float
    parity_onnx: float
    parity_crops: int


def export_model(*, crops: Path, training: Path, out: Path, store: Store | None = None) -> ExportReport:
    """Write ONNX, TorchScript, golden answers and the model card.

    Args:
        crops: Folder of crops to compare the answers on.
        training: Folder that `train_classifier` wrote.
        out: Folder of the bundle; the card is written last, so a folder without it is no bundle.
        store: Gets a copy below ``models/<group key>/<experiment>/``; None: no copy.

    Raises:
        InputError: The checkpoint does not fit the record beside it.
        ParityError: An exported file does not answer as the network.
    """
    import numpy as np

    from silhouette.export_model import parity, served
    from silhouette.onnx_model import OnnxModel

    record, head = training_contract.read(training), crops_contract.read_head(crops)
    out.mkdir(parents=True, exist_ok=True)
    onnx, torchscript = out / model_bundle.ONNX_NAME, out / model_bundle.TORCHSCRIPT_NAME
    model = served.load_served(training, record)
    served.write_torchscript(model, torchscript, crop_size=record.crop_size)
    metadata = served.describe(record, crop_margin=head.crop_margin, background=head.background)
    served.write_onnx(model, onnx, crop_size=record.crop_size, metadata=metadata)
    chosen = parity.choose_crops(crops)
    found = parity.check_parity(model, torchscript=torchscript, onnx=onnx, crops=chosen)
    golden = chosen[np.linspace(0, len(chosen) - 1, min(_GOLDEN_CROPS, len(chosen))).round().astype(int)]
    answers = OnnxModel(onnx).probabilities(golden)
    np.savez(out / model_bundle.GOLDEN_NAME, crops=golden, probabilities=answers)
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    card = model_bundle.ModelCard(
        group=record.group, experiment=record.experiment, classes=record.classes, crop_size=record.crop_size,
        crop_margin=head.crop_margin, background=head.background,
        backbone=record.backbone, onnx_sha256=digest, opset=served.OPSET, crops_digest=record.crops_digest,
        code_version=record.code_version, seed=record.seed, parameters=record.parameters,
        parity_torchscript=found.torchscript, parity_onnx=found.onnx, parity_crops=found.crops,
    )  # fmt: skip
    model_bundle.write(out, card)
    if store is not None:
        prefix = f"models/{safe_key(record.group)}/{safe_key(record.experiment)}"
        store.put_file(f"{prefix}/onnx/{onnx.name}", onnx)
        store.put_file(f"{prefix}/onnx/{model_bundle.JSON_NAME}", out / model_bundle.JSON_NAME)
        store.put_file(f"{prefix}/torchscripts/{torchscript.name}", torchscript)
    _LOG.info("exported %s: largest difference %.1e (TorchScript), %.1e (ONNX Runtime) on %d crops",
              onnx.name, found.torchscript, found.onnx, found.crops)  # fmt: skip
    return ExportReport(
        onnx_sha256=digest, onnx_bytes=onnx.stat().st_size, parity_torchscript=found.torchscript,
        parity_onnx=found.onnx, parity_crops=found.crops,
    )  # fmt: skip
