"""Judge the ONNX file of a bundle on the test split and hold it against the gate.

Reads crops and the bundle; writes `metrics.json`, `report.html`, `roc.json` and `scores.json`. A refusal is a result,
not an error: the pipeline reads it from the evaluation.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.config import EvaluateConfig
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import evaluation as evaluation_contract
from silhouette.contracts import model_bundle
from silhouette.contracts import scores as scores_contract
from silhouette.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.config import GateConfig
    from silhouette.evaluate_model.champion import Champion
    from silhouette.evaluate_model.reliance import Example
    from silhouette.evaluate_model.scores import Answers
    from silhouette.onnx_model import OnnxModel

_LOG = logging.getLogger(__name__)
ROC_NAME = "roc.json"
_BATCH = 32
_SUM_TOLERANCE = 0.01  # half precision sums to 1 within 0.002


def evaluate_model(
    *,
    crops: Path,
    bundle: Path,
    out: Path,
    gate: GateConfig,
    config: EvaluateConfig | None = None,
    champion: Champion | None = None,
) -> evaluation_contract.Evaluation:
    """Measure the model on the test split, and on val for information.

    Args:
        crops: Folder of crops.
        bundle: Folder that `export_model` wrote.
        out: Folder to write into.
        gate: What the model must reach.
        config: What is measured besides; None: nothing.
        champion: The model that is served now; None: there is none.

    Returns:
        Metrics and the gate's rules; it passed when every rule did.

    Raises:
        InputError: Bundle and crops do not belong together, or there is no test split.
    """
    from silhouette.evaluate_model import report, scores
    from silhouette.onnx_model import OnnxModel

    card, head = model_bundle.read(bundle), crops_contract.read_head(crops)
    _check(card, head, bundle)
    model = OnnxModel(bundle / model_bundle.ONNX_NAME)
    tables = {split: crops_contract.CropTable(crops, split) for split in ("val", "test")}
    if not len(tables["test"]):
        raise InputError(f"a model is judged on the test split, {crops} has none; build the dataset again with one")
    test = answer(model, tables["test"], head.classes)
    val = answer(model, tables["val"], head.classes) if len(tables["val"]) else None
    evaluation, examples = _measure(
        model, test, val, crops=crops, bundle=bundle, card=card, head=head, gate=gate, champion=champion,
        views=(config or EvaluateConfig()).test_time_augmentation,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    pooled = scores.pooled_roc(test)
    points = {"fpr": pooled.x, "tpr": pooled.y, "threshold": pooled.thresholds}
    (out / ROC_NAME).write_text(json.dumps(points) + "\n", encoding="utf-8")
    page = report.render(evaluation, card=card, head=head, test=test, table=tables["test"], examples=examples)
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


def _check(card: model_bundle.ModelCard, head: crops_contract.CropsHead, bundle: Path) -> None:
    if card.classes != head.classes or card.crop_size != head.crop_size:
        raise InputError(
            f"model and crops must have the same classes and size, got {card.classes} of {card.crop_size} px and"
            f" {head.classes} of {head.crop_size} px; judge the model on crops of its own group"
        )
    files = {model_bundle.ONNX_NAME: card.onnx_sha256}
    files |= {model_bundle.variant_name(variant.name): variant.sha256 for variant in card.variants}
    for name, sha256 in files.items():
        file = bundle / name
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
        if digest != sha256:
            raise InputError(
                f"{file} must be the file that its card names, {sha256[:12]}, got {digest[:12]}; export it again"
            )


def answer(
    model: OnnxModel, table: crops_contract.CropTable, classes: list[str], *, views: Sequence[str] = ()
) -> Answers:
    """Ask the model about every crop of a split, a batch of decoded crops in memory at a time.

    Args:
        model: Answers with probabilities.
        table: The crops of the split.
        classes: In the order of the model's outputs.
        views: Of `augmented.views_of`: the answer is the mean over them.

    Raises:
        InputError: The model answers with what is no probability.
    """
    import numpy as np

    from silhouette.evaluate_model.augmented import views_of
    from silhouette.evaluate_model.scores import Answers
    from silhouette.progress import track

    def ask(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        answers = [model.probabilities(view) for view in views_of(crops, views)]
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)

    starts = range(0, len(table), _BATCH)
    parts = [
        ask(
            np.stack([
                crops_contract.decode_jpeg(table[row].jpeg) for row in range(start, min(start + _BATCH, len(table)))
            ])
        )
        for start in track(starts, total=len(starts), description="judging")
    ]  # fmt: skip
    probabilities = np.concatenate(parts)
    sums = probabilities.sum(axis=1)
    if not (np.abs(sums - 1) <= _SUM_TOLERANCE).all():  # also true of NaN
        strange = int((~(np.abs(sums - 1) <= _SUM_TOLERANCE)).argmax())
        raise InputError(
            f"a model must answer with probabilities that sum to 1, it gave {probabilities[strange].tolist()} to the"
            f" crop of {table[strange].picture_id!r}; export it again, or train again if its weights are no numbers"
        )
    pixsets, pictures = table.column("pixset_id"), table.column("picture_id")
    return Answers(
        labels=np.array([classes.index(label) for label in table.column("label")], dtype=np.int64),
        probabilities=probabilities,
        groups=[f"s{pixset}" if pixset else f"p{picture}" for pixset, picture in zip(pixsets, pictures, strict=True)],
    )


def _measure(
    model: OnnxModel,
    test: Answers,
    val: Answers | None,
    *,
    crops: Path,
    bundle: Path,
    card: model_bundle.ModelCard,
    head: crops_contract.CropsHead,
    gate: GateConfig,
    champion: Champion | None,
    views: Sequence[str],
) -> tuple[evaluation_contract.Evaluation, list[Example]]:
    """Turn the answers on the test split into the evaluation, the gate's rules included; and examples to show."""
    from silhouette.evaluate_model import scores, slices
    from silhouette.evaluate_model.augmented import augmented_scores
    from silhouette.evaluate_model.calibration import calibration_of
    from silhouette.evaluate_model.champion import compare
    from silhouette.evaluate_model.gate import rules_of
    from silhouette.evaluate_model.per_class import per_class_scores
    from silhouette.evaluate_model.reliance import measure_reliance
    from silhouette.evaluate_model.resampling import drawn_confusions, interval

    table, seed = crops_contract.CropTable(crops, "test"), card.seed
    train = Counter(crops_contract.CropTable(crops, "train").column("label"))
    majority = max(range(len(head.classes)), key=lambda number: train[head.classes[number]])
    majority_accuracy, majority_f1 = scores.majority_scores(test.labels, majority=majority, classes=len(head.classes))
    drawn = drawn_confusions(test, seed=seed)
    macro_f1 = interval(float(scores.f1_of(test.confusion).mean()), scores.f1_of(drawn).mean(axis=-1))
    accuracy = interval(float(scores.accuracy_of(test.confusion)), scores.accuracy_of(drawn))
    balanced = interval(float(scores.balanced_accuracy_of(test.confusion)), scores.balanced_accuracy_of(drawn))
    calibration = calibration_of(test, temperature=card.temperature, seed=seed)
    background, examples = measure_reliance(model, crops=crops, head=head, test=test, majority=majority, seed=seed)
    compared, note = compare(
        champion, test, head=head, ask=lambda served, classes: answer(served, table, classes), seed=seed
    )
    augmented = None
    if views:
        mean_answers = answer(model, table, head.classes, views=views)
        augmented = augmented_scores(mean_answers, test, kinds=views, seed=seed)
    per_class = per_class_scores(test, head.classes, drawn=drawn, pictures=table.column("picture_id"))
    rules = rules_of(
        gate, macro_f1=macro_f1.value, calibration=calibration, background=background, champion=compared,
        champion_note=note, pictures={score.name: score.pictures for score in per_class},
    )  # fmt: skip
    return evaluation_contract.Evaluation(
        group=card.group, experiment=card.experiment, onnx_sha256=card.onnx_sha256, classes=head.classes,
        test_crops=len(test.labels), accuracy=accuracy.value, accuracy_interval=accuracy,
        majority_accuracy=majority_accuracy, majority_macro_f1=majority_f1,
        balanced_accuracy=balanced.value, balanced_accuracy_interval=balanced,
        macro_f1=macro_f1.value, macro_f1_low=macro_f1.low, macro_f1_high=macro_f1.high,
        val_macro_f1=None if val is None else float(scores.f1_of(val.confusion).mean()),
        per_class=per_class, confusion=test.confusion.tolist(), rules=rules, calibration=calibration,
        slices=slices.slices_of(test, table, crop_size=head.crop_size), background=background,
        champion=compared, champion_note=note,
        variants=_variants(bundle, card, test, table), augmented=augmented,
    ), examples  # fmt: skip


def _variants(
    bundle: Path, card: model_bundle.ModelCard, test: Answers, table: crops_contract.CropTable
) -> list[evaluation_contract.VariantScore]:
    """Ask the smaller files of the model as well, each for itself."""
    import numpy as np

    from silhouette.evaluate_model import calibration, scores
    from silhouette.onnx_model import OnnxModel

    measured = []
    for variant in card.variants:
        answers = answer(OnnxModel(bundle / model_bundle.variant_name(variant.name)), table, card.classes)
        sure = answers.probabilities.max(axis=1).astype(np.float64)
        measured.append(
            evaluation_contract.VariantScore(
                name=variant.name, sha256=variant.sha256, size_bytes=variant.size_bytes,
                accuracy=float(scores.accuracy_of(answers.confusion)),
                macro_f1=float(scores.f1_of(answers.confusion).mean()),
                ece=calibration.ece(sure, answers.predicted == answers.labels),
                max_difference=float(np.abs(answers.probabilities - test.probabilities).max()),
                agreement=float(np.mean(answers.predicted == test.predicted)),
            )
        )  # fmt: skip
    return measured
