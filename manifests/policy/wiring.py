"""Rules over what objects say of one another: what is named exists, what is selected is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manifests.policy.objects import Object, containers, labels_match, pods, quantity
from manifests.secrets import example_keys

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CRON = tuple((low, high) for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)))
_BY_HAND = {("ConfigMap", "postgres-restore")}  # made by who restores, optional


def names_are_valid_and_single(objects: Sequence[Object]) -> Iterator[str]:
    """A name must be a DNS label, and stand for one object."""
    for item in objects:
        if not _LABEL.fullmatch(item.name):
            yield f"{item}: a name must be lower-case letters, digits and -, at most 63"
    for what, count in Counter(map(str, objects)).items():
        if count > 1:
            yield f"{what}: an object must be there once, it is there {count} times"


def selectors_choose_their_own_pods(objects: Sequence[Object]) -> Iterator[str]:
    """The selector of a workload must choose the pods that it makes."""
    for item, _ in pods(objects):
        selector = item.spec.get("selector")
        if selector and not labels_match(selector, _pod_labels(item)):
            yield f"{item}: its selector must choose its own pods, they have the labels {_pod_labels(item)}"


def what_selects_pods_finds_some(objects: Sequence[Object]) -> Iterator[str]:
    """A Service, a budget or a policy that chooses no pod does nothing, silently."""
    for item in objects:
        if item.kind == "Service":
            selector: Mapping[str, Any] = {"matchLabels": item.spec.get("selector", {})}
        elif item.kind == "PodDisruptionBudget":
            selector = item.spec.get("selector", {})
        elif item.kind == "NetworkPolicy" and _in_our_namespace(item, objects):
            selector = item.spec.get("podSelector", {})
        else:
            continue
        chosen = [pod for pod, _ in pods(objects) if pod.namespace == item.namespace]
        chosen = [pod for pod in chosen if labels_match(selector, _pod_labels(pod))]
        if not chosen:
            yield f"{item}: it must choose a pod, it chooses none by {dict(selector)}"
        elif item.kind == "Service":
            yield from _ports(item, chosen)


def _ports(service: Object, chosen: Sequence[Object]) -> Iterator[str]:
    there = {
        value
        for _, _, container in containers(chosen)
        for port in container.get("ports", [])
        for value in (port.get("name"), port["containerPort"])
    }
    for port in service.spec.get("ports", []):
        target = port.get("targetPort", port["port"])
        if target not in there:
            yield f"{service}: a targetPort must be one of its pods', {target} is none of {sorted(map(str, there))}"


def mounts_have_volumes(objects: Sequence[Object]) -> Iterator[str]:
    """What a container mounts must be a volume of its pod."""
    for item, pod, container in containers(objects):
        there = {volume["name"] for volume in pod.get("volumes", [])}
        there |= {claim["metadata"]["name"] for claim in item.spec.get("volumeClaimTemplates", [])}
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in there:
                yield f"{item}: {container['name']} mounts {mount['name']}, which is no volume of its pod"


def references_exist(objects: Sequence[Object]) -> Iterator[str]:
    """A ConfigMap, claim or account that is named must be rendered; a Secret and its key must be in the example."""
    there = {(item.kind, item.namespace, item.name): item for item in objects}
    secrets = example_keys()
    for item, pod in pods(objects):
        for kind, name, key in _references(pod):
            if (kind, name) in _BY_HAND:
                continue
            if kind == "Secret":
                found = secrets.get((item.namespace, name))
                keys: Any = found
            else:
                found_object = there.get((kind, item.namespace, name))
                found = None if found_object is None else set(found_object.content.get("data") or ())
                keys = found
            if found is None:
                yield f"{item}: {kind} {name} must be there, it is not"
            elif key and key not in keys:
                yield f"{item}: {kind} {name} must have the key {key}, it has {sorted(keys)}"


def _references(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if account := pod.get("serviceAccountName"):
        yield "ServiceAccount", account, ""
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], ""
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], ""
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], ""
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]
            if "configMapKeyRef" in source:
                yield "ConfigMap", source["configMapKeyRef"]["name"], source["configMapKeyRef"]["key"]


def jobs_can_run(objects: Sequence[Object]) -> Iterator[str]:
    """A Job's pods must not restart for ever, and a schedule must be one that cron knows."""
    for item, pod in pods(objects):
        if item.kind in ("Job", "CronJob") and pod.get("restartPolicy") not in ("Never", "OnFailure"):
            yield f"{item}: restartPolicy must be Never or OnFailure, got {pod.get('restartPolicy')}"
        if item.kind == "CronJob" and not _is_schedule(str(item.spec.get("schedule", ""))):
            yield f"{item}: schedule must be five fields of cron, got {item.spec.get('schedule')!r}"


def _is_schedule(text: str) -> bool:
    fields = text.split()
    if len(fields) != len(_CRON):
        return False
    for field, (low, high) in zip(fields, _CRON, strict=True):
        for part in field.split(","):
            match = re.fullmatch(r"(\*|(\d+)(-(\d+))?)(/([1-9]\d*))?", part)
            if not match or not all(low <= int(number) <= high for number in match.group(2, 4) if number):
                return False
    return True


def scaled_things_exist(objects: Sequence[Object]) -> Iterator[str]:
    """An autoscaler must scale a workload that is there and whose replicas nobody else sets."""
    there = {(item.kind, item.namespace, item.name): item for item in objects}
    for item in objects:
        if item.kind == "HorizontalPodAutoscaler":
            target = item.spec["scaleTargetRef"]
            found = there.get((target["kind"], item.namespace, target["name"]))
            if found is None:
                yield f"{item}: what it scales must be there, {target['kind']} {target['name']} is not"
            elif "replicas" in found.spec:
                yield f"{found}: replicas must be left to {item}, they are set as well"


def storage_is_said(objects: Sequence[Object]) -> Iterator[str]:
    """A claim must ask for a quantity of storage."""
    for item in objects:
        claims = [item.content] if item.kind == "PersistentVolumeClaim" else item.spec.get("volumeClaimTemplates", [])
        for claim in claims:
            asked = str(claim["spec"].get("resources", {}).get("requests", {}).get("storage", ""))
            if quantity(asked) is None:
                yield f"{item}: a claim must ask for storage, got {asked!r}"


def _pod_labels(item: Object) -> Mapping[str, str]:
    template = item.template() or {}
    return template.get("metadata", {}).get("labels") or {}


def _in_our_namespace(item: Object, objects: Sequence[Object]) -> bool:
    return any(other.kind == "Namespace" and other.name == item.namespace for other in objects)


RULES = (
    names_are_valid_and_single,
    selectors_choose_their_own_pods,
    what_selects_pods_finds_some,
    mounts_have_volumes,
    references_exist,
    jobs_can_run,
    scaled_things_exist,
    storage_is_said,
)
