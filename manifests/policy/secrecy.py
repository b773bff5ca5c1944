"""Rules over secrets, rights and doors: no secret value anywhere, no wildcard, nothing open that is not meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manifests.policy.objects import Object, containers, pods

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY|DSN", re.IGNORECASE)
_ADDRESS_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+]*://[^\s/:@$]+:[^\s/@$]+@")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def no_secret_is_rendered(objects: Sequence[Object]) -> Iterator[str]:
    """Secrets must be named only; `make secrets` makes them."""
    for item in objects:
        if item.kind == "Secret":
            yield f"{item}: a Secret must not be among the manifests; put it into manifests/secrets.example.yaml"


def no_value_is_a_secret(objects: Sequence[Object]) -> Iterator[str]:
    """A variable with a secret's name must take its value from a Secret; no text may hold a password or key."""
    for item, _, container in containers(objects):
        for entry in container.get("env", []):
            if _SECRET_NAME.search(entry["name"]) and "value" in entry:
                yield f"{item}: {entry['name']} must come from a Secret, {container['name']} has it as a value"
        for source in container.get("envFrom", []):
            yield f"{item}: variables must be named one by one, {container['name']} takes all of {source}"
    for item in objects:
        for text in _texts(item.content):
            if _ADDRESS_WITH_PASSWORD.search(text) or _PRIVATE_KEY.search(text):
                yield f"{item}: a text must hold no password or key, one does"


def namespaces_are_restricted(objects: Sequence[Object]) -> Iterator[str]:
    """A namespace of ours must enforce Pod Security `restricted`, and deny traffic that nothing opens."""
    for item in objects:
        if item.kind != "Namespace":
            continue
        level = item.content["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if level != "restricted":
            yield f"{item}: it must enforce Pod Security restricted, it enforces {level}"
        policies = [other for other in objects if other.kind == "NetworkPolicy" and other.namespace == item.name]
        if not any(
            policy.spec.get("podSelector") == {}
            and set(policy.spec.get("policyTypes", [])) == {"Ingress", "Egress"}
            and not policy.spec.get("ingress")
            and not policy.spec.get("egress")
            for policy in policies
        ):
            yield f"{item}: it must have a NetworkPolicy that denies all traffic both ways, it has none"
        for kind in ("ResourceQuota", "LimitRange"):
            if not any(other.kind == kind and other.namespace == item.name for other in objects):
                yield f"{item}: it must have a {kind}, it has none"


def doors_open_to_somebody(objects: Sequence[Object]) -> Iterator[str]:
    """What a policy opens must be opened to somebody, on a port."""
    for item in objects:
        if item.kind == "NetworkPolicy":
            for way, who in (("ingress", "from"), ("egress", "to")):
                for opening in item.spec.get(way) or []:
                    if not opening.get(who) or not all(opening[who]) or not opening.get("ports"):
                        yield f"{item}: an opening must say {who} whom and on which ports, got {opening}"


def services_stay_inside(objects: Sequence[Object]) -> Iterator[str]:
    """A Service must be reached from inside the cluster only."""
    for item in objects:
        if item.kind == "Service" and item.spec.get("type", "ClusterIP") != "ClusterIP":
            yield f"{item}: a Service must be a ClusterIP, got {item.spec['type']}; put a proxy in front"


def rights_are_few(objects: Sequence[Object]) -> Iterator[str]:
    """A role must name what it may, in its namespace; a Secret must be named by its name."""
    for item in objects:
        if item.kind in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{item}: rights must be of one namespace, these are of all"
        for rule in item.content.get("rules", []) if item.kind == "Role" else []:
            words = [*rule.get("apiGroups", []), *rule.get("resources", []), *rule.get("verbs", [])]
            if "*" in words:
                yield f"{item}: a right must be named, got * in {rule}"
            if "secrets" in rule.get("resources", []) and not rule.get("resourceNames"):
                yield f"{item}: a Secret must be named by resourceNames, got all of them"
            if {"escalate", "bind", "impersonate"} & set(rule.get("verbs", [])) or "pods/exec" in rule["resources"]:
                yield f"{item}: a right must not lead to other rights, got {rule}"
    roles = {(item.namespace, item.name) for item in objects if item.kind == "Role"}
    for item in objects:
        if item.kind == "RoleBinding" and (item.namespace, item.content["roleRef"]["name"]) not in roles:
            yield f"{item}: the role that it gives must be there, {item.content['roleRef']['name']} is not"


def tokens_are_not_handed_out(objects: Sequence[Object]) -> Iterator[str]:
    """No pod of ours talks to Kubernetes, so none may have a token for it."""
    for item, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{item}: automountServiceAccountToken must be false, it is not"


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, Sequence):
        for value in content:
            yield from _texts(value)


RULES = (
    no_secret_is_rendered,
    no_value_is_a_secret,
    namespaces_are_restricted,
    doors_open_to_somebody,
    services_stay_inside,
    rights_are_few,
    tokens_are_not_handed_out,
)
