"""What KFP's compiler leaves out of a compiled pipeline, put in: inputs that it forgets, and choices.

Works on the documents as `pipelines.compile` reads them; each function changes its argument in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

STATES = ("unchecked", "approved", "rejected", "nobody")  # of a review, as the database keeps them
# drop-downs of the run form; other values are refused
LITERALS: dict[str, list[Any]] = {
    "gpus": [0, 1, 2, 4, 8],
    "states": [",".join(some) for count in range(1, len(STATES) + 1) for some in combinations(STATES, count)],
}
_CHANNEL = "pipelinechannel--"

Spec = dict[str, Any]


def add_literals(spec: Spec) -> None:
    """Give the pipeline's parameters the values that they may have: the SDK knows no way to say them."""
    for name, definition in spec["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        if name in LITERALS:
            definition["literals"] = list(LITERALS[name])


def hand_down(spec: Spec) -> None:
    """Pass on every parameter that a task takes from its DAG and the DAG is not given.

    The SDK forgets some that only a resource names (`set_accelerator_limit(gpus)` inside ParallelFor); the backend
    finds it out when the pod is to start.
    """
    while missing := list(_missing(spec)):
        for dag, wanted in missing:
            _give(spec, dag, wanted)


def _dags(spec: Spec) -> Iterator[tuple[str, Spec]]:
    for name, component in [("root", spec["root"]), *spec["components"].items()]:
        if "dag" in component:
            yield name, component


def _given(component: Spec) -> dict[str, Any]:
    found: dict[str, Any] = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
    return found


def _missing(spec: Spec) -> Iterator[tuple[str, str]]:
    for name, component in _dags(spec):
        inputs = component.get("inputDefinitions", {}).get("parameters", {})
        for task in component["dag"]["tasks"].values():
            for given in task.get("inputs", {}).get("parameters", {}).values():
                wanted = given.get("componentInputParameter")
                if wanted and wanted not in inputs and name != "root":  # nobody passes the root more; the lint says so
                    yield name, wanted


def _give(spec: Spec, dag: str, wanted: str) -> None:
    """Declare an input of a DAG and pass it in wherever the DAG is called; its callers may then lack it themselves."""
    for _, caller in _dags(spec):
        for task in caller["dag"]["tasks"].values():
            if task["componentRef"]["name"] == dag:
                there = caller.get("inputDefinitions", {}).get("parameters", {})
                plain = wanted.removeprefix(_CHANNEL)
                source = plain if plain in there else wanted
                task.setdefault("inputs", {}).setdefault("parameters", {})[wanted] = {"componentInputParameter": source}
    _given(spec["components"][dag])[wanted] = {"parameterType": _type_of(spec, wanted.removeprefix(_CHANNEL))}


def _type_of(spec: Spec, parameter: str) -> str:
    """Return the type under which some pipeline, the outer or one inside, declares a parameter."""
    declared = (component.get("inputDefinitions", {}).get("parameters", {}) for _, component in _dags(spec))
    return str(next(inputs[parameter]["parameterType"] for inputs in declared if parameter in inputs))
