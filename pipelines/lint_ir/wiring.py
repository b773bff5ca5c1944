"""Rules about wires: what a task names exists, and what a task needs is passed to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.lint_ir.ir import Ir

_TASK_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_CHANNEL = re.compile(r"inputs\.parameter_values\['([^']+)'\]")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false"}


def pipeline_has_a_name(ir: Ir) -> Iterator[str]:
    """The backend files runs under the pipeline's name."""
    if not ir.spec.pipeline_info.name:
        yield "pipelineInfo.name is empty; name the pipeline in @dsl.pipeline"


def platform_has_no_strangers(ir: Ir) -> Iterator[str]:
    """A platform entry without its executor configures nothing."""
    for label in ir.platform:
        if label not in ir.executors:
            yield f"{label}: is in the platform document only; run `make compile`"


def task_names_are_safe(ir: Ir) -> Iterator[str]:
    """Task names become Kubernetes names and bare YAML keys."""
    for at, _, _ in ir.tasks():
        key = at.rpartition("/")[2]
        if not _TASK_NAME.fullmatch(key) or key in _YAML_WORDS:
            yield f"{at}: a task name must be a Kubernetes name and no YAML boolean, got {key!r}; rename the component"


def components_and_executors_exist(ir: Ir) -> Iterator[str]:
    """A task runs a component, a component runs an executor."""
    for at, task, _ in ir.tasks():
        component = ir.components.get(task.component_ref.name)
        if component is None:
            yield f"{at}: there is no component {task.component_ref.name!r}"
        elif (
            component.WhichOneof("implementation") == "executor_label" and component.executor_label not in ir.executors
        ):
            yield f"{at}: there is no executor {component.executor_label!r}"


def loops_run_over_parameters(ir: Ir) -> Iterator[str]:
    """The 2.17 backend has no loop over artifacts."""
    for at, task, _ in ir.tasks():
        if task.WhichOneof("iterator") == "artifact_iterator":
            yield f"{at}: loops over artifacts, which the backend cannot; loop over indices"


def producers_exist(ir: Ir) -> Iterator[str]:
    """A task takes outputs of tasks beside it, and of outputs that those declare."""
    for at, task, parent in ir.tasks():
        for producer, output, kind in _taken_outputs(task):
            if producer not in parent.dag.tasks:
                yield f"{at}: there is no task {producer!r} to take {output!r} from"
            elif output and output not in _outputs(ir, parent.dag.tasks[producer], kind):
                yield f"{at}: task {producer!r} has no output {kind[:-1]} {output!r}"


def _taken_outputs(task: Any) -> Iterator[tuple[str, str, str]]:
    for given in task.inputs.parameters.values():
        if given.WhichOneof("kind") == "task_output_parameter":
            taken = given.task_output_parameter
            yield taken.producer_task, taken.output_parameter_key, "parameters"
        elif given.WhichOneof("kind") == "task_final_status":
            yield given.task_final_status.producer_task, "", "parameters"
    for given in task.inputs.artifacts.values():
        if given.WhichOneof("kind") == "task_output_artifact":
            taken = given.task_output_artifact
            yield taken.producer_task, taken.output_artifact_key, "artifacts"
    for producer in task.dependent_tasks:
        yield producer, "", "parameters"


def _outputs(ir: Ir, task: Any, kind: str) -> Any:
    component = ir.components.get(task.component_ref.name)
    return getattr(component.output_definitions, kind) if component is not None else ()


def inputs_reach_their_dag(ir: Ir) -> Iterator[str]:
    """The SDK forgets to hand a pipeline parameter into If, ParallelFor and ExitHandler when only a limit uses it."""
    for at, task, parent in ir.tasks():
        dag = at.rpartition("/")[0]
        for kind, field in (("parameters", "component_input_parameter"), ("artifacts", "component_input_artifact")):
            for given in getattr(task.inputs, kind).values():
                source = getattr(given, field)
                if source and source not in getattr(parent.input_definitions, kind):
                    yield f"{at}: takes {kind[:-1]} {source!r}, which {dag!r} is not given"


def needed_inputs_are_passed(ir: Ir) -> Iterator[str]:
    """A required input without a value fails when its pod starts, hours into a run."""
    for at, task, _ in ir.tasks():
        component = ir.components.get(task.component_ref.name)
        if component is None:
            continue
        loop = {task.parameter_iterator.item_input, task.artifact_iterator.item_input}
        for kind in ("parameters", "artifacts"):
            passed = getattr(task.inputs, kind)
            for name, definition in getattr(component.input_definitions, kind).items():
                default = kind == "parameters" and definition.HasField("default_value")
                if name not in passed and name not in loop and not definition.is_optional and not default:
                    yield f"{at}: {kind[:-1]} {name!r} of {task.component_ref.name} is not passed"


def conditions_are_understood_locally(ir: Ir) -> Iterator[str]:
    """kfp.local takes a condition over a named output of a task beside it for false, without a word."""
    for at, task, _ in ir.tasks():
        for channel in _CHANNEL.findall(task.trigger_policy.condition):
            given = task.inputs.parameters.get(channel)
            if given is None or given.WhichOneof("kind") != "task_output_parameter":
                continue
            if given.task_output_parameter.output_parameter_key != "Output":
                output = given.task_output_parameter.output_parameter_key
                yield f"{at}: its condition is over the named output {output!r}; put it into a pipeline with that input"


RULES = (
    pipeline_has_a_name,
    platform_has_no_strangers,
    task_names_are_safe,
    components_and_executors_exist,
    loops_run_over_parameters,
    producers_exist,
    inputs_reach_their_dag,
    needed_inputs_are_passed,
    conditions_are_understood_locally,
)
