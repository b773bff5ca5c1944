"""A rendered object, and the pods in it, as the rules want them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
_QUANTITY = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>m|k|M|G|T|Ki|Mi|Gi|Ti|)")
_UNITS = {"": Decimal(1), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000) ** (power + 1) for power, unit in enumerate("kMGT")}
_UNITS |= {f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGT")}


@dataclass(frozen=True)
class Object:
    """One rendered object."""

    content: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.content.get("kind", ""))

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.content.get("metadata", {}).get("name", ""))

    @property
    def namespace(self) -> str:
        """Its namespace, empty when it has none."""
        return str(self.content.get("metadata", {}).get("namespace", ""))

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec."""
        return self.content.get("spec") or {}

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def template(self) -> Mapping[str, Any] | None:
        """Return the pod template of a workload: its ``metadata`` and ``spec``; None for what has no pods."""
        if self.kind == "Pod":
            return self.content
        if self.kind == "CronJob":
            return self.spec["jobTemplate"]["spec"].get("template", {})  # type: ignore[no-any-return]
        return self.spec.get("template", {}) if self.kind in WORKLOADS else None


def pods(objects: Sequence[Object]) -> Iterator[tuple[Object, Mapping[str, Any]]]:
    """Yield each workload with the spec of its pods."""
    for item in objects:
        template = item.template()
        if template is not None:
            yield item, template.get("spec") or {}


def containers(objects: Sequence[Object]) -> Iterator[tuple[Object, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each container with its workload and the spec of its pod, init containers included."""
    for item, pod in pods(objects):
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            yield item, pod, container


def quantity(text: str) -> Decimal | None:
    """Return the number that a Kubernetes quantity such as ``500m`` or ``2Gi`` means; None when it is none."""
    match = _QUANTITY.fullmatch(text)
    return Decimal(match["number"]) * _UNITS[match["unit"]] if match else None


def labels_match(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector chooses something with these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        has, values = labels.get(expression["key"]), expression.get("values", [])
        fits = {
            "In": has in values,
            "NotIn": has not in values,
            "Exists": has is not None,
            "DoesNotExist": has is None,
        }
        if not fits[expression["operator"]]:
            return False
    return True
