"""Judge the ONNX file of a bundle on the test split and hold it against the gate.

Reads crops and the bundle; writes `metrics.json`, `report.html`, `roc.json` and `scores.json`. A refusal is a result,
not an error: the pipeline reads it from the evaluation.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import crops as crops_contract
from silhouette.contracts import evaluation as evaluation_contract
from silhouette.contracts import model_bundle
from silhouette.contracts import scores as scores_contract
from silhouette.errors import InputError

if TYPE_CHECKING:
    from silhouette.config import GateConfig
    from silhouette.evaluate_model.scores import Answers
    from silhouette.onnx_model import OnnxModel

_LOG = logging.getLogger(__name__)
ROC_NAME = "roc.json"
_BATCH = 32


def evaluate_model(*, crops: Path, bundle: Path, out: Path, gate: GateConfig) -> evaluation_contract.Evaluation:
    """Measure the model on the test split, and on val for information.

    Args:
        crops: Folder of crops.
        bundle: Folder that `export_model` wrote.
        out: Folder to write into.
        gate: What the model must reach.

    Returns:
        Metrics and the gate's rules; it passed when every rule did.

    Raises:
        InputError: Bundle and crops do not belong together, or there is no test split.
    """
    from silhouette.evaluate_model import report, scores
    from silhouette.onnx_model import OnnxModel

    card, head = model_bundle.read(bundle), crops_contract.read_head(crops)
    onnx = bundle / model_bundle.ONNX_NAME
    _check(card, head, onnx)
    model, tables = OnnxModel(onnx), {split: crops_contract.CropTable(crops, split) for split in ("val", "test")}
    if not len(tables["test"]):
        raise InputError(f"a model is judged on the test split, {crops} has none; build the dataset again with one")
    test = answer(model, tables["test"], head.classes)
    val = answer(model, tables["val"], head.classes) if len(tables["val"]) else None
    evaluation = measure(test, card=card, head=head, train=_train_counts(crops), gate=gate)
    out.mkdir(parents=True, exist_ok=True)
    pooled = scores.pooled_roc(test)
    points = {"fpr": pooled.x, "tpr": pooled.y, "threshold": pooled.thresholds}
    (out / ROC_NAME).write_text(json.dumps(points) + "\n", encoding="utf-8")
    page = report.render(evaluation, card=card, head=head, test=test, val=val, table=tables["test"])
    (out / evaluation_contract.REPORT_NAME).write_text(page, encoding="utf-8")
    best = test.probabilities.argmax(axis=1)
    answers = zip(best.tolist(), test.probabilities.max(axis=1).tolist(), strict=True)
    scores_contract.write(out, scores_contract.count(head.classes, answers))
    evaluation_contract.write(out, evaluation)
    _LOG.info(
        "test split: macro-F1 %.3f (%.3f to %.3f), majority class %.3f; %s",
        evaluation.macro_f1, evaluation.macro_f1_low, evaluation.macro_f1_high, evaluation.majority_macro_f1,
        "the gate is passed" if evaluation.passed else f"the gate refuses: {evaluation.refusal()}",
    )  # fmt: skip
    return evaluation


def _check(card: model_bundle.ModelCard, head: crops_contract.CropsHead, onnx: Path) -> None:
    if card.classes != head.classes or card.crop_size != head.crop_size:
        raise InputError(
            f"model and crops must have the same classes and size, got {card.classes} of {card.crop_size} px and"
            f" {head.classes} of {head.crop_size} px; judge the model on crops of its own group"
        )
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest() if onnx.is_file() else "no file"
    if digest != card.onnx_sha256:
        raise InputError(
            f"{onnx} must be the file that its card names, {card.onnx_sha256[:12]}, got {digest[:12]}; export it again"
        )


def _train_counts(crops: Path) -> Counter[str]:
    return Counter(crops_contract.CropTable(crops, "train").column("label"))


def answer(model: OnnxModel, table: crops_contract.CropTable, classes: list[str]) -> Answers:
    """Ask the model about every crop of a split, a batch of decoded crops in memory at a time."""
    import numpy as np

    from silhouette.evaluate_model.scores import Answers
    from silhouette.progress import track

    starts = range(0, len(table), _BATCH)
    parts = [
        model.probabilities(
            np.stack([
                crops_contract.decode_jpeg(table[row].jpeg) for row in range(start, min(start + _BATCH, len(table)))
            ])
        )
        for start in track(starts, total=len(starts), description="judging")
    ]  # fmt: skip
    pixsets, pictures = table.column("pixset_id"), table.column("picture_id")
    return Answers(
        labels=np.array([classes.index(label) for label in table.column("label")], dtype=np.int64),
        probabilities=np.concatenate(parts),
        groups=[f"s{pixset}" if pixset else f"p{picture}" for pixset, picture in zip(pixsets, pictures, strict=True)],
    )


def measure(
    test: Answers,
    *,
    card: model_bundle.ModelCard,
    head: crops_contract.CropsHead,
    train: Counter[str],
    gate: GateConfig,
) -> evaluation_contract.Evaluation:
    """Turn the answers on the test split into the evaluation, the gate's rules included."""
    import numpy as np

    from silhouette.evaluate_model import scores

    confusion = test.confusion
    hits, said, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    f1 = scores.f1_of(confusion)
    low, high = scores.macro_f1_interval(test, seed=card.seed)
    majority = max(range(len(head.classes)), key=lambda number: train[head.classes[number]])
    majority_accuracy, majority_f1 = scores.majority_scores(test.labels, majority=majority, classes=len(head.classes))
    per_class = [
        evaluation_contract.ClassScore(
            name=name, precision=float(hits[n] / max(said[n], 1)), recall=float(hits[n] / max(support[n], 1)),
            f1=float(f1[n]), support=int(support[n]),
        )
        for n, name in enumerate(head.classes)
    ]  # fmt: skip
    macro_f1 = float(f1.mean())
    rule = evaluation_contract.GateRule(
        rule="macro_f1", value=macro_f1, limit=gate.min_macro_f1, passed=macro_f1 >= gate.min_macro_f1
    )
    return evaluation_contract.Evaluation(
        group=card.group, experiment=card.experiment, onnx_sha256=card.onnx_sha256, classes=head.classes,
        test_crops=len(test.labels), accuracy=float(hits.sum() / len(test.labels)),
        majority_accuracy=majority_accuracy, majority_macro_f1=majority_f1,
        balanced_accuracy=float((hits / np.maximum(support, 1))[support > 0].mean()),
        macro_f1=macro_f1, macro_f1_low=low, macro_f1_high=high, per_class=per_class,
        confusion=confusion.tolist(), rules=[rule],
    )  # fmt: skip
