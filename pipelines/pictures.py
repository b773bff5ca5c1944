"""How every pipeline over a group begins: its pictures, and the people on them."""

from typing import Any

from kfp.dsl import PipelineTask

from pipelines.resources import on_cpu, on_gpu, with_database, with_picture_service, with_wandb
from silhouette.download_pictures.component import download_pictures
from silhouette.segment_people.component import segment_people


def downloaded(found: PipelineTask, *, group: Any, source: Any) -> PipelineTask:
    """Download a group's pictures.

    Args:
        found: The version step, which says what there is.
        group: The pipeline's parameter.
        source: The pipeline's parameter.
    """
    pictures = download_pictures(group=group, source=source, version=found.outputs["version"])
    return with_database(with_picture_service(on_cpu(pictures, title="Download pictures", cpu="2", minutes=720)))


def segmented(pictures: PipelineTask, found: PipelineTask, *, model_path: Any, pool: dict[str, Any]) -> PipelineTask:
    """Segment the people on downloaded pictures.

    Args:
        pictures: What `downloaded` returned.
        found: The version step, which says how to segment.
        model_path: The pipeline's parameter.
        pool: What `on_gpu` is told of GPUs and their nodes.
    """
    people = segment_people(
        dataset=pictures.outputs["dataset"], model_path=model_path, settings=found.outputs["segmentation"]
    )
    return with_wandb(with_database(on_gpu(people, title="Segment people", cached=False, **pool)))
