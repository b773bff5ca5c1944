"""Check every overlay: `python -m manifests.check [OVERLAY ...]`, part of `make lint`.

Renders it, holds each object to the schema of the Kubernetes version that README.md names, and all of them to our
own rules (manifests/policy). Prints one line a breach and exits with 1 if there is one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import kubernetes_validate

from manifests.policy import breaches
from manifests.render import KUBERNETES, render, targets
from silhouette.errors import SilhouetteError

# kinds of the Prometheus operator: kubernetes-validate has no schema of theirs
WITHOUT_SCHEMA = {"monitoring.coreos.com/v1": ("ServiceMonitor", "PrometheusRule")}


def schema_breaches(objects: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what the schemas of Kubernetes refuse, and kinds that they do not know."""
    for item in objects:
        what = f"{item.get('kind')} {item.get('metadata', {}).get('name')}"
        if item.get("kind") in WITHOUT_SCHEMA.get(str(item.get("apiVersion")), ()):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it only warns of a kind that it does not know
            try:
                kubernetes_validate.validate(item, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{what}: Kubernetes {KUBERNETES} refuses {'.'.join(map(str, error.path))}: {error.message}"
            except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError, Warning) as error:
                yield f"{what}: Kubernetes {KUBERNETES} has no such kind: {error}"


def check(target: str) -> list[str]:
    """Return every breach of an overlay."""
    objects = render(target)
    return [*schema_breaches(objects), *breaches(objects)]


def main() -> None:
    """Check the overlays that the command line names, or all."""
    try:
        found = [f"{target}: {breach}" for target in sys.argv[1:] or targets() for breach in check(target)]
    except SilhouetteError as error:
        found = [str(error)]
    print(*found, sep="\n", file=sys.stderr, end="\n" if found else "")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
