"""What KFP sees of `download_pictures`, for a group and for a background set; cached on what `source_version` found."""

from kfp.dsl import HTML, Dataset, Output

from silhouette.containers import cpu_step


@cpu_step
def download_pictures(group: str, source: str, version: str, dataset: Output[Dataset], quality: Output[HTML]):
    """Bring pictures and labels into the store; what cannot be opened goes to quarantine with its reason."""
    from silhouette.step import step

    with step():
        import shutil
        from pathlib import Path

        from silhouette.config import load_config
        from silhouette.contracts.dataset import QUALITY_NAME
        from silhouette.database import connect
        from silhouette.download_pictures.download import PATIENCE_S, download_pictures
        from silhouette.store import open_store

        with connect() as connection:
            report = download_pictures(
                group=group,
                source=source,
                out=Path(dataset.path),
                store=open_store(patience_s=PATIENCE_S),
                connection=connection,
                config=load_config(),
            )
        shutil.copyfile(Path(dataset.path) / QUALITY_NAME, quality.path)
        dataset.metadata.update(version=version, **report.metadata())


@cpu_step
def download_pixsets(pixsets: str, version: str, dataset: Output[Dataset]):
    """Bring the pictures of a list of pixsets into the store, without labels."""
    from silhouette.step import step

    with step():
        import tempfile
        from pathlib import Path

        from silhouette.config import load_config
        from silhouette.contracts.backgrounds import keep_version
        from silhouette.database import connect
        from silhouette.download_pictures.download import PATIENCE_S, download_pixsets
        from silhouette.input_file import resolve_file
        from silhouette.store import open_store

        store = open_store(patience_s=PATIENCE_S)
        with connect() as connection, tempfile.TemporaryDirectory() as folder:
            report = download_pixsets(
                pixsets=resolve_file(pixsets, what="the list of pixsets", folder=Path(folder), store=store),
                out=Path(dataset.path),
                store=store,
                connection=connection,
                config=load_config(),
            )
        keep_version(store, version, Path(dataset.path))
        dataset.metadata.update(version=version, **report.metadata())
