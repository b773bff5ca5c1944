"""A healthy cluster gets no word, and each thing that is wrong is named with what to do, over real HTTP."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from manifests import api, doctor, secrets
from manifests.doctor import Finding, Patient
from manifests.render import render
from tests.conftest import CHECKOUT
from tests.manifests import api_server
from tests.manifests.api_server import Api

SILHOUETTE, KUBEFLOW = "/api/v1/namespaces/silhouette", "/api/v1/namespaces/kubeflow"
HEALTHZ = f"{KUBEFLOW}/services/ml-pipeline:8888/proxy/apis/v2beta1/healthz"
READY = f"{SILHOUETTE}/services/triton:8000/proxy/v2/health/ready"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@cache
def rendered(target: str) -> tuple[dict[str, Any], ...]:
    return tuple(render(target))


def storage_class(name: str, default: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}}


def heal(server: Api, overlay: str) -> None:
    """Fill the server with what an overlay makes, as a cluster shows it once all runs."""
    held = server.objects
    held["/version"] = {"major": "1", "minor": "36+"}
    held["/apis"] = {"groups": [{"name": "monitoring.coreos.com"}, {"name": "custom.metrics.k8s.io"}]}
    held[SILHOUETTE] = {"metadata": {"name": "silhouette", "labels": RESTRICTED}}
    held[KUBEFLOW] = {"metadata": {"name": "kubeflow"}}
    held[CLASSES] = {"items": [storage_class("standard", "true"), storage_class("fast", "false")]}
    held["/apis/node.k8s.io/v1/runtimeclasses/nvidia"] = {"metadata": {"name": "nvidia"}}
    held["/api/v1/nodes"] = {"items": [{"status": {"allocatable": {"nvidia.com/gpu": "4"}}}]}
    held[HEALTHZ] = {"commit_sha": "a", "tag_name": "2.17.0", "multi_user": False}
    held[READY] = ""
    for item in (*rendered(overlay), *rendered("engine")):
        kind, place, name = item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]
        if kind == "ConfigMap":
            held[f"/api/v1/namespaces/{place}/configmaps/{name}"] = item
        if kind in ("Deployment", "StatefulSet"):
            replicas = item["spec"].get("replicas", 1)
            path = f"/apis/apps/v1/namespaces/{place}/{kind.lower()}s/{name}"
            held[path] = {"spec": {"replicas": replicas}, "status": {"readyReplicas": replicas}}
        if kind == "Job":
            held[f"/apis/batch/v1/namespaces/{place}/jobs/{name}"] = {"spec": {}, "status": {"succeeded": 1}}
    for (place, name), recipes in secrets.read_example().items():
        data = {key: base64.b64encode(b"value").decode() for key in recipes}
        held[f"/api/v1/namespaces/{place}/secrets/{name}"] = {"data": data}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with api_server.serving(tmp_path) as (running, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield running


def look_over(overlay: str) -> list[Finding]:
    patient = Patient(
        cluster=api.connect(), overlay=overlay, objects=list(rendered(overlay)), run_namespace="kubeflow"
    )  # fmt: skip
    return list(doctor.look_over(patient))


def wrong(overlay: str) -> list[Finding]:
    return [finding for finding in look_over(overlay) if finding.way_out]


@pytest.mark.parametrize("overlay", ["kind", "gpu"])
def test_healthy_cluster_needs_nothing(server: Api, overlay: str) -> None:
    heal(server, overlay)
    findings = look_over(overlay)
    assert [finding for finding in findings if finding.way_out] == []
    assert len(findings) > 20
    assert all(finding.detail for finding in findings)


def drop(*paths: str) -> Callable[[Api], None]:
    def change(server: Api) -> None:
        for path in paths:
            del server.objects[path]

    return change


def put(path: str, value: Any) -> Callable[[Api], None]:
    def change(server: Api) -> None:
        server.objects[path] = value

    return change


def refuse(*rights: tuple[str, str]) -> Callable[[Api], None]:
    return lambda server: server.refused.update(rights)


def forbid(path: str) -> Callable[[Api], None]:
    return lambda server: server.forbidden.add(path)


ENGINE = f"{KUBEFLOW}/configmaps/workflow-controller-configmap"
STOCK = {"data": {"workflowDefaults": "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: OnError}}}"}}
EMPTY_STORE = {"data": {"access_key": base64.b64encode(b"a").decode()}}


@pytest.mark.parametrize(
    ("change", "what", "way_out"),
    [
        (put("/version", {"major": "1", "minor": "30"}), "Kubernetes", "upgrade to 1.33 or newer"),
        (put("/version", {}), "Kubernetes", "upgrade"),
        (refuse(("create", "deployments")), "rights", "create deployments in silhouette"),
        (refuse(("patch", "networkpolicies")), "rights", "patch networkpolicies in kubeflow"),
        (drop(SILHOUETTE), "namespace silhouette", "kubectl apply -f manifests/base/namespace.yaml"),
        (put(SILHOUETTE, {"metadata": {"name": "silhouette"}}), "namespace silhouette", "kubectl apply -f"),
        (drop(KUBEFLOW), "namespace kubeflow", "install Kubeflow Pipelines"),
        (drop(f"{KUBEFLOW}/configmaps/silhouette"), "ConfigMap kubeflow/silhouette", "overlays/gpu"),
        (put(f"{KUBEFLOW}/configmaps/silhouette", {"data": {}}), "ConfigMap kubeflow/silhouette", "overlays/gpu"),
        (drop(f"{KUBEFLOW}/secrets/silhouette-store"), "Secret kubeflow/silhouette-store", "make secrets OVERLAY=gpu"),
        (put(f"{KUBEFLOW}/secrets/silhouette-store", EMPTY_STORE), "Secret kubeflow/silhouette-store", "make secrets"),
        (put(CLASSES, {"items": [storage_class("standard", "true")]}), "storage class fast", "name one of standard"),
        (drop("/apis/node.k8s.io/v1/runtimeclasses/nvidia"), "runtime class nvidia", "GPU operator"),
        (put("/api/v1/nodes", {"items": []}), "GPU nodes", "kubectl label node"),
        (put("/api/v1/nodes", {"items": [{"status": {}}]}), "GPU nodes", "device plugin"),
        (put("/apis", {"groups": []}), "API monitoring.coreos.com", "install the Prometheus operator"),
        (put("/apis", {"groups": []}), "API custom.metrics.k8s.io", "prometheus-adapter"),
        (drop("/apis/apps/v1/namespaces/silhouette/deployments/triton"), "Deployment triton", "kubectl apply"),
        (
            put("/apis/apps/v1/namespaces/silhouette/statefulsets/postgres", {"spec": {"replicas": 1}}),
            "StatefulSet postgres", "kubectl -n silhouette describe statefulsets/postgres",
        ),
        (drop(READY), "Triton", "does it reach the store?"),
        (forbid(READY), "Triton", "does it reach the store?"),
        (drop(HEALTHZ), "Kubeflow Pipelines", "install Kubeflow Pipelines 2.17 or newer"),
        (put(HEALTHZ, {"tag_name": "2.5.0"}), "Kubeflow Pipelines", "install Kubeflow Pipelines 2.17 or newer"),
        (forbid(HEALTHZ), "Kubeflow Pipelines", "logs deployment/ml-pipeline"),
        (put(ENGINE, STOCK), "ConfigMap kubeflow/workflow-controller-configmap", "kubectl apply --server-side"),
        (forbid("/api/v1/nodes?labelSelector=silhouette%2Fpool%3Dgpu"), "gpus", "correct that"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_way_out(
    server: Api, change: Callable[[Api], None], what: str, way_out: str
) -> None:
    heal(server, "gpu")
    change(server)
    found = [finding for finding in wrong("gpu") if finding.what == what]
    assert len(found) == 1, wrong("gpu")
    assert way_out in found[0].way_out


def test_default_storage_class_is_enough_for_a_laptop_and_needed(server: Api) -> None:
    heal(server, "kind")
    server.objects[CLASSES] = {"items": [storage_class("standard", "false")]}
    assert [finding.what for finding in wrong("kind")] == ["storage class by default"]


def test_job_that_failed_is_named(server: Api) -> None:
    heal(server, "kind")
    (path,) = [path for path in server.objects if "/jobs/migrate-" in path]
    server.objects[path]["status"] = {"failed": 3}
    (finding,) = wrong("kind")
    assert finding.detail == "0 of 1 done"


def test_optional_secret_may_be_missing(server: Api) -> None:
    heal(server, "kind")
    del server.objects[f"{KUBEFLOW}/secrets/silhouette-wandb"]
    (found,) = [finding for finding in look_over("kind") if finding.what == "Secret kubeflow/silhouette-wandb"]
    assert found.detail == "lacks api_key (optional)"
    assert not found.way_out


def test_other_spaces_in_kubeflows_own_text_are_no_difference(server: Api) -> None:
    heal(server, "kind")
    text = server.objects[ENGINE]["data"]["workflowDefaults"]
    server.objects[ENGINE] = {"data": {"workflowDefaults": text.replace("'2'", '"2"') + "\n\n"}}
    assert wrong("kind") == []


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "manifests.doctor", *words]
    return subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **environ}, capture_output=True, text=True)


def test_command_exits_with_0_on_a_healthy_cluster_and_changes_nothing(server: Api) -> None:
    heal(server, "gpu")
    done = run("--overlay", "gpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all is well"
    assert not [line for line in server.asked if not line.startswith("GET ") and "accessreviews" not in line]


def test_command_exits_with_1_and_tells_each_way_out(server: Api) -> None:
    heal(server, "gpu")
    server.objects["/api/v1/nodes"] = {"items": []}
    done = run("--overlay", "gpu")
    assert done.returncode == 1
    assert "FAIL  GPU nodes: 0 in the pool, 0 GPUs\n      -> kubectl label node NODE" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 to be put right"


def test_cluster_that_does_not_answer_is_one_line(tmp_path: Path, unused_port: int) -> None:
    path = api_server.write_kubeconfig(tmp_path, f"http://127.0.0.1:{unused_port}")
    done = run(KUBECONFIG=str(path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the cluster at http://127.0.0.1")
    assert len(done.stderr.splitlines()) == 1


def test_expired_token_is_one_line(server: Api) -> None:
    server.token = "another"
    done = run()
    assert done.returncode == 1
    assert "the token or certificate has expired; log in again" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_secret_values_are_never_printed(server: Api) -> None:
    heal(server, "kind")
    for path in [path for path in server.objects if "/secrets/" in path]:
        for key in server.objects[path]["data"]:
            server.objects[path]["data"][key] = base64.b64encode(b"hush-hush").decode()
    done = run()
    assert done.returncode == 0
    assert "hush-hush" not in done.stdout + done.stderr
