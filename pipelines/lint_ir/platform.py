"""Rules about the platform document: what the driver reads when a pod is to start, and Kubernetes when it starts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from pipelines.lint_ir.ir import Ir

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_OBJECT_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount point


def _taken(content: Any) -> Iterator[str]:
    """Yield the parameters of the DAG that a piece of the platform document names."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "componentInputParameter":
                yield value
            else:
                yield from _taken(value)
    elif isinstance(content, list):
        for value in content:
            yield from _taken(value)


def platform_inputs_reach_their_dag(ir: Ir) -> Iterator[str]:
    """A node selector or a Secret's name that is a parameter is read from the DAG of the task when its pod starts."""
    for at, task, parent in ir.tasks():
        component = ir.components.get(task.component_ref.name)
        if component is None or component.executor_label not in ir.platform:
            continue
        config = json_format.MessageToDict(ir.platform[component.executor_label])
        for name in sorted(set(_taken(config))):
            if name not in parent.input_definitions.parameters:
                yield f"{at}: its pod's settings take parameter {name!r}, which {at.rpartition('/')[0]!r} is not given"


def resources_are_passed(ir: Ir) -> Iterator[str]:
    """A limit that is a parameter is read from the inputs of the task."""
    for at, task, _ in ir.tasks():
        component = ir.components.get(task.component_ref.name)
        executor = ir.executors.get(component.executor_label) if component is not None else None
        if executor is None or executor.WhichOneof("spec") != "container":
            continue
        for name in sorted(set(_PLACEHOLDER.findall(str(json_format.MessageToDict(executor.container.resources))))):
            if name not in task.inputs.parameters:
                yield f"{at}: a limit takes parameter {name!r}, which is not passed to the task"


def _sources(config: Any) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, object, key and variable of every variable that comes from an object."""
    for source in config.secret_as_env:
        for pair in source.key_to_env:
            yield "Secret", source.secret_name, pair.secret_key, pair.env_var
    for source in config.config_map_as_env:
        for pair in source.key_to_env:
            yield "ConfigMap", source.config_map_name, pair.config_map_key, pair.env_var


def object_names_are_kubernetes_names(ir: Ir) -> Iterator[str]:
    """A name that Kubernetes refuses fails the pod, not the submission."""
    for label, config in ir.platform.items():
        for kind, name, key, variable in _sources(config):
            if not _OBJECT_NAME.fullmatch(name):
                yield f"{label}: the name of a {kind} must be a Kubernetes name, got {name!r}"
            if not _OBJECT_KEY.fullmatch(key):
                yield f"{label}: a key of the {kind} {name} must be letters, digits, dots, - and _, got {key!r}"
            if not _VARIABLE.fullmatch(variable):
                yield f"{label}: a variable must be letters, digits and _, got {variable!r}"


def variables_have_one_source(ir: Ir) -> Iterator[str]:
    """Of two sources of one variable Kubernetes silently takes the last."""
    for label, config in ir.platform.items():
        executor = ir.executors.get(label)
        literals = [variable.name for variable in executor.container.env] if executor is not None else []
        counted = Counter([*literals, *(variable for _, _, _, variable in _sources(config))])
        for variable, times in counted.items():
            if times > 1:
                yield f"{label}: the variable {variable} must have one source, it has {times}"


def labels_are_kubernetes_labels(ir: Ir) -> Iterator[str]:
    """A label that Kubernetes refuses fails the pod."""
    for label, config in ir.platform.items():
        for key, value in config.pod_metadata.labels.items():
            if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                yield f"{label}: a pod's label must be a Kubernetes label of 63 characters at most, got {key}={value}"


def gpu_steps_have_shared_memory(ir: Ir) -> Iterator[str]:
    """Workers of a data loader hand batches over in shared memory, of which a pod has 64 MB unless told otherwise."""
    for label, container in ir.containers():
        asks = container.resources.accelerator.resource_count or container.resources.accelerator.count
        mounts = [mount.mount_path for mount in ir.platform[label].empty_dir_mounts] if label in ir.platform else []
        if asks and _SHARED_MEMORY not in mounts:
            yield f"{label}: asks for GPUs and has no {_SHARED_MEMORY} of its own; use pipelines.resources.on_gpu"


def finished_runs_are_kept_for_a_while(ir: Ir) -> Iterator[str]:
    """The backend deletes a finished workflow after an hour, and its pods' logs with it."""
    if ir.platform and int(ir.pipeline_config.get("resourceTtlOnCompletion", 0)) <= 0:
        yield "the platform document has no resourceTtlOnCompletion; set PipelineConfig(ttl_seconds_after_finished=...)"


RULES = (
    platform_inputs_reach_their_dag,
    resources_are_passed,
    object_names_are_kubernetes_names,
    variables_have_one_source,
    labels_are_kubernetes_labels,
    gpu_steps_have_shared_memory,
    finished_runs_are_kept_for_a_while,
)
