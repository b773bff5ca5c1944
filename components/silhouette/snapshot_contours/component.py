"""What KFP sees of `snapshot_contours`; never cached: review states and the badlist change behind its back."""

from typing import NamedTuple

from kfp.dsl import Dataset, Input

from silhouette.containers import cpu_step


@cpu_step
def snapshot_contours(dataset: Input[Dataset], model_digest: str) -> NamedTuple(
    "Outputs", [("digest", str), ("pictures", int), ("people", int)]
):
    """Freeze contours, review states and badlist in the store under their digest."""
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.database import connect
        from silhouette.snapshot_contours.snapshot import snapshot_contours
        from silhouette.store import open_store

        with connect() as connection:
            report = snapshot_contours(
                dataset=Path(dataset.path), model_digest=model_digest, store=open_store(), connection=connection
            )
        return report.digest, report.pictures, report.people
