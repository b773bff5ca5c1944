"""The ways to KFP and to Kubernetes, with what the environment and the kubeconfig hold.

SILHOUETTE_KFP_URL   a port-forward or an ingress; with SILHOUETTE_KFP_TOKEN(_FILE) where it asks for one
in a pod             the service's own name and the pod's projected token
a kubeconfig         the API server hands requests on to the service `ml-pipeline`; nothing else is needed
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from pipelines.cluster.settings import DOCS, ClusterSettings
from silhouette.errors import SettingError

PROXY_PATH = "api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy"
IN_CLUSTER_URL = "http://ml-pipeline.{namespace}.svc.cluster.local:8888"
POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
_ONCE = urllib3.Retry(0, raise_on_redirect=False)  # what is tried again is decided in kfp_api.py


@dataclass(frozen=True, kw_only=True)
class Access:
    """Clients with credentials.

    Attributes:
        kfp: A `kfp_server_api.ApiClient`.
        where: KFP's address, for messages.
        way_out: What to do when the credentials are refused.
        kubernetes: A `kubernetes.client.ApiClient`, or None where there is no kubeconfig and no pod's account.
    """

    kfp: Any
    where: str
    way_out: str
    kubernetes: Any = None


def open_access(settings: ClusterSettings, environ: Mapping[str, str] = os.environ) -> Access:
    """Choose the way and read the credentials anew; nothing is asked yet.

    Raises:
        SettingError: There is no way, or the kubeconfig cannot be used.
    """
    try:
        return _chosen(settings, environ)
    finally:  # both clients turn it up when they are configured; a request that is tried again is no news
        logging.getLogger("urllib3").setLevel(logging.ERROR)


def _chosen(settings: ClusterSettings, environ: Mapping[str, str]) -> Access:
    kubernetes = _kubernetes(settings, environ)
    if settings.kfp_url:
        token, way_out = _token(settings), "give a fresh SILHOUETTE_KFP_TOKEN (`kubectl create token`)"
        return _access(settings.kfp_url, token, settings.kfp_ca_file, kubernetes, way_out)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        url = IN_CLUSTER_URL.format(namespace=settings.kfp_namespace)
        way_out = f"project a token for pipelines.kubeflow.org to {POD_TOKEN}"
        return _access(url, _token(settings), settings.kfp_ca_file, kubernetes, way_out)
    if kubernetes is None:
        looked = environ.get("KUBECONFIG") or "~/.kube/config"
        raise SettingError(
            f"a cluster must be named: there is no kubeconfig at {looked} and no SILHOUETTE_KFP_URL; set one, {DOCS}"
        )
    return _through_kubernetes(settings, kubernetes)


def _token(settings: ClusterSettings) -> str:
    if settings.kfp_token:
        return settings.kfp_token
    file = Path(settings.kfp_token_file) if settings.kfp_token_file else POD_TOKEN
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _access(url: str, token: str, ca_file: str, kubernetes: Any, way_out: str) -> Access:
    configuration = _configuration(url)
    configuration.ssl_ca_cert = ca_file or None
    if token:
        configuration.api_key = {"authorization": token}
        configuration.api_key_prefix = {"authorization": "Bearer"}
    return Access(kfp=_client(configuration), where=url, way_out=way_out, kubernetes=kubernetes)


def _through_kubernetes(settings: ClusterSettings, kubernetes: Any) -> Access:
    """Send KFP's requests through the API server's proxy, as the kubeconfig's user."""
    theirs = kubernetes.configuration
    configuration = _configuration(f"{theirs.host}/{PROXY_PATH.format(namespace=settings.kfp_namespace)}")
    for name in ("ssl_ca_cert", "cert_file", "key_file", "verify_ssl", "proxy"):
        setattr(configuration, name, getattr(theirs, name))

    def refresh(ours: Any) -> None:
        # the kubeconfig's hook sets the host as well, and would take the proxy's path away: it gets its own object
        theirs.get_api_key_with_prefix("authorization")
        ours.api_key, ours.api_key_prefix = dict(theirs.api_key), dict(theirs.api_key_prefix)

    refresh(configuration)
    configuration.refresh_api_key_hook = refresh
    way_out = "renew the kubeconfig's login"
    return Access(kfp=_client(configuration), where=theirs.host, way_out=way_out, kubernetes=kubernetes)


def _configuration(url: str) -> Any:
    import kfp_server_api

    configuration = kfp_server_api.Configuration(host=url)
    configuration.retries = _ONCE
    return configuration


def _client(configuration: Any) -> Any:
    import kfp_server_api

    return kfp_server_api.ApiClient(configuration)


def _kubernetes(settings: ClusterSettings, environ: Mapping[str, str]) -> Any:
    """Return a client by the kubeconfig, else by the pod's account, else None.

    Raises:
        SettingError: The kubeconfig is malformed or has no such context.
    """
    files = [Path(name).expanduser() for name in (environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)]
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST"))
    has_file = any(file.is_file() for file in files)
    if not has_file and not in_pod:
        return None
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    configuration.retries = _ONCE
    try:
        if has_file:
            config.load_kube_config(
                config_file=os.pathsep.join(map(str, files)),
                client_configuration=configuration,
                context=settings.kube_context or None,
            )
        else:
            config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise SettingError(f"the kubeconfig must be usable, {told[:200]}; correct it, {DOCS}") from None
    return client.ApiClient(configuration)
