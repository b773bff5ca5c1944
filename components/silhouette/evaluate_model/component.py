"""What KFP sees of `evaluate_model`."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from silhouette.containers import cpu_step


@cpu_step
def evaluate_model(
    crops: Input[Dataset],
    model: Input[Model],
    group: str,
    champion: str,
    settings: str,
    gate: str,
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
    report: Output[HTML],
) -> NamedTuple("Outputs", [("passed", bool), ("refusal", str)]):
    """Judge the ONNX file on the test split, beside the served one, and say whether it may be deployed."""
    from silhouette.step import keep_metadata, step

    with step():
        import json
        import shutil
        import tempfile
        from pathlib import Path

        from silhouette.config import EvaluateConfig, GateConfig
        from silhouette.contracts.evaluation import REPORT_NAME
        from silhouette.evaluate_model.champion import fetch_champion
        from silhouette.evaluate_model.evaluate import ROC_NAME, evaluate_model
        from silhouette.store import open_store

        out = Path(evaluation.path)
        with tempfile.TemporaryDirectory() as folder:
            judged = evaluate_model(
                crops=Path(crops.path),
                bundle=Path(model.path),
                out=out,
                gate=GateConfig.model_validate_json(gate),
                config=EvaluateConfig.model_validate_json(settings),
                champion=fetch_champion(champion, group=group, store=open_store(), folder=Path(folder)),
            )
        for name, value in judged.scalars().items():
            metrics.log_metric(name, value)
        curves.log_confusion_matrix(judged.classes, judged.confusion)
        curves.log_roc_curve(**json.loads((out / ROC_NAME).read_text(encoding="utf-8")))
        keep_metadata(metrics, curves)
        shutil.copyfile(out / REPORT_NAME, report.path)
        return judged.passed, judged.refusal()
