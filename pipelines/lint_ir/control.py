"""Rules about loops, retries, conditions and choices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as protocol

from pipelines.lint_ir.ir import Ir

_QUOTED = re.compile(r"'[^']*[\"\\][^']*'|\"[^\"]*['\\][^\"]*\"")
_KINDS: dict[int, tuple[type, ...]] = {
    protocol.ParameterType.NUMBER_INTEGER: (float,),
    protocol.ParameterType.NUMBER_DOUBLE: (float,),
    protocol.ParameterType.STRING: (str,),
    protocol.ParameterType.BOOLEAN: (bool,),
}


def loops_take_no_upstream_outputs(ir: Ir) -> Iterator[str]:
    """kfp.local gives a loop's steps the loop's item in place of an upstream output, without a word."""
    for at, task, _ in ir.tasks():
        if task.WhichOneof("iterator") != "parameter_iterator":
            continue
        for name, given in task.inputs.parameters.items():
            if given.WhichOneof("kind") == "task_output_parameter":
                yield f"{at}: loops with an upstream output, {name!r}; put the loop into a pipeline with that input"


def loops_are_not_nested(ir: Ir) -> Iterator[str]:
    """The SDK compiles a loop inside a loop over pipeline parameters into wires that lead nowhere."""
    looping = {task.component_ref.name: at for at, task, _ in ir.tasks() if task.WhichOneof("iterator")}
    for at, task, _ in ir.tasks():
        dag = at.rpartition("/")[0]
        if task.WhichOneof("iterator") and any(_is_inside(ir, dag, name, seen=frozenset()) for name in looping):
            yield f"{at}: is a loop inside a loop; make one loop over all combinations"


def _is_inside(ir: Ir, wanted: str, dag: str, *, seen: frozenset[str]) -> bool:
    """Tell whether a DAG is another one, or somewhere inside it."""
    component = ir.components.get(dag)
    if dag == wanted:
        return True
    if component is None or dag in seen or component.WhichOneof("implementation") != "dag":
        return False
    below = [task.component_ref.name for task in component.dag.tasks.values()]
    return any(_is_inside(ir, wanted, name, seen=seen | {dag}) for name in below)


def items_of_loops_have_no_key_name(ir: Ir) -> Iterator[str]:
    """A key ``name`` in a loop's items is taken for the iteration's own."""
    for at, task, _ in ir.tasks():
        try:
            items = json.loads(task.parameter_iterator.items.raw or "[]")
        except json.JSONDecodeError:
            yield f"{at}: the items of a loop must be JSON; run `make compile`"
            continue
        if isinstance(items, list) and any(isinstance(item, dict) and "name" in item for item in items):
            yield f"{at}: loops over items with a key 'name', which KFP takes for its own; call it otherwise"


def steps_are_retried(ir: Ir) -> Iterator[str]:
    """Nodes go away and stores hiccup: a step that may be run again is, before a person has to."""
    for at, task, _ in ir.tasks():
        component = ir.components.get(task.component_ref.name)
        runs = component is not None and component.WhichOneof("implementation") == "executor_label"
        if runs and task.retry_policy.max_retry_count < 1:
            yield f"{at}: is not retried; call .set_retry on the task"


def conditions_hold_no_quotes(ir: Ir) -> Iterator[str]:
    """kfp.local takes a condition on a text with quotes or backslashes for false."""
    for at, task, _ in ir.tasks():
        if _QUOTED.search(re.sub(r"parameter_values\['[^']*'\]", "", task.trigger_policy.condition)):
            yield f"{at}: its condition is on a text with quotes; compare with a plain word"


def choices_hold_the_default(ir: Ir) -> Iterator[str]:
    """The run form offers `literals` alone: values of the parameter's type, the default among them."""
    for name, definition in ir.spec.root.input_definitions.parameters.items():
        choices = [_value(choice) for choice in definition.literals]
        kinds = _KINDS.get(definition.parameter_type, ())
        if odd := [choice for choice in choices if type(choice) not in kinds]:
            yield f"root: the choices of {name!r} must be of its type, got {odd[0]!r}"
        if choices and definition.HasField("default_value") and _value(definition.default_value) not in choices:
            yield f"root: the default of {name!r} must be one of its choices, got {_value(definition.default_value)!r}"


def _value(value: Any) -> Any:
    return json_format.MessageToDict(value)


RULES = (
    loops_take_no_upstream_outputs,
    loops_are_not_nested,
    items_of_loops_have_no_key_name,
    steps_are_retried,
    conditions_hold_no_quotes,
    choices_hold_the_default,
)
