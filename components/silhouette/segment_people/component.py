"""What KFP sees of `segment_people`; never cached: it skips by its own records in the database."""

from typing import NamedTuple

from kfp.dsl import Dataset, Input

from silhouette.containers import yolo_step


@yolo_step
def segment_people(dataset: Input[Dataset], model_path: str, settings: str) -> NamedTuple(
    "Outputs", [("model_digest", str), ("new_pictures", int), ("already_done", int)]
):
    """Find the people on every picture that this model has not seen, as contours in PostgreSQL."""
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.config import SegmentationConfig
        from silhouette.database import connect
        from silhouette.segment_people.segment import segment_people
        from silhouette.store import open_store

        with connect() as connection:
            report = segment_people(
                dataset=Path(dataset.path),
                model=model_path,
                store=open_store(),
                connection=connection,
                config=SegmentationConfig.model_validate_json(settings),
            )
        return report.model_digest, report.pictures, report.already_done
