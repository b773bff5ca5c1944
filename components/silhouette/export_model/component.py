"""What KFP sees of `export_model`."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from silhouette.containers import torch_step


@torch_step
def export_model(crops: Input[Dataset], training: Input[Model], model: Output[Model], metrics: Output[Metrics]):
    """Export to TorchScript and ONNX with pre-processing in the graph; a breach of parity stops the release."""
    from silhouette.step import keep_metadata, scalars, step

    with step():
        from pathlib import Path

        from silhouette.export_model.export import export_model
        from silhouette.store import open_store

        report = export_model(
            crops=Path(crops.path), training=Path(training.path), out=Path(model.path), store=open_store()
        )
        model.metadata.update(scalars(report))
        metrics.log_metric("parity_torchscript", report.parity_torchscript)
        metrics.log_metric("parity_onnx", report.parity_onnx)
        keep_metadata(metrics)
