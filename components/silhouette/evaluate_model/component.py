"""What KFP sees of `evaluate_model`."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from silhouette.containers import cpu_step


@cpu_step
def evaluate_model(
    crops: Input[Dataset],
    model: Input[Model],
    settings: str,
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("passed", bool), ("refusal", str)]):
    """Judge the ONNX file on the test split and say whether it may be deployed."""
    from silhouette.step import keep_metadata, step

    with step():
        import json
        import shutil
        from pathlib import Path

        from silhouette.config import GateConfig
        from silhouette.contracts.evaluation import REPORT_NAME
        from silhouette.evaluate_model.evaluate import ROC_NAME, evaluate_model

        out = Path(evaluation.path)
        judged = evaluate_model(
            crops=Path(crops.path), bundle=Path(model.path), out=out, gate=GateConfig.model_validate_json(settings)
        )
        for name in ("macro_f1", "macro_f1_low", "macro_f1_high", "balanced_accuracy", "accuracy", "majority_accuracy"):
            metrics.log_metric(name, getattr(judged, name))
        curves.log_confusion_matrix(judged.classes, judged.confusion)
        curves.log_roc_curve(**json.loads((out / ROC_NAME).read_text(encoding="utf-8")))
        keep_metadata(metrics, curves)
        shutil.copyfile(out / REPORT_NAME, report.path)
        return judged.passed, judged.refusal()
