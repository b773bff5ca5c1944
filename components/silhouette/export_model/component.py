"""What KFP sees of `export_model`."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from silhouette.containers import torch_step


@torch_step
def export_model(
    crops: Input[Dataset], training: Input[Model], settings: str, model: Output[Model], metrics: Output[Metrics]
) -> str:
    """Export to TorchScript and ONNX with pre-processing and temperature inside; a breach of parity stops the release.

    Returns:
        The SHA-256 of the ONNX file.
    """
    from silhouette.step import keep_metadata, scalars, step

    with step():
        from pathlib import Path

        from silhouette.config import ExportConfig
        from silhouette.export_model.export import export_model
        from silhouette.store import open_store

        report = export_model(
            crops=Path(crops.path),
            training=Path(training.path),
            out=Path(model.path),
            store=open_store(),
            config=ExportConfig.model_validate_json(settings),
        )
        model.metadata.update(scalars(report))
        for name in ("temperature", "parity_torchscript", "parity_onnx", "parity_batch"):
            metrics.log_metric(name, getattr(report, name))
        keep_metadata(metrics)
        return report.onnx_sha256
