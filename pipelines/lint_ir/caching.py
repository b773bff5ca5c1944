"""The rule that keeps results fresh: no cached step takes an artifact from an uncached one.

An uncached step writes its artifact to a new address on every run, and both caches of KFP key on addresses: a
cached step behind it would never be found again, and what it did would be done anew. Cached steps take digests
as parameters instead. Artifacts are followed through conditions, loops and sub-pipelines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.lint_ir.ir import Ir


@dataclass(frozen=True, kw_only=True)
class Producer:
    """The step that wrote an artifact."""

    at: str
    cached: bool


Sources = Mapping[str, list[Producer]]  # a DAG's input artifacts, and who wrote each


def cached_steps_stand_on_cached_steps(ir: Ir) -> Iterator[str]:
    """No cached step takes an artifact from an uncached one, only digests as parameters."""
    if ir.spec.root.WhichOneof("implementation") == "dag":
        yield from _walk(ir, "root", ir.spec.root, {})


def _walk(ir: Ir, at: str, component: Any, sources: Sources) -> Iterator[str]:
    for key, task in component.dag.tasks.items():
        child = ir.components.get(task.component_ref.name)
        if child is None:
            continue
        taken = {name: _producers(ir, at, component, given, sources) for name, given in task.inputs.artifacts.items()}
        if child.WhichOneof("implementation") == "dag":
            yield from _walk(ir, f"{at}/{key}", child, taken)
        elif task.caching_options.enable_cache:
            for name, producers in taken.items():
                for producer in producers:
                    if not producer.cached:
                        yield (
                            f"{at}/{key}: is cached and takes artifact {name!r} from {producer.at}, which is not;"
                            " pass a digest as a parameter, or take the cache off both"
                        )


def _producers(ir: Ir, at: str, component: Any, given: Any, sources: Sources) -> list[Producer]:
    """Follow one task input to the steps that may have written it."""
    if given.WhichOneof("kind") == "component_input_artifact":
        return sources.get(given.component_input_artifact, [])
    taken = given.task_output_artifact
    return _written_by(ir, at, component, taken.producer_task, taken.output_artifact_key)


def _written_by(ir: Ir, at: str, component: Any, key: str, output: str) -> list[Producer]:
    """Follow a task's output down to the steps behind it."""
    task = component.dag.tasks.get(key)
    child = ir.components.get(task.component_ref.name) if task else None
    if task is None or child is None:
        return []  # wiring.py says so
    if child.WhichOneof("implementation") != "dag":
        return [Producer(at=f"{at}/{key}", cached=task.caching_options.enable_cache)]
    selectors = child.dag.outputs.artifacts[output].artifact_selectors if output in child.dag.outputs.artifacts else []
    return [
        producer
        for selector in selectors
        for producer in _written_by(ir, f"{at}/{key}", child, selector.producer_subtask, selector.output_artifact_key)
    ]


RULES = (cached_steps_stand_on_cached_steps,)
