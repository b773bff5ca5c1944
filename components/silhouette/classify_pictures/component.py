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
):
    """Classify the group's people through Triton over HTTP into rows and a gallery."""
    from silhouette.step import keep_metadata, step

    with step():
        import shutil
        from pathlib import Path

        from silhouette.classify_pictures.classify import GALLERY_NAME, classify_pictures
        from silhouette.config import DatasetConfig
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
        )
        shutil.copyfile(out / GALLERY_NAME, gallery.path)
        metrics.log_metric("pictures", report.pictures)
        metrics.log_metric("people", report.people)
        keep_metadata(metrics)
