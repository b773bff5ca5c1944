"""The background set of a training run: brought in and segmented when the run names one."""

from kfp import dsl

from pipelines.resources import on_cpu, on_gpu, with_database, with_picture_service, with_wandb
from silhouette.download_pictures.component import download_pixsets
from silhouette.segment_people.component import segment_people


# a pipeline of its own: what a condition stands around cannot take the number of GPUs from the pipeline above it
@dsl.pipeline(name="background-people", display_name="Background set")
def background_people(
    pixsets: str,
    version: str,
    model_path: str,
    segmentation: str,
    gpus: int,
    gpu_node_selector: dict,
    gpu_tolerations: list,
):
    """Download the pictures of a list of pixsets, and find the people on them: those with one are left out later."""
    pictures = download_pixsets(pixsets=pixsets, version=version)
    with_database(with_picture_service(on_cpu(pictures, title="Download background", cpu="2", minutes=720)))

    people = segment_people(dataset=pictures.outputs["dataset"], model_path=model_path, settings=segmentation)
    pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}
    with_wandb(with_database(on_gpu(people, title="Segment background", cached=False, **pool)))


# a pipeline of its own: kfp.local takes a condition over a step's named output for false unless it is an input
@dsl.pipeline(name="background", display_name="Background set")
def background(
    pixsets: str,
    version: str,
    wanted: bool,
    model_path: str,
    segmentation: str,
    gpus: int,
    gpu_node_selector: dict,
    gpu_tolerations: list,
):
    """Bring a list of pixsets in, if there is one; what comes of it is in the store and the database.

    Args:
        pixsets: The JSON list, a file or s3://bucket/key.
        version: What `source_version` found there; the dataset lies in the store under it.
        wanted: Whether the run names a list.
        model_path: YOLO segmentation model.
        segmentation: Its settings, as JSON.
        gpus: GPUs for the segmentation.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    with dsl.If(wanted == True, name="wanted"):  # noqa: E712 - builds a condition
        background_people(
            pixsets=pixsets, version=version, model_path=model_path, segmentation=segmentation, gpus=gpus,
            gpu_node_selector=gpu_node_selector, gpu_tolerations=gpu_tolerations,
        ).set_display_name("Background set")  # fmt: skip
