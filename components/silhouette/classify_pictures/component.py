"""What KFP sees of `classify_pictures`; never cached: it asks the model that is served now."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from silhouette.containers import cpu_step


@cpu_step
def classify_pictures(
    dataset: Input[Dataset],
    snapshot_digest: str,
    model_name: str,
    version: str,
    settings: str,
    predictions: Output[Artifact],
    gallery: Output[HTML],
    metrics: Output[Metrics],
    shard: int = 0,
    shards: int = 1,
    serving: str = "{}",
):
    """Classify the group's people through Triton over HTTP into rows and a gallery.

    Of several shards each does its part, and whichever ends last puts all of them together.
    """
    from silhouette.step import keep_metadata, step

    with step():
        import shutil
        from pathlib import Path

        from silhouette.classify_pictures.classify import GALLERY_NAME, Shard, classify_pictures
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
            shard=Shard(number=shard, count=shards),
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
