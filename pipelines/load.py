"""Load a compiled pipeline for one of the two places; all that may differ between them is in `for_place`."""

from pathlib import Path
from typing import Any

import yaml


def for_place(documents: list[dict[str, Any]], *, retries: bool) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline as one place needs them.

    Args:
        documents: The pipeline spec and its platform spec; changed in place.
        retries: Keep the steps' retry policies. A laptop takes them out: kfp.local sleeps through their
            back-off, and a person at a terminal wants the message at once.
    """
    if not retries:
        spec = documents[0]
        for component in [spec["root"], *spec["components"].values()]:
            for task in component.get("dag", {}).get("tasks", {}).values():
                task.pop("retryPolicy", None)
    return documents


def load_pipeline(path: Path, *, retries: bool) -> Any:
    """Load a compiled pipeline as a KFP component that can be called."""
    from kfp import components

    documents = for_place(list(yaml.safe_load_all(path.read_text(encoding="utf-8"))), retries=retries)
    return components.load_component_from_text(yaml.safe_dump_all(documents, sort_keys=False))


def parameters(path: Path) -> dict[str, dict[str, Any]]:
    """Return the input parameters of a compiled pipeline: name to ``parameterType``, ``defaultValue``, ..."""
    spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return dict(spec["root"]["inputDefinitions"]["parameters"])


def required_environment(path: Path) -> dict[str, str]:
    """Return the variables that the cluster gives from its own objects: name to the first step that needs it.

    The optional ones (the picture service, W&B) are left out.
    """
    _, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    needed: dict[str, str] = {}
    for label, executor in executors.items():
        for source in executor.get("secretAsEnv", []) + executor.get("configMapAsEnv", []):
            if not source.get("optional"):
                for pair in source["keyToEnv"]:
                    needed.setdefault(pair["envVar"], label.removeprefix("exec-"))
    return needed
