"""What KFP sees of `snapshot_contours`; never cached: review states and the badlist change behind its back."""

from typing import NamedTuple

from kfp.dsl import Dataset, Input

from silhouette.containers import cpu_step


@cpu_step
def snapshot_contours(dataset: Input[Dataset], model_digest: str, background: str) -> NamedTuple(
    "Outputs", [("digest", str), ("pictures", int), ("people", int), ("background_digest", str)]
):
    """Freeze contours, review states and badlist in the store under their digest, and the background set likewise."""
    from silhouette.step import step

    with step():
        import tempfile
        from pathlib import Path

        from silhouette.contracts.backgrounds import fetch_version
        from silhouette.database import connect
        from silhouette.snapshot_contours.background import snapshot_background
        from silhouette.snapshot_contours.snapshot import snapshot_contours
        from silhouette.store import open_store

        store = open_store()
        with connect() as connection:
            report = snapshot_contours(
                dataset=Path(dataset.path), model_digest=model_digest, store=store, connection=connection
            )
            frozen = ""
            if background:
                with tempfile.TemporaryDirectory() as folder:
                    frozen = snapshot_background(
                        dataset=fetch_version(store, background, Path(folder)),
                        model_digest=model_digest,
                        store=store,
                        connection=connection,
                    ).digest
        return report.digest, report.pictures, report.people, frozen
