"""What must run and answer: our workloads, Triton, Kubeflow Pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from manifests.doctor.finding import Finding, Patient, plural
from manifests.render import render
from silhouette.errors import SilhouetteError

OLDEST_KFP = (2, 17)


def workloads(patient: Patient) -> Iterator[Finding]:
    """Does everything run that should?"""
    for item in patient.wanted("Deployment", "StatefulSet", "Job"):
        place, name, kind = item["metadata"]["namespace"], item["metadata"]["name"], item["kind"]
        group, kinds = "batch" if kind == "Job" else "apps", plural(kind)
        found = patient.cluster.get(f"/apis/{group}/v1/namespaces/{place}/{kinds}/{name}")
        if found is None:
            yield Finding(what=f"{kind} {name}", detail="is not there", way_out=patient.apply)
            continue
        status = found.get("status", {})
        wanted, ready = (1, status.get("succeeded", 0)) if kind == "Job" else (
            found["spec"].get("replicas", 1), status.get("readyReplicas", 0)
        )  # fmt: skip
        way_out = (
            ""
            if ready >= wanted
            else f"kubectl -n {place} describe {kinds}/{name}, and kubectl -n {place} logs {kinds}/{name}"
        )
        word = "done" if kind == "Job" else "ready"
        yield Finding(what=f"{kind} {name}", detail=f"{ready} of {wanted} {word}", way_out=way_out)


def triton(patient: Patient) -> Iterator[Finding]:
    """Does Triton answer through its Service?"""
    try:
        answer = patient.cluster.get("/api/v1/namespaces/silhouette/services/triton:8000/proxy/v2/health/ready")
        detail = "is ready" if answer is not None else "has no Service, or no such path"
    except SilhouetteError as error:
        answer, detail = None, str(error)
    way_out = "" if answer is not None else "kubectl -n silhouette logs deployment/triton; does it reach the store?"
    yield Finding(what="Triton", detail=detail, way_out=way_out)


def kubeflow(patient: Patient) -> Iterator[Finding]:
    """Does Kubeflow Pipelines answer, is it new enough, and does it know what manifests/engine says?"""
    place = patient.run_namespace
    try:
        path = f"/api/v1/namespaces/{place}/services/ml-pipeline:8888/proxy/apis/v2beta1/healthz"
        answer = patient.cluster.get(path)
        tag = str(answer.get("tag_name", "")) if isinstance(answer, Mapping) else ""
        numbers = tuple(int(number) for number in re.findall(r"\d+", tag)[:2])
        detail = f"answers, release {tag or 'unknown'}" if answer is not None else "has no Service ml-pipeline here"
        way_out = (
            ""
            if numbers >= OLDEST_KFP
            else f"install Kubeflow Pipelines {'.'.join(map(str, OLDEST_KFP))} or newer in {place}"
        )
    except SilhouetteError as error:
        detail, way_out = str(error), f"kubectl -n {place} logs deployment/ml-pipeline"
    yield Finding(what="Kubeflow Pipelines", detail=detail, way_out=way_out)
    apply = "kubectl apply --server-side --force-conflicts -k manifests/engine"
    for item in render("engine"):
        name = item["metadata"]["name"]
        found = patient.cluster.get(f"/api/v1/namespaces/{place}/configmaps/{name}") or {}
        data = found.get("data") or {}
        differing = [key for key, text in item["data"].items() if _meaning(data.get(key, "")) != _meaning(text)]
        detail = f"other: {', '.join(differing)}" if differing else "as manifests/engine says"
        yield Finding(what=f"ConfigMap {place}/{name}", detail=detail, way_out=apply if differing else "")


def _meaning(text: str) -> Any:
    """Return what YAML in a ConfigMap says: Kubeflow's own text may have other spaces."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
