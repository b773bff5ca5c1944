"""Load a compiled pipeline for one of the two places; all that may differ between them is in `for_place`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

Documents = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ClusterObject:
    """One key of a ConfigMap or Secret that becomes a variable of a step.

    Attributes:
        kind: ``ConfigMap`` or ``Secret``.
        name: The object's.
        key: In its data.
        variable: What the step reads.
        step: The step, by its task name.
        optional: The step runs without it.
    """

    kind: str
    name: str
    key: str
    variable: str
    step: str
    optional: bool


def read_documents(path: Path) -> Documents:
    """Return the pipeline spec and the platform spec of a compiled pipeline."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_LOADER))


def for_place(documents: Documents, *, retries: bool, registry: str = "") -> Documents:
    """Return the documents of a compiled pipeline as one place needs them.

    Args:
        documents: The pipeline spec and its platform spec; changed in place.
        retries: Keep the steps' retry policies. A laptop takes them out: kfp.local sleeps through their
            back-off, and a person at a terminal wants the message at once.
        registry: What stands before the images' names, without a slash at the end; empty: nothing.
    """
    spec = documents[0]
    if not retries:
        for component in [spec["root"], *spec["components"].values()]:
            for task in component.get("dag", {}).get("tasks", {}).values():
                task.pop("retryPolicy", None)
    if registry:
        for executor in spec["deploymentSpec"]["executors"].values():
            executor["container"]["image"] = f"{registry}/{executor['container']['image']}"
    return documents


def dump(documents: Documents) -> str:
    """Return documents as YAML; equal documents give equal text."""
    # lines are not folded: with and without libyaml they would be in different places
    return str(yaml.dump_all(documents, sort_keys=False, Dumper=_DUMPER, allow_unicode=True, width=1_000_000))


def load_pipeline(path: Path, *, retries: bool) -> Any:
    """Load a compiled pipeline as a KFP component that can be called."""
    from kfp import components

    return components.load_component_from_text(dump(for_place(read_documents(path), retries=retries)))


def parameters(path: Path) -> dict[str, dict[str, Any]]:
    """Return the input parameters of a compiled pipeline: name to ``parameterType``, ``defaultValue``, ..."""
    return dict(read_documents(path)[0]["root"]["inputDefinitions"]["parameters"])


def images(documents: Documents) -> list[str]:
    """Return the images that the steps run in, sorted."""
    executors = documents[0]["deploymentSpec"]["executors"].values()
    return sorted({executor["container"]["image"] for executor in executors})


def titles(documents: Documents) -> dict[str, str]:
    """Return what people read of every step by its task name, in the order of the file; conditions are no steps."""
    components = documents[0]["components"]
    return {
        key: task["taskInfo"]["name"]
        for component in [documents[0]["root"], *components.values()]
        for key, task in component.get("dag", {}).get("tasks", {}).items()
        if "executorLabel" in components[task["componentRef"]["name"]]
    }


def cluster_objects(documents: Documents) -> Iterator[ClusterObject]:
    """Yield every key of a ConfigMap or Secret that a step's environment is made of."""
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in executors.items():
        for kind, field, name, key in (
            ("ConfigMap", "configMapAsEnv", "configMapName", "configMapKey"),
            ("Secret", "secretAsEnv", "secretName", "secretKey"),
        ):
            for source in executor.get(field, []):
                for pair in source["keyToEnv"]:
                    yield ClusterObject(
                        kind=kind,
                        name=source[name],
                        key=pair[key],
                        variable=pair["envVar"],
                        step=label.removeprefix("exec-"),
                        optional=bool(source.get("optional")),
                    )


def required_environment(path: Path) -> dict[str, str]:
    """Return the variables that the cluster gives from its own objects: name to the first step that needs it.

    The optional ones (the picture service, W&B) are left out.
    """
    needed: dict[str, str] = {}
    for item in cluster_objects(read_documents(path)):
        if not item.optional:
            needed.setdefault(item.variable, item.step)
    return needed
