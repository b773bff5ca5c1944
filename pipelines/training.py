"""The training pipeline: from the pictures of a group to a model that Triton serves."""

from kfp import dsl

from pipelines.background import background
from pipelines.pictures import downloaded, segmented
from pipelines.reporting import reported
from pipelines.resources import (
    GPU_NODES,
    GPU_TOLERATIONS,
    on_cpu,
    on_gpu,
    with_database,
    with_picture_service,
    with_triton,
    with_wandb,
)
from silhouette.build_dataset.component import build_dataset
from silhouette.classify_pictures.component import classify_pictures
from silhouette.config import load_config
from silhouette.deploy_model.champion_component import find_champion
from silhouette.deploy_model.component import deploy_model
from silhouette.evaluate_model.component import evaluate_model
from silhouette.evaluate_model.refuse_component import refuse_model
from silhouette.export_model.component import export_model
from silhouette.snapshot_contours.component import snapshot_contours
from silhouette.source_version.component import source_version
from silhouette.train_classifier.component import train_classifier

SHIPPED = load_config(environ={})  # the defaults that the run form shows


@dsl.pipeline(
    name="training",
    display_name="Train and deploy a classifier",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=2 * 86400),
)
@reported
def training(
    group: str,
    source: str = "",
    background_pixsets: str = "",
    model_path: str = SHIPPED.segmentation.model_path,
    experiment: str = "",
    backbone: str = SHIPPED.training.backbone,
    epochs: int = SHIPPED.training.epochs,
    batch_size: int = SHIPPED.training.batch_size,
    learning_rate: float = SHIPPED.training.learning_rate,
    seed: int = SHIPPED.training.seed,
    min_macro_f1: float = SHIPPED.gate.min_macro_f1,
    gpus: int = 1,
    gpu_node_selector: dict = GPU_NODES,
    gpu_tolerations: list = GPU_TOLERATIONS,
):
    """Train a classifier for one group of pictures and deploy it when it is good enough.

    1. what is there to work on?  2. download   3. segment the people   4. freeze reviewed contours
    5. crops and splits           6. train      7. export               8. judge
    9. deploy, when the gate lets it through    10. classify the group through Triton

    Args:
        group: Name of the group of pictures, any text.
        source: Where the pictures are: empty for the picture service, a folder of classes, or s3://bucket/prefix.
        background_pixsets: Pictures of backgrounds, a JSON list of pixsets as file or s3://bucket/key; empty for none.
        model_path: YOLO segmentation model, a file, s3://bucket/key or wandb:ENTITY/PROJECT/ARTIFACT:ALIAS.
        experiment: Name of the training run; empty derives it from the inputs.
        backbone: A timm model, or auto for convnext_nano on a GPU and tf_efficientnet_lite0 on a CPU.
        epochs: Passes over the training split.
        batch_size: Crops a training step.
        learning_rate: Of the new head; layers below learn slower.
        seed: Of splits, initialisation and shuffling.
        min_macro_f1: The gate's first rule; below it on the test split nothing is deployed.
        gpus: GPUs for segmentation and training; 0 works on CPU.
        gpu_node_selector: Labels of the GPU pool's nodes.
        gpu_tolerations: Tolerations of the GPU pool's taints.
    """
    pool = {"gpus": gpus, "node_selector": gpu_node_selector, "tolerations": gpu_tolerations}

    found = source_version(
        group=group, source=source, background_pixsets=background_pixsets, backbone=backbone, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, seed=seed, min_macro_f1=min_macro_f1, gpus=gpus,
    )  # fmt: skip
    with_wandb(with_database(with_picture_service(on_cpu(found, title="What is there", cached=False))))

    pictures = downloaded(found, group=group, source=source)

    places = background(
        pixsets=background_pixsets, version=found.outputs["background"], wanted=found.outputs["with_background"],
        model_path=model_path, segmentation=found.outputs["segmentation"], gpus=gpus,
        gpu_node_selector=gpu_node_selector, gpu_tolerations=gpu_tolerations,
    ).set_display_name("Background set")  # fmt: skip

    # after the set: the other way round, KFP 2.17 compiles now this and now that name of the GPU pool's parameters
    people = segmented(pictures, found, model_path=model_path, pool=pool)

    snapshot = snapshot_contours(
        dataset=pictures.outputs["dataset"], model_digest=people.outputs["model_digest"],
        background=found.outputs["background"],
    ).after(places)  # fmt: skip
    with_database(on_cpu(snapshot, title="Freeze contours", cached=False))

    crops = build_dataset(
        dataset=pictures.outputs["dataset"], snapshot_digest=snapshot.outputs["digest"],
        background_digest=snapshot.outputs["background_digest"], settings=found.outputs["dataset"], seed=seed,
    )  # fmt: skip
    on_cpu(crops, title="Build dataset", cpu="2", memory="4Gi", minutes=360)

    trained = train_classifier(
        crops=crops.outputs["crops"], experiment=experiment, settings=found.outputs["training"], gpus=gpus
    )
    with_wandb(on_gpu(trained, title="Train classifier", **pool))

    model = export_model(
        crops=crops.outputs["crops"], training=trained.outputs["training"], settings=found.outputs["export"]
    )
    on_cpu(model, title="Export model", cpu="2", memory="4Gi")

    champion = find_champion(group=group, onnx_sha256=model.outputs["Output"])
    on_cpu(champion, title="What is served", cached=False)

    judged = evaluate_model(
        crops=crops.outputs["crops"], model=model.outputs["model"], group=group, champion=champion.output,
        settings=found.outputs["evaluate"], gate=found.outputs["gate"],
    )  # fmt: skip
    on_cpu(judged, title="Evaluate model", cpu="2", memory="4Gi")

    with dsl.If(judged.outputs["passed"] == True, name="passed"):  # noqa: E712 - builds a condition
        deployed = deploy_model(
            model=model.outputs["model"], evaluation=judged.outputs["evaluation"],
            segmenter=people.outputs["model_digest"], serving=found.outputs["serving"],
        )  # fmt: skip
        with_triton(on_cpu(deployed, title="Deploy to Triton", cached=False))

        answers = classify_pictures(
            dataset=pictures.outputs["dataset"], snapshot_digest=snapshot.outputs["digest"],
            model_name=deployed.outputs["model_name"], version=deployed.outputs["version"],
            settings=found.outputs["dataset"], serving=found.outputs["serving"],
        )  # fmt: skip
        with_triton(on_cpu(answers, title="Classify pictures", cpu="2", cached=False))

    with dsl.Else(name="refused"):
        on_cpu(refuse_model(group=group, refusal=judged.outputs["refusal"]), title="Refuse model", cached=False)
