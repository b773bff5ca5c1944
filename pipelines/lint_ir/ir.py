"""A compiled pipeline, parsed strictly against KFP's own protocol buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
from kfp.pipeline_spec import pipeline_spec_pb2 as protocol

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is


class MalformedIrError(ValueError):
    """Say why a compiled pipeline cannot be read at all."""


@dataclass(frozen=True, kw_only=True)
class Ir:
    """Both documents of a compiled pipeline.

    Attributes:
        text: The YAML as it was read.
        spec: The `PipelineSpec`.
        components: The spec's `ComponentSpec` by name, and the pipeline itself as ``root``.
        executors: `ExecutorSpec` by label.
        platform: `KubernetesExecutorConfig` by executor label.
        pipeline_config: What the platform document says of the run as a whole.
    """

    text: str
    spec: Any
    components: dict[str, Any]
    executors: dict[str, Any]
    platform: dict[str, Any]
    pipeline_config: dict[str, Any]

    def dags(self) -> Iterator[tuple[str, Any]]:
        """Yield name and component of everything that is made of tasks."""
        for name, component in self.components.items():
            if component.WhichOneof("implementation") == "dag":
                yield name, component

    def tasks(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield ``dag/task`` for messages, the task and the component that it belongs to."""
        for name, component in self.dags():
            for key, task in component.dag.tasks.items():
                yield f"{name}/{key}", task, component

    def containers(self) -> Iterator[tuple[str, Any]]:
        """Yield label and container of every executor that becomes a pod of ours; importers do not."""
        for label, executor in self.executors.items():
            if executor.WhichOneof("spec") == "container" and not executor.container.image.startswith("argostub/"):
                yield label, executor.container


def _strict(content: Any, message: Any, *, what: str) -> Any:
    try:
        return json_format.ParseDict(content, message)
    except json_format.ParseError as error:
        raise MalformedIrError(f"{what} does not parse: {error}; run `make compile`") from None


def _documents(text: str) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise MalformedIrError(f"the file is not YAML: {' '.join(str(error).split())}; run `make compile`") from None
    if not 1 <= len(documents) <= 2 or not all(isinstance(document, dict) for document in documents):
        raise MalformedIrError(f"one or two YAML mappings are expected, got {len(documents)}; run `make compile`")
    return documents


def parse(text: str) -> Ir:
    """Parse a compiled pipeline.

    Raises:
        MalformedIrError: It is not YAML, or a field is unknown, misspelt or of the wrong type.
    """
    documents = _documents(text)
    spec = _strict(documents[0], protocol.PipelineSpec(), what="the pipeline document")
    deployment = _strict(
        documents[0].get("deploymentSpec", {}), protocol.PipelineDeploymentConfig(), what="deploymentSpec"
    )
    platform, pipeline_config = {}, {}
    if len(documents) == 2:
        _strict(documents[1], protocol.PlatformSpec(), what="the platform document")
        kubernetes_spec = documents[1].get("platforms", {}).get("kubernetes", {})
        there = kubernetes_spec.get("deploymentSpec", {}).get("executors", {})
        pipeline_config = kubernetes_spec.get("pipelineConfig", {})
        platform = {
            label: _strict(content, kubernetes.KubernetesExecutorConfig(), what=f"platform document: {label}")
            for label, content in there.items()
        }
    return Ir(
        text=text,
        spec=spec,
        components={**spec.components, "root": spec.root},
        executors=dict(deployment.executors),
        platform=platform,
        pipeline_config=pipeline_config,
    )
