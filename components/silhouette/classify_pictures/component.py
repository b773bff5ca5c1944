"""What KFP sees of `classify_pictures`; never cached: both steps ask the model that is served now."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from silhouette.containers import cpu_step


@cpu_step
def classify_shard(
    dataset: Input[Dataset],
    snapshot_digest: str,
    model_name: str,
    version: str,
    settings: str,
    serving: str,
    shard: str,
    metrics: Output[Metrics],
):
    """Classify a shard of the group's people into the ledger, from which `classify_pictures` takes it.

    Args:
        dataset: The group's pictures.
        snapshot_digest: Names their people in the store.
        model_name: Triton's name of the model.
        version: Of it; empty: the latest that is served.
        settings: Of the dataset, as JSON.
        serving: The section of the configuration, as JSON: how many crops are kept for the model's next version.
        shard: Which one of how many, ``i/n``.
        metrics: What came out.
    """
    from silhouette.step import keep_metadata, step

    with step():
        import tempfile
        from pathlib import Path

        from silhouette.classify_pictures.classify import Shard, classify_pictures
        from silhouette.config import DatasetConfig, ServingConfig
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton

        with tempfile.TemporaryDirectory() as out:
            report = classify_pictures(
                dataset=Path(dataset.path),
                snapshot_digest=snapshot_digest,
                model=model_name,
                version=version,
                out=Path(out),
                store=open_store(),
                triton=open_triton(),
                config=DatasetConfig.model_validate_json(settings),
                shard=Shard.of(shard),
                recent_crops=ServingConfig.model_validate_json(serving).recent_crops,
            )
        metrics.log_metric("new_pictures", report.new)
        metrics.log_metric("pictures_per_s", report.pictures_per_s)
        keep_metadata(metrics)


@cpu_step
def classify_pictures(
    dataset: Input[Dataset],
    snapshot_digest: str,
    model_name: str,
    version: str,
    settings: str,
    serving: str,
    predictions: Output[Artifact],
    gallery: Output[HTML],
    metrics: Output[Metrics],
):
    """Classify the group's people through Triton over HTTP into rows and a gallery.

    What shards did before is taken from the ledger and put together, and what none of them did is done here.
    """
    from silhouette.step import keep_metadata, step

    with step():
        import shutil
        from pathlib import Path

        from silhouette.classify_pictures.classify import GALLERY_NAME, classify_pictures
        from silhouette.config import DatasetConfig, ServingConfig
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton

        out = Path(predictions.path)
        report = classify_pictures(
            dataset=Path(dataset.path),
            snapshot_digest=snapshot_digest,
            model=model_name,
            version=version,
            out=out,
            store=open_store(),
            triton=open_triton(),
            config=DatasetConfig.model_validate_json(settings),
            recent_crops=ServingConfig.model_validate_json(serving).recent_crops,
        )
        shutil.copyfile(out / GALLERY_NAME, gallery.path)
        metrics.log_metric("pictures", report.pictures)
        metrics.log_metric("people", report.people)
        metrics.log_metric("new_pictures", report.new)
        metrics.log_metric("pictures_per_s", report.pictures_per_s)
        if report.drift is not None:
            metrics.log_metric("drift_confidence", report.drift.confidence)
            metrics.log_metric("drift_classes", report.drift.classes)
        keep_metadata(metrics)
