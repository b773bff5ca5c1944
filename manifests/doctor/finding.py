"""What is looked at and what is found: the words of every check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifests import api


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        detail: What was found.
        way_out: What to do; empty when all is well.
    """

    what: str
    detail: str
    way_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A cluster, and what an overlay wants of it."""

    cluster: api.Cluster
    overlay: str
    objects: list[dict[str, Any]]
    run_namespace: str

    def wanted(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the overlay's objects of some kinds."""
        return [item for item in self.objects if item["kind"] in kinds]

    @property
    def apply(self) -> str:
        """Return the command that makes the overlay's objects."""
        return f"kubectl apply --server-side -k manifests/overlays/{self.overlay}"


def plural(kind: str) -> str:
    """Return the word of the API for objects of a kind."""
    return f"{kind.lower()[:-1]}ies" if kind.endswith("y") else f"{kind.lower()}s"
