"""The inference pipeline: what the served model says of a group's people, by several workers at once."""

from kfp import dsl

from pipelines.pictures import downloaded, segmented
from pipelines.reporting import reported
from pipelines.resources import (
    GPU_NODES,
    GPU_TOLERATIONS,
    on_cpu,
    with_database,
    with_picture_service,
    with_triton,
)
from pipelines.segmentation import EXTRA_WORKERS, extra_segmenters
from silhouette.classify_pictures.component import classify_pictures, classify_shard
from silhouette.config import load_config
from silhouette.snapshot_contours.component import snapshot_contours
from silhouette.source_version.component import pictures_version

SHIPPED = load_config(environ={})


# a pipeline of its own, as the segmenters beside the first are one
@dsl.pipeline(name="shards", display_name="Shards")
def classify_shards(
    dataset: dsl.Input[dsl.Dataset],
    snapshot_digest: str,
    model_name: str,
    version: str,
    settings: str,
    serving: str,
    shards: list,
):
    """Classify shards at the same time; each writes what it did into the ledger of the run.

    Args:
        dataset: The pictures.
        snapshot_digest: Names their people in the store.
        model_name: Triton's name of the model.
        version: Its version; empty for the latest.
        settings: Of the dataset, as JSON.
        serving: Of what is served, as JSON.
        shards: One ``i/n`` a worker; none at all is fine.
    """
    with dsl.ParallelFor(items=shards, name="shards") as shard:
        answers = classify_shard(
            dataset=dataset, snapshot_digest=snapshot_digest, model_name=model_name, version=version,
            settings=settings, serving=serving, shard=shard,
        )  # fmt: skip
        with_triton(on_cpu(answers, title="Classify a shard", cpu="2", cached=False))


@dsl.pipeline(
    name="inference",
    display_name="Classify pictures",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=2 * 86400),
)
@reported
def inference(
    group: str,
    source: str = "",
    model_path: str = SHIPPED.segmentation.model_path,
    served_model: str = "",
    served_version: str = "",
    extra_workers: list = EXTRA_WORKERS,
    gpus: int = 1,
    gpu_node_selector: dict = GPU_NODES,
    gpu_tolerations: list = GPU_TOLERATIONS,
):
    """Classify the people of a group's pictures through Triton, with the model that is served now.

    1. what is there to work on?  2. download   3. segment, several at once   4. freeze contours
    5. classify, a shard a worker  6. put their answers together

    Args:
        group: Name of the group of pictures, any text.
        source: Where the pictures are: empty for the picture service, a folder of classes, or s3://bucket/prefix.
        model_path: YOLO segmentation model, a file, s3://bucket/key or wandb:ENTITY/PROJECT/ARTIFACT:ALIAS.
        served_model: Triton's name of the model; empty for the group's own.
        served_version: Its version; empty for the latest.
        extra_workers: One number for each worker beside the first; [] for one worker alone.
        gpus: GPUs of each worker that segments; 0 works on CPU.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}

    found = pictures_version(group=group, source=source, gpus=gpus, model=served_model, extra_workers=extra_workers)
    with_database(with_picture_service(on_cpu(found, title="What is there", cached=False)))

    pictures = downloaded(found, group=group, source=source)
    people = segmented(pictures, found, model_path=model_path, pool=pool)
    beside = extra_segmenters(
        dataset=pictures.outputs["dataset"], model_path=model_path, settings=found.outputs["segmentation"],
        workers=extra_workers, gpus=gpus, gpu_node_selector=gpu_node_selector, gpu_tolerations=gpu_tolerations,
    ).set_display_name("Extra workers")  # fmt: skip

    snapshot = snapshot_contours(
        dataset=pictures.outputs["dataset"], model_digest=people.outputs["model_digest"], background=""
    )
    with_database(on_cpu(snapshot.after(beside), title="Freeze contours", cached=False))

    asked = {
        "dataset": pictures.outputs["dataset"], "snapshot_digest": snapshot.outputs["digest"],
        "model_name": found.outputs["served_model"], "version": served_version, "settings": found.outputs["dataset"],
        "serving": found.outputs["serving"],
    }  # fmt: skip
    shards = classify_shards(shards=found.outputs["shards"], **asked).set_display_name("Shards")
    answers = classify_pictures(**asked).after(shards)
    with_triton(on_cpu(answers, title="Classify pictures", cpu="2", cached=False))
