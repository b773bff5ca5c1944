"""What KFP sees of `train_classifier`, and of a search that workers share; that is never cached: its study goes on."""

from kfp.dsl import Artifact, Dataset, Input, Markdown, Metrics, Model, Output

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


@torch_step
def begin_search(crops: Input[Dataset], settings: str, parameters: str) -> str:
    """Make the study that the workers share, unless an earlier run did.

    Returns:
        Its name.
    """
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.config import TrainingConfig
        from silhouette.train_classifier.search import begin
        from silhouette.train_classifier.tune import parameter_names

        return begin(
            crops=Path(crops.path),
            config=TrainingConfig.model_validate_json(settings),
            parameters=parameter_names(parameters),
        )


@torch_step
def search_recipe(
    crops: Input[Dataset],
    search: str,
    settings: str,
    parameters: str,
    trials: int,
    gpus: int,
    metrics: Output[Metrics],
):
    """Try recipes beside other workers until there are enough trials."""
    from silhouette.step import keep_metadata, step

    with step():
        import tempfile
        from pathlib import Path

        from silhouette.config import TrainingConfig
        from silhouette.train_classifier.search import take_part
        from silhouette.train_classifier.tune import parameter_names

        with tempfile.TemporaryDirectory() as out:
            made = take_part(
                search,
                crops=Path(crops.path),
                out=Path(out),
                config=TrainingConfig.model_validate_json(settings),
                parameters=parameter_names(parameters),
                trials=trials,
                device="gpu" if gpus else "cpu",
            )
        metrics.log_metric("trials", made)
        keep_metadata(metrics)


@torch_step
def report_search(search: str, tuned: Output[Artifact], table: Output[Markdown], metrics: Output[Metrics]):
    """Write the best trial's values as a configuration, and all trials as a table."""
    from silhouette.step import keep_metadata, step

    with step():
        import math
        import shutil
        from pathlib import Path

        from silhouette.train_classifier.search import conclude

        report = conclude(search, out=Path(tuned.path))
        shutil.copyfile(report.table, table.path)
        metrics.log_metric("trials", report.trials)
        metrics.log_metric("given_up_early", report.pruned)
        if not math.isnan(report.base_val_macro_f1):
            metrics.log_metric("base_val_macro_f1", report.base_val_macro_f1)
        metrics.log_metric("best_val_macro_f1", report.best_val_macro_f1)
        keep_metadata(metrics)
