"""What KFP sees of `train_classifier`."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from silhouette.containers import torch_step


@torch_step
def train_classifier(
    crops: Input[Dataset], experiment: str, settings: str, gpus: int, training: Output[Model], metrics: Output[Metrics]
):
    """Train a timm classifier with Lightning; checkpoints reach the store while it trains."""
    from silhouette.step import keep_metadata, scalars, step

    with step():
        from pathlib import Path

        from silhouette import __version__
        from silhouette.config import TrainingConfig
        from silhouette.contracts.crops import read_head
        from silhouette.contracts.training import experiment_name
        from silhouette.store import open_store
        from silhouette.train_classifier.train import train_classifier

        digest = read_head(Path(crops.path)).digest
        report = train_classifier(
            crops=Path(crops.path),
            out=Path(training.path),
            experiment=experiment or experiment_name(crops_digest=digest, settings=settings, code_version=__version__),
            config=TrainingConfig.model_validate_json(settings),
            device="gpu" if gpus else "cpu",
            store=open_store(),
        )
        training.metadata.update(scalars(report))
        metrics.log_metric("val_macro_f1", report.val_macro_f1)
        metrics.log_metric("best_epoch", report.best_epoch)
        keep_metadata(metrics)
