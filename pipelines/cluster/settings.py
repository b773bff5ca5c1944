"""Where the cluster is: read from the environment, like all endpoints and secrets (docs/cluster_runs.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from silhouette.errors import SettingError

DOCS = "docs/cluster_runs.md tells the ways"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The places that a submitted run needs.

    Attributes:
        kfp_url: Base URL of the KFP API, e.g. of a port-forward; empty: the pod's own account or the kubeconfig.
        kfp_token: Bearer token for it.
        kfp_token_file: File with a token that somebody keeps fresh; read again when KFP refuses the old one.
        kfp_ca_file: Certificate authority of an https `kfp_url`; empty: the usual ones.
        ui_url: What the links to the UI begin with; empty: `kfp_url`.
        kube_context: A context of the kubeconfig; empty: its current one.
        kfp_namespace: Where KFP is.
        run_namespace: Where the steps run.
        service_account: As whom they run; empty: as KFP says.
        registry: What stands before the images' names; empty: nothing.
        asks_registry: Whether the registry can be asked for the images.
        asks_gpu_nodes: Whether the nodes of the GPU pool can be looked at; a pool that scales from nothing has none.
    """

    kfp_url: str = ""
    kfp_token: str = field(default="", repr=False)
    kfp_token_file: str = ""
    kfp_ca_file: str = ""
    ui_url: str = ""
    kube_context: str = ""
    kfp_namespace: str = "kubeflow"
    run_namespace: str = "kubeflow"
    service_account: str = ""
    registry: str = ""
    asks_registry: bool = True
    asks_gpu_nodes: bool = True


def cluster_settings(environ: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Read the cluster's settings; all have a default.

    Raises:
        SettingError: One is malformed.
    """

    def text(name: str, default: str = "") -> str:
        return environ.get(f"SILHOUETTE_{name}", "").strip() or default

    def switch(name: str) -> bool:
        value = text(name, "1")
        if value not in ("0", "1"):
            raise SettingError(f"SILHOUETTE_{name} must be 0 or 1, got {value!r}; {DOCS}")
        return value == "1"

    def url(name: str) -> str:
        value = text(name).rstrip("/")
        if value and not value.startswith(("http://", "https://")):
            raise SettingError(f"SILHOUETTE_{name} must be http://host:port or https://host, got {value!r}; {DOCS}")
        return value

    def file(name: str, value: str) -> str:
        if value and not Path(value).is_file():
            raise SettingError(f"{name} must be a file, there is no {value}; {DOCS}")
        return value

    registry = text("REGISTRY").rstrip("/")
    if "://" in registry or registry != registry.lower():
        raise SettingError(
            f"SILHOUETTE_REGISTRY must be host/path in small letters without a scheme, got {registry!r}; {DOCS}"
        )
    projected = environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")  # KFP's own name for a pod's token
    token_file = file("SILHOUETTE_KFP_TOKEN_FILE", text("KFP_TOKEN_FILE"))
    kfp_namespace = text("KFP_NAMESPACE", "kubeflow")
    return ClusterSettings(
        kfp_url=url("KFP_URL"),
        kfp_token=text("KFP_TOKEN"),
        kfp_token_file=token_file or file("KF_PIPELINES_SA_TOKEN_PATH", projected),
        kfp_ca_file=file("SILHOUETTE_KFP_CA_FILE", text("KFP_CA_FILE")),
        ui_url=url("KFP_UI"),
        kube_context=text("KUBE_CONTEXT"),
        kfp_namespace=kfp_namespace,
        run_namespace=text("RUN_NAMESPACE", kfp_namespace),
        service_account=text("RUN_SERVICE_ACCOUNT"),
        registry=registry,
        asks_registry=switch("REGISTRY_CHECK"),
        asks_gpu_nodes=switch("GPU_CHECK"),
    )
