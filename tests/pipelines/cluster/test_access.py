"""The ways to KFP: which is taken, with which credentials, and what leaves this machine with them."""

from pathlib import Path

import pytest

from pipelines.cluster import access
from pipelines.cluster.access import open_access
from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.settings import cluster_settings
from silhouette.errors import SettingError
from tests.pipelines.cluster.conftest import Cluster
from tests.pipelines.cluster.kfp_server import KfpServer


def _headers(server: KfpServer, environ: dict[str, str]) -> dict[str, str]:
    settings = cluster_settings(environ)
    assert Kfp(lambda: open_access(settings, environ)).health()["tag_name"] == "2.17.0"
    return server.asked[-1].headers


def test_url_alone_is_a_port_forward(tmp_path: Path) -> None:
    with KfpServer() as server:
        environ = {"SILHOUETTE_KFP_URL": f"{server.url}/", "KUBECONFIG": str(tmp_path / "no")}
        assert "authorization" not in _headers(server, environ)
        assert server.asked[-1].path == "/apis/v2beta1/healthz"


def test_token_goes_to_the_url(tmp_path: Path) -> None:
    with KfpServer(token="t0ken") as server:
        environ = {
            "SILHOUETTE_KFP_URL": server.url,
            "SILHOUETTE_KFP_TOKEN": "t0ken",
            "KUBECONFIG": str(tmp_path / "no"),
        }
        assert _headers(server, environ)["authorization"] == "Bearer t0ken"
        assert "t0ken" not in repr(cluster_settings(environ))


def test_token_of_a_pod_is_found_where_kfp_projects_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("projected\n")
    with KfpServer(token="projected") as server:
        environ = {
            "SILHOUETTE_KFP_URL": server.url,
            "KF_PIPELINES_SA_TOKEN_PATH": str(file),
            "KUBECONFIG": str(tmp_path / "no"),
        }
        assert _headers(server, environ)["authorization"] == "Bearer projected"


def test_pod_speaks_to_the_service_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("of the account")
    monkeypatch.setattr(access, "POD_TOKEN", token)
    monkeypatch.setattr(access, "_kubernetes", lambda settings, environ: None)  # its files have fixed places
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "SILHOUETTE_KFP_NAMESPACE": "ml"}
    opened = open_access(cluster_settings(environ), environ)
    assert opened.where == "http://ml-pipeline.ml.svc.cluster.local:8888"
    assert opened.kfp.configuration.api_key == {"authorization": "of the account"}


def test_kubeconfig_alone_goes_through_the_api_servers_proxy(cluster: Cluster, tmp_path: Path) -> None:
    cluster.kube.token = "the user's"
    config = tmp_path / "config"
    config.write_text(cluster.kube.kubeconfig("the user's"))
    headers = _headers(cluster.kube, {"KUBECONFIG": str(config)})
    assert headers["authorization"] == "Bearer the user's"
    assert cluster.kube.asked[-1].path.startswith("/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"SILHOUETTE_KFP_URL": "kfp.example.com"}, "SILHOUETTE_KFP_URL must be http://host:port"),
        ({"SILHOUETTE_KFP_TOKEN_FILE": "/no/such"}, "SILHOUETTE_KFP_TOKEN_FILE must be a file, there is no /no/such"),
        ({"SILHOUETTE_REGISTRY": "https://r.example.com"}, "SILHOUETTE_REGISTRY must be host/path"),
        ({"SILHOUETTE_REGISTRY_CHECK": "no"}, "SILHOUETTE_REGISTRY_CHECK must be 0 or 1, got 'no'"),
    ],
)
def test_malformed_setting_is_one_line(environ: dict[str, str], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        cluster_settings(environ)


def test_run_namespace_is_kfps_unless_said() -> None:
    assert cluster_settings({}).run_namespace == "kubeflow"
    assert cluster_settings({"SILHOUETTE_KFP_NAMESPACE": "ml"}).run_namespace == "ml"
    assert cluster_settings({"SILHOUETTE_RUN_NAMESPACE": "team"}).run_namespace == "team"
