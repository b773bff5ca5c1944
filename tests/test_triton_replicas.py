"""The replicas behind a Kubernetes service, asked of an API server that speaks over real HTTP on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from silhouette.errors import ServiceError, SettingError
from silhouette.triton_replicas import other_replicas

SERVICE = {"SILHOUETTE_TRITON_SERVICE": "serving/triton"}


def endpoint_slice(*endpoints: tuple[str, bool], port: str = "http") -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "triton-x"},
        "addressType": "IPv4",
        "ports": [{"name": "metrics", "port": 8002}, {"name": port, "port": 8000}],
        "endpoints": [{"addresses": [host], "conditions": {"ready": ready}} for host, ready in endpoints],
    }


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """A cluster's API that gives the answers in turn, the last one for ever; returns the paths that were asked."""
    answers: list[tuple[int, Any]] = []
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, content = answers.pop(0) if len(answers) > 1 else answers[0]
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": host}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    # the client reads its default file's name when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("silhouette.triton_replicas._PAUSE_S", 0.01)

    def give(*given: tuple[int, Any]) -> list[str]:
        answers[:] = given
        return asked

    yield give
    server.shutdown()
    server.server_close()


def listed(*slices: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "items": list(slices)}


def test_without_a_service_there_are_no_others() -> None:
    assert other_replicas({}) == []


def test_every_ready_replica_is_found_by_the_port_of_its_http_endpoint(api: Callable[..., list[str]]) -> None:
    asked = api(listed(endpoint_slice(("10.0.0.2", True)), endpoint_slice(("10.0.0.1", True))))
    assert [triton.url for triton in other_replicas(SERVICE)] == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]
    path = "/apis/discovery.k8s.io/v1/namespaces/serving/endpointslices"
    assert asked == [f"{path}?labelSelector=kubernetes.io%2Fservice-name%3Dtriton"]


def test_one_that_is_starting_is_waited_for_and_not_for_ever(api: Callable[..., list[str]]) -> None:
    starting = endpoint_slice(("10.0.0.1", True), ("10.0.0.2", False))
    asked = api(listed(starting), listed(starting), listed(endpoint_slice(("10.0.0.1", True), ("10.0.0.2", True))))
    assert len(other_replicas(SERVICE)) == 2
    assert len(asked) == 3
    api(listed(starting))
    with pytest.raises(ServiceError, match=r"every replica of serving/triton must be ready, 1 of 2 are not"):
        other_replicas(SERVICE, patience_s=0.05)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, r"must be allowed to list endpointslices in serving, the cluster refuses \(403"),
        (401, r"the cluster refuses \(401"),
        (500, "answers 500"),
    ],
)
def test_a_refusal_says_what_is_missing(api: Callable[..., list[str]], status: int, told: str) -> None:
    api((status, {"kind": "Status", "reason": "no"}))
    with pytest.raises(ServiceError, match=told):
        other_replicas(SERVICE)


def test_an_unknown_service_and_one_without_the_port_are_named(api: Callable[..., list[str]]) -> None:
    api(listed())
    with pytest.raises(ServiceError, match="the service serving/triton must exist"):
        other_replicas(SERVICE)
    api(listed(endpoint_slice(("10.0.0.1", True), port="grpc")))
    with pytest.raises(ServiceError, match="must have a port named http"):
        other_replicas(SERVICE)


@pytest.mark.parametrize("value", ["triton", "a/b/c", "A/b", "/", "a/"])
def test_a_malformed_name_is_one_line(value: str) -> None:
    with pytest.raises(SettingError, match="must be namespace/service"):
        other_replicas({"SILHOUETTE_TRITON_SERVICE": value})


def test_without_a_cluster_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingError, match="a cluster must be known"):
        other_replicas(SERVICE)
