"""What KFP sees of `deploy_model`; never cached: it compares with what Triton really serves."""

from typing import NamedTuple

from kfp.dsl import Artifact, Input, Model, Output

from silhouette.containers import cpu_step


@cpu_step
def deploy_model(
    model: Input[Model],
    evaluation: Input[Artifact],
    deployment: Output[Artifact],
    segmenter: str = "",
    serving: str = "{}",
) -> NamedTuple("Outputs", [("model_name", str), ("version", str)]):
    """Upload the judged ONNX under a new version, load it, and hold its answers over HTTP against the golden ones.

    With a segmenter's digest the group's picture model goes with it: a picture's bytes in, people and a label out.
    """
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.config import ServingConfig
        from silhouette.deploy_model.deploy import deploy_model
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton
        from silhouette.triton_replicas import other_replicas

        deployed = deploy_model(
            bundle=Path(model.path),
            evaluation=Path(evaluation.path),
            store=open_store(),
            triton=open_triton(),
            out=Path(deployment.path),
            segmenter=segmenter,
            serving=ServingConfig.model_validate_json(serving),
            replicas=other_replicas(),
            by="pipeline",
        )
        deployment.metadata.update(deployed.metadata())
        return deployed.model, deployed.version
