"""Export the best checkpoint of a training as a bundle, and prove that it answers as the network did.

Reads crops and the training's folder; writes what `silhouette.contracts.model_bundle` names.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.config import ExportConfig
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import model_bundle
from silhouette.contracts import training as training_contract
from silhouette.names import safe_key

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.store import Store

_LOG = logging.getLogger(__name__)
_GOLDEN_CROPS = 12


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The bundle in numbers; parities are largest absolute differences of a probability."""

    onnx_sha256: str
    onnx_bytes: int
    temperature: float
    parity_torchscript: float
    parity_onnx: float
    parity_batch: float
    parity_crops: int
    variants: tuple[str, ...]


def export_model(
    *, crops: Path, training: Path, out: Path, store: Store | None = None, config: ExportConfig | None = None
) -> ExportReport:
    """Write ONNX, TorchScript, golden answers and the model card.

    Args:
        crops: Folder of crops: val gives the temperature, all splits the pictures to compare answers on.
        training: Folder that `train_classifier` wrote.
        out: Folder of the bundle; the card is written last, so a folder without it is no bundle.
        store: Gets a copy below ``models/<group key>/<experiment>/``; None: no copy.
        config: Opset, batch, size and variants; None: the shipped ones.

    Raises:
        InputError: The checkpoint does not fit the record beside it.
        ParityError: An exported file is not what a release must be, or does not answer as the network.
    """
    from silhouette.export_model import parity, served
    from silhouette.export_model.checked import check_onnx
    from silhouette.export_model.temperature import calibrate
    from silhouette.export_model.variants import write_variants

    config = config or ExportConfig()
    record, head = training_contract.read(training), crops_contract.read_head(crops)
    out.mkdir(parents=True, exist_ok=True)
    (out / model_bundle.JSON_NAME).unlink(missing_ok=True)
    onnx, torchscript = out / model_bundle.ONNX_NAME, out / model_bundle.TORCHSCRIPT_NAME
    model = served.load_served(training, record)
    fitted_on = calibrate(model, crops, record.classes)
    temperature = float(model.temperature)
    served.write_torchscript(model, torchscript, crop_size=record.crop_size)
    metadata = served.describe(
        record, crop_margin=head.crop_margin, background=head.background, temperature=temperature
    )
    served.write_onnx(model, onnx, crop_size=record.crop_size, opset=config.opset, metadata=metadata)
    check_onnx(onnx, crop_size=record.crop_size, classes=len(record.classes), max_megabytes=config.max_megabytes)
    real = parity.choose_crops(crops)
    pictures = parity.with_odd_pictures(real)
    found = parity.check_parity(
        model, torchscript=torchscript, onnx=onnx, crops=pictures, largest_batch=config.largest_batch
    )
    variants = write_variants(out, crops=crops, pictures=pictures, classes=len(record.classes), config=config)
    _write_golden(out, real)
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    card = model_bundle.ModelCard(
        group=record.group, experiment=record.experiment, classes=record.classes, crop_size=record.crop_size,
        crop_margin=head.crop_margin, background=head.background,
        backbone=record.backbone, onnx_sha256=digest, opset=config.opset, crops_digest=record.crops_digest,
        code_version=record.code_version, seed=record.seed, parameters=record.parameters,
        parity_torchscript=found.torchscript, parity_onnx=found.onnx, parity_batch=found.batch,
        parity_crops=found.crops, temperature=temperature, temperature_crops=fitted_on, variants=variants,
        average=record.average,
    )  # fmt: skip
    model_bundle.write(out, card)
    if store is not None:
        _keep(out, card, store)
    _LOG.info(
        "exported %s, temperature %.2f: largest difference %.1e (TorchScript), %.1e (ONNX Runtime) on %d pictures",
        onnx.name, temperature, found.torchscript, found.onnx, found.crops,
    )  # fmt: skip
    return ExportReport(
        onnx_sha256=digest, onnx_bytes=onnx.stat().st_size, temperature=temperature,
        parity_torchscript=found.torchscript, parity_onnx=found.onnx, parity_batch=found.batch,
        parity_crops=found.crops, variants=tuple(variant.name for variant in variants),
    )  # fmt: skip


def _write_golden(out: Path, real: npt.NDArray[np.uint8]) -> None:
    """Write a few real crops with the release's answers: what every later stage must answer, too."""
    import numpy as np

    from silhouette.onnx_model import OnnxModel

    golden = real[np.linspace(0, len(real) - 1, min(_GOLDEN_CROPS, len(real))).round().astype(int)]
    answers = OnnxModel(out / model_bundle.ONNX_NAME).probabilities(golden)
    np.savez(out / model_bundle.GOLDEN_NAME, crops=golden, probabilities=answers)


def _keep(out: Path, card: model_bundle.ModelCard, store: Store) -> None:
    prefix = f"models/{safe_key(card.group)}/{safe_key(card.experiment)}"
    names = [model_bundle.ONNX_NAME, model_bundle.JSON_NAME, model_bundle.GOLDEN_NAME]
    for name in [*names, *(model_bundle.variant_name(variant.name) for variant in card.variants)]:
        store.put_file(f"{prefix}/onnx/{name}", out / name)
    store.put_file(f"{prefix}/torchscripts/{model_bundle.TORCHSCRIPT_NAME}", out / model_bundle.TORCHSCRIPT_NAME)
