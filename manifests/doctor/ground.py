"""What must be there before anything runs: Kubernetes, rights, namespaces, ConfigMaps, Secrets, storage, GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from manifests import secrets
from manifests.doctor.finding import Finding, Patient, plural
from manifests.render import KUBERNETES

OLDEST_KUBERNETES = (1, 33)  # of what Kubeflow Pipelines 2.17 is tested on
POOL = {"silhouette/pool": "gpu"}
GPU = "nvidia.com/gpu"
_GROUPS = {"apps/v1": "apps", "batch/v1": "batch", "v1": "", "networking.k8s.io/v1": "networking.k8s.io"}


def version(patient: Patient) -> Iterator[Finding]:
    """Is Kubernetes of a release that Kubeflow and the manifests are for?"""
    found = patient.cluster.get("/version") or {}
    text = f"{found.get('major', '')}.{found.get('minor', '')}"
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    way_out = "" if numbers >= OLDEST_KUBERNETES else f"upgrade to {'.'.join(map(str, OLDEST_KUBERNETES))} or newer"
    yield Finding(
        what="Kubernetes",
        detail=f"{text or 'says no version'}; the manifests are checked for {KUBERNETES}",
        way_out=way_out,
    )


def rights(patient: Patient) -> Iterator[Finding]:
    """May we apply the overlay and make its Secrets?"""
    wanted = {
        (
            _GROUPS.get(item["apiVersion"], item["apiVersion"].partition("/")[0]),
            plural(item["kind"]),
            item["metadata"].get("namespace", ""),
        )
        for item in patient.objects
    }
    wanted |= {("", "secrets", "silhouette"), ("", "secrets", patient.run_namespace)}
    refused = [
        f"{verb} {resource} in {namespace or 'the cluster'}"
        for group, resource, namespace in sorted(wanted)
        for verb in ("get", "create", "patch")
        if not patient.cluster.may(verb, group, resource, namespace)
    ]
    way_out = f"ask the administrator for: {', '.join(refused)}" if refused else ""
    yield Finding(
        what="rights", detail=f"{3 * len(wanted) - len(refused)} of {3 * len(wanted)} granted", way_out=way_out
    )


def namespaces(patient: Patient) -> Iterator[Finding]:
    """Are both namespaces there, and is ours restricted?"""
    for name in ("silhouette", patient.run_namespace):
        found = patient.cluster.get(f"/api/v1/namespaces/{name}")
        if found is None:
            way_out = (
                "kubectl apply -f manifests/base/namespace.yaml" if name == "silhouette"
                else "install Kubeflow Pipelines, or name its namespace in the overlay's settings.yaml"
            )  # fmt: skip
            yield Finding(what=f"namespace {name}", detail="is not there", way_out=way_out)
            continue
        level = found["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce", "nothing")
        bad = name == "silhouette" and level != "restricted"
        way_out = "kubectl apply -f manifests/base/namespace.yaml" if bad else ""
        yield Finding(what=f"namespace {name}", detail=f"enforces {level}", way_out=way_out)


def config_maps(patient: Patient) -> Iterator[Finding]:
    """Is every ConfigMap there, with its keys?"""
    for item in patient.wanted("ConfigMap"):
        place, name = item["metadata"]["namespace"], item["metadata"]["name"]
        found = patient.cluster.get(f"/api/v1/namespaces/{place}/configmaps/{name}")
        missing = sorted(item["data"].keys() - ((found or {}).get("data") or {}).keys())
        detail = (
            "is not there"
            if found is None
            else f"lacks {', '.join(missing)}"
            if missing
            else f"{len(item['data'])} keys"
        )
        way_out = patient.apply if missing else ""
        yield Finding(what=f"ConfigMap {place}/{name}", detail=detail, way_out=way_out)


def secret_keys(patient: Patient) -> Iterator[Finding]:
    """Is every Secret there, with its keys?"""
    for (place, name), recipes in secrets.read_example(run_namespace=patient.run_namespace).items():
        found = patient.cluster.secret(place, name)
        missing = sorted(key for key in recipes if not (found or {}).get(key))
        needed = [key for key in missing if not secrets.is_optional(recipes[key])]
        detail = f"lacks {', '.join(missing)}" if missing else f"{len(recipes)} keys"
        detail += " (optional)" if missing and not needed else ""
        way_out = f"make secrets OVERLAY={patient.overlay}" if needed else ""
        yield Finding(what=f"Secret {place}/{name}", detail=detail, way_out=way_out)


def storage(patient: Patient) -> Iterator[Finding]:
    """Is there a storage class for every claim?"""
    found = (patient.cluster.get("/apis/storage.k8s.io/v1/storageclasses") or {}).get("items", [])
    names = {item["metadata"]["name"] for item in found}
    default = "storageclass.kubernetes.io/is-default-class"
    has_default = any(item["metadata"].get("annotations", {}).get(default) == "true" for item in found)
    claims = [item["spec"] for item in patient.wanted("PersistentVolumeClaim")]
    claims += [
        claim["spec"]
        for item in patient.wanted("StatefulSet")
        for claim in item["spec"].get("volumeClaimTemplates", [])
    ]
    for name in sorted({str(claim.get("storageClassName", "")) for claim in claims}):
        there = name in names if name else has_default
        way_out = "" if there else f"make it, or name one of {', '.join(sorted(names)) or 'your own'} in the overlay"
        yield Finding(
            what=f"storage class {name or 'by default'}",
            detail="is there" if there else "is not there",
            way_out=way_out,
        )


def gpus(patient: Patient) -> Iterator[Finding]:
    """Are there nodes with GPUs in the pool, and the runtime class for them?"""
    pods = [item["spec"]["template"]["spec"] for item in patient.wanted("Deployment", "StatefulSet")]
    for name in sorted({pod["runtimeClassName"] for pod in pods if "runtimeClassName" in pod}):
        there = patient.cluster.get(f"/apis/node.k8s.io/v1/runtimeclasses/{name}") is not None
        way_out = "" if there else "install NVIDIA's GPU operator, or take runtimeClassName out of the overlay"
        yield Finding(what=f"runtime class {name}", detail="is there" if there else "is not there", way_out=way_out)
    if not any(pod.get("nodeSelector") == POOL for pod in pods):
        return
    nodes = (patient.cluster.get("/api/v1/nodes?labelSelector=silhouette%2Fpool%3Dgpu") or {}).get("items", [])
    count = sum(int(node["status"].get("allocatable", {}).get(GPU, "0")) for node in nodes)
    way_out = ""
    if not nodes:
        way_out = "kubectl label node NODE silhouette/pool=gpu, or run with gpus=0 on the overlay kind"
    elif not count:
        way_out = "install NVIDIA's device plugin: the nodes of the pool offer no GPU"
    yield Finding(what="GPU nodes", detail=f"{len(nodes)} in the pool, {count} GPUs", way_out=way_out)


def operators(patient: Patient) -> Iterator[Finding]:
    """Are the APIs there that the overlay's kinds and its autoscaler need?"""
    groups = {item["name"] for item in (patient.cluster.get("/apis") or {}).get("groups", [])}
    wanted = {}
    if patient.wanted("ServiceMonitor", "PrometheusRule"):
        wanted["monitoring.coreos.com"] = "install the Prometheus operator, or leave components/monitoring out"
    if patient.wanted("HorizontalPodAutoscaler"):
        wanted["custom.metrics.k8s.io"] = "install prometheus-adapter with the rule of docs/cluster.md"
    for group, way_out in wanted.items():
        there = group in groups
        yield Finding(
            what=f"API {group}", detail="is there" if there else "is not there", way_out="" if there else way_out
        )
