"""The segmentation pipeline: the people on a group's pictures as contours in PostgreSQL, by several workers at once."""

from kfp import dsl

from pipelines.pictures import downloaded, segmented
from pipelines.reporting import reported
from pipelines.resources import (
    GPU_NODES,
    GPU_TOLERATIONS,
    on_cpu,
    on_gpu,
    with_database,
    with_picture_service,
    with_wandb,
)
from silhouette.config import load_config
from silhouette.segment_people.component import segment_people
from silhouette.snapshot_contours.component import snapshot_contours
from silhouette.source_version.component import pictures_version

SHIPPED = load_config(environ={})
EXTRA_WORKERS = [1, 2, 3]


# a pipeline of its own: kfp.local gives a loop its item in place of an upstream output, unless that is an input
@dsl.pipeline(name="extra-workers", display_name="Extra workers")
def extra_segmenters(
    dataset: dsl.Input[dsl.Dataset],
    model_path: str,
    settings: str,
    workers: list,
    gpus: int,
    gpu_node_selector: dict,
    gpu_tolerations: list,
):
    """Segment beside the first worker: each claims batches in the database, and none does what another did.

    Args:
        dataset: The pictures.
        model_path: YOLO segmentation model.
        settings: Of the segmentation.
        workers: One number a worker; none at all is fine.
        gpus: GPUs of each.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    with dsl.ParallelFor(items=workers, name="workers"):
        people = segment_people(dataset=dataset, model_path=model_path, settings=settings)
        pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}
        with_wandb(with_database(on_gpu(people, title="Segment people", cached=False, **pool)))


@dsl.pipeline(
    name="segmentation",
    display_name="Find the people on pictures",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=2 * 86400),
)
@reported
def segmentation(
    group: str,
    source: str = "",
    model_path: str = SHIPPED.segmentation.model_path,
    extra_workers: list = EXTRA_WORKERS,
    gpus: int = 1,
    gpu_node_selector: dict = GPU_NODES,
    gpu_tolerations: list = GPU_TOLERATIONS,
):
    """Find the people on every picture of a group and freeze their contours.

    1. what is there to work on?  2. download   3. segment, several at once   4. freeze contours

    Args:
        group: Name of the group of pictures, any text.
        source: Where the pictures are: empty for the picture service, a folder of classes, or s3://bucket/prefix.
        model_path: YOLO segmentation model, a file, s3://bucket/key or wandb:ENTITY/PROJECT/ARTIFACT:ALIAS.
        extra_workers: One number for each worker beside the first; [] for one worker alone.
        gpus: GPUs of each worker; 0 works on CPU.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}

    found = pictures_version(group=group, source=source, gpus=gpus)
    with_database(with_picture_service(on_cpu(found, title="What is there", cached=False)))

    pictures = downloaded(found, group=group, source=source)
    # the first worker returns when every batch is done, by whomever: there may be no other, and its digest is all's
    people = segmented(pictures, found, model_path=model_path, pool=pool)
    beside = extra_segmenters(
        dataset=pictures.outputs["dataset"], model_path=model_path, settings=found.outputs["segmentation"],
        workers=extra_workers, gpus=gpus, gpu_node_selector=gpu_node_selector, gpu_tolerations=gpu_tolerations,
    ).set_display_name("Extra workers")  # fmt: skip

    snapshot = snapshot_contours(
        dataset=pictures.outputs["dataset"], model_digest=people.outputs["model_digest"], background=""
    )
    with_database(on_cpu(snapshot.after(beside), title="Freeze contours", cached=False))
