"""Make the Secrets that are missing: `make secrets`, or `python -m manifests.secrets [--overlay gpu]`.

Reads manifests/secrets.example.yaml, what the cluster has, and the environment. Writes Secrets; prints their names
and keys, never a value. Existing keys are kept, so it can be run again at any time.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from manifests import api
from manifests.render import ROOT, folder
from silhouette.errors import InputError, SilhouetteError
from silhouette.step import configure_logging

EXAMPLE = ROOT / "secrets.example.yaml"
RUN_NAMESPACE = "kubeflow"  # as the example names it
_RANDOM_BYTES = 24
_PLACE = re.compile(r"<(?P<verb>random|same|environment)(?: (?P<what>[^>]+))?>")

Values = dict[tuple[str, str, str], str]


def read_example(*, run_namespace: str = RUN_NAMESPACE, path: Path = EXAMPLE) -> dict[tuple[str, str], dict[str, str]]:
    """Return how each Secret is made: its keys and their recipes, by (namespace, name), in order."""
    found = {}
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        namespace = item["metadata"]["namespace"]
        place = run_namespace if namespace == RUN_NAMESPACE else namespace
        found[place, item["metadata"]["name"]] = {
            key: recipe.replace(f"<same {RUN_NAMESPACE}/", f"<same {run_namespace}/")
            for key, recipe in item["stringData"].items()
        }
    return found


def example_keys(*, run_namespace: str = RUN_NAMESPACE) -> dict[tuple[str, str], set[str]]:
    """Return the keys of each Secret by (namespace, name)."""
    return {place: set(recipes) for place, recipes in read_example(run_namespace=run_namespace).items()}


def is_optional(recipe: str) -> bool:
    """Tell whether a key may be left out."""
    return "<environment " in recipe


def run_namespace(overlay: str) -> str:
    """Return the run namespace of an overlay's settings; an overlay over another has that one's."""
    place = folder(overlay)
    settings = place / "settings.yaml"
    if not settings.is_file():
        (parent,) = yaml.safe_load((place / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
        settings = place / parent / "settings.yaml"
    return str(yaml.safe_load(settings.read_text(encoding="utf-8"))["data"]["run_namespace"])


def value(recipe: str, known: Values, environ: Mapping[str, str]) -> str | None:
    """Return what a recipe makes; None when it takes a variable that is not set.

    Args:
        recipe: As the example says.
        known: Values by namespace, name and key.
        environ: The environment.

    Raises:
        InputError: It refers to a key that is nowhere.
    """
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        if match["verb"] == "random":
            return secrets.token_urlsafe(_RANDOM_BYTES)
        if match["verb"] == "environment":
            missing = missing or not environ.get(match["what"], "").strip()
            return environ.get(match["what"], "").strip()
        namespace, name, key = match["what"].split("/")
        if (namespace, name, key) not in known:
            raise InputError(f"the Secret {namespace}/{name} must have the key {key}, it has not; see {EXAMPLE.name}")
        return known[namespace, name, key]

    made = _PLACE.sub(fill, recipe)
    return None if missing else made


def keep(client: api.Cluster, *, namespace: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Make what is missing, one Secret after the other; yield a line for each.

    Args:
        client: The cluster.
        namespace: Where steps run.
        environ: Where optional values are.

    Raises:
        ServiceError: The cluster does not answer, or refuses.
        InputError: A namespace is not there.
    """
    known: Values = {}
    for (place, name), recipes in read_example(run_namespace=namespace).items():
        there = client.secret(place, name)
        for key, content in (there or {}).items():
            known[place, name, key] = content
        made = {}
        for key, recipe in recipes.items():
            if (place, name, key) in known:
                continue
            found = value(recipe, known, environ)
            if found is not None:
                made[key] = known[place, name, key] = found
        left_out = [key for key in recipes if (place, name, key) not in known]
        if made:
            client.write_secret(place, name, made, is_new=there is None)
        words = [f"made {', '.join(made)}"] if made else []
        words += ["kept" if not made and there else ""]
        words += [f"left out {key}: {recipes[key].strip('<>')} is not set" for key in left_out]
        yield f"{place}/{name}: {'; '.join(filter(None, words))}"


def main() -> None:
    """Make the Secrets of an overlay on the cluster of the current context."""
    parser = argparse.ArgumentParser(description="Make the Secrets that are missing.")
    parser.add_argument("--overlay", default="kind", help="whose settings say where steps run (default: kind)")
    parser.add_argument("--context", help="of the kubeconfig; default: the current one")
    given = parser.parse_args()
    configure_logging()
    try:
        namespace, cluster = run_namespace(given.overlay), api.connect(given.context)
        print(f"cluster {cluster.address}, steps in {namespace}")
        for line in keep(cluster, namespace=namespace, environ=os.environ):
            print(line)
    except SilhouetteError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
