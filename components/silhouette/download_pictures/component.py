"""What KFP sees of `download_pictures`; cached on the version that `source_version` found."""

from kfp.dsl import Dataset, Output

from silhouette.containers import cpu_step


@cpu_step
def download_pictures(group: str, source: str, version: str, dataset: Output[Dataset]):
    """Bring pictures and labels into the store; what cannot be opened goes to quarantine with its reason."""
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.config import load_config
        from silhouette.download_pictures.download import download_pictures
        from silhouette.store import open_store

        report = download_pictures(
            group=group, source=source, out=Path(dataset.path), store=open_store(), config=load_config()
        )
        dataset.metadata.update(version=version, **report.metadata())
