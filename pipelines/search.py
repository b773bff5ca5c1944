"""The search pipeline: a better recipe for a group, by several workers that share one study in PostgreSQL."""

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
from pipelines.segmentation import EXTRA_WORKERS
from silhouette.build_dataset.component import build_dataset
from silhouette.config import load_config
from silhouette.snapshot_contours.component import snapshot_contours
from silhouette.source_version.component import source_version
from silhouette.train_classifier.component import begin_search, report_search, search_recipe

SHIPPED = load_config(environ={})


# a pipeline of its own, as the segmenters beside the first are one
@dsl.pipeline(name="extra-searchers", display_name="Extra workers")
def extra_searchers(
    crops: dsl.Input[dsl.Dataset],
    search: str,
    settings: str,
    parameters: str,
    trials: int,
    workers: list,
    gpus: int,
    gpu_node_selector: dict,
    gpu_tolerations: list,
):
    """Try recipes beside the first worker.

    Args:
        crops: The group's crops.
        search: Name of the study.
        settings: The recipe, as JSON.
        parameters: What is searched, with commas.
        trials: How many, of all workers together.
        workers: One number a worker; none at all is fine.
        gpus: GPUs of each.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    with dsl.ParallelFor(items=workers, name="workers"):
        tried = search_recipe(
            crops=crops, search=search, settings=settings, parameters=parameters, trials=trials, gpus=gpus
        )
        pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}
        with_database(on_gpu(tried, title="Try recipes", cached=False, **pool))


@dsl.pipeline(
    name="search",
    display_name="Search for a better recipe",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=2 * 86400),
)
@reported
def search(
    group: str,
    source: str = "",
    model_path: str = SHIPPED.segmentation.model_path,
    parameters: str = "learning_rate,backbone_lr_scale,weight_decay,label_smoothing",
    trials: int = 20,
    backbone: str = SHIPPED.training.backbone,
    epochs: int = SHIPPED.training.epochs,
    batch_size: int = SHIPPED.training.batch_size,
    seed: int = SHIPPED.training.seed,
    extra_workers: list = EXTRA_WORKERS,
    gpus: int = 1,
    gpu_node_selector: dict = GPU_NODES,
    gpu_tolerations: list = GPU_TOLERATIONS,
):
    """Try recipes for a group, the present one first, and write the best as a configuration; deploys nothing.

    1. what is there to work on?  2. download   3. segment the people   4. freeze contours   5. crops and splits
    6. begin the study            7. try recipes, several workers at once                    8. report the best

    Args:
        group: Name of the group of pictures, any text.
        source: Where the pictures are: empty for the picture service, a folder of classes, or s3://bucket/prefix.
        model_path: YOLO segmentation model, a file, s3://bucket/key or wandb:ENTITY/PROJECT/ARTIFACT:ALIAS.
        parameters: What to search, with commas: learning_rate, layer_decay, mixup, ...
        trials: How many recipes are tried, by all workers together; a search that is there goes on to this number.
        backbone: A timm model, or auto for convnext_nano on a GPU and tf_efficientnet_lite0 on a CPU.
        epochs: Passes over the training split, of each recipe.
        batch_size: Crops a training step.
        seed: Of splits, initialisation and shuffling.
        extra_workers: One number for each worker beside the first; [] for one worker alone.
        gpus: GPUs of each worker; 0 works on CPU.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}

    found = source_version(
        group=group, source=source, background_pixsets="", backbone=backbone, epochs=epochs, batch_size=batch_size,
        learning_rate=SHIPPED.training.learning_rate, seed=seed, min_macro_f1=SHIPPED.gate.min_macro_f1, gpus=gpus,
    )  # fmt: skip
    with_wandb(with_database(with_picture_service(on_cpu(found, title="What is there", cached=False))))

    pictures = downloaded(found, group=group, source=source)
    people = segmented(pictures, found, model_path=model_path, pool=pool)

    snapshot = snapshot_contours(
        dataset=pictures.outputs["dataset"], model_digest=people.outputs["model_digest"], background=""
    )
    with_database(on_cpu(snapshot, title="Freeze contours", cached=False))

    crops = build_dataset(
        dataset=pictures.outputs["dataset"], snapshot_digest=snapshot.outputs["digest"], background_digest="",
        settings=found.outputs["dataset"], seed=seed,
    )  # fmt: skip
    on_cpu(crops, title="Build dataset", cpu="2", memory="4Gi", minutes=360)

    begun = begin_search(crops=crops.outputs["crops"], settings=found.outputs["training"], parameters=parameters)
    with_database(on_cpu(begun, title="Begin search", cached=False))

    asked = {
        "crops": crops.outputs["crops"], "search": begun.output, "settings": found.outputs["training"],
        "parameters": parameters, "trials": trials, "gpus": gpus,
    }  # fmt: skip
    tried = search_recipe(**asked)
    with_database(on_gpu(tried, title="Try recipes", cached=False, **pool))
    beside = extra_searchers(
        workers=extra_workers, gpu_node_selector=gpu_node_selector, gpu_tolerations=gpu_tolerations, **asked
    ).set_display_name("Extra workers")

    best = report_search(search=begun.output).after(tried, beside)
    with_database(on_cpu(best, title="Report search", cached=False))
