"""Every Triton behind a Kubernetes service: what is loaded is loaded into one process, so each has to be told.

Reads SILHOUETTE_TRITON_SERVICE (``namespace/service``) and asks the cluster's API for the endpoints of that service;
without the variable there is one server, that of SILHOUETTE_TRITON_URL. Writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from silhouette.errors import ServiceError, SettingError
from silhouette.settings import triton_service
from silhouette.triton_client import Triton

_ASK_S = (5.0, 30.0)  # to connect, to answer
_PATIENCE_S = 300.0
_PAUSE_S = 2.0
_PORT = "http"  # of the service's ports, the one with Triton's HTTP endpoint
_OF_SERVICE = "kubernetes.io/service-name"


def other_replicas(environ: Mapping[str, str] = os.environ, *, patience_s: float = _PATIENCE_S) -> list[Triton]:
    """Return every ready server behind the service; none without a service.

    The first server of a rollout is reached through the service, and is one of them: to tell it twice changes nothing.

    Args:
        environ: Where the settings are.
        patience_s: How long a replica that is starting is waited for.

    Raises:
        SettingError: The variable is malformed, or the cluster cannot be found.
        ServiceError: The cluster's API refuses, or a replica does not become ready.
    """
    named = triton_service(environ)
    if named is None:
        return []
    namespace, service = named
    deadline = time.monotonic() + patience_s
    while True:
        ready, starting = _endpoints(namespace, service)
        if ready and not starting:
            return [Triton(f"http://{address}") for address in ready]
        if time.monotonic() > deadline:
            raise ServiceError(
                f"every replica of {namespace}/{service} must be ready, {len(starting) or 'all'} of"
                f" {len(ready) + len(starting)} are not after {patience_s:.0f} s; look at its pods, then run again"
            )
        time.sleep(_PAUSE_S)


def _endpoints(namespace: str, service: str) -> tuple[list[str], list[str]]:
    """Return ``host:port`` of the replicas that are ready, and of those that are not."""
    from kubernetes.client import ApiException, DiscoveryV1Api
    from urllib3.exceptions import HTTPError

    try:
        found: Any = DiscoveryV1Api(_api()).list_namespaced_endpoint_slice(
            namespace, label_selector=f"{_OF_SERVICE}={service}", _request_timeout=_ASK_S
        )
    except ApiException as error:
        if error.status in (401, 403):
            raise ServiceError(
                f"this account must be allowed to list endpointslices in {namespace}, the cluster refuses"
                f" ({error.status} {error.reason}); bind it to the role of the deploy step"
            ) from None
        raise ServiceError(
            f"the cluster must list the endpoints of {namespace}/{service}, it answers {error.status} {error.reason};"
            " run again"
        ) from None
    except HTTPError as error:
        raise ServiceError(
            f"the cluster's API must answer, it does not ({' '.join(str(error).split())[:160]}); run again"
        ) from None
    if not found.items:
        raise ServiceError(
            f"the service {namespace}/{service} must exist, the cluster has no endpoints of it; correct"
            " SILHOUETTE_TRITON_SERVICE"
        )
    ready: list[str] = []
    starting: list[str] = []
    for part in found.items:
        port = next((item.port for item in part.ports or [] if item.name == _PORT), None)
        if port is None:
            raise ServiceError(f"the service {namespace}/{service} must have a port named {_PORT}, it has none; add it")
        for endpoint in part.endpoints or []:
            host = endpoint.addresses[0]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            (ready if endpoint.conditions.ready is not False else starting).append(address)
    return sorted(ready), sorted(starting)


def _api() -> Any:
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            config.load_kube_config(client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise SettingError(
            f"a cluster must be known where SILHOUETTE_TRITON_SERVICE is set, none is ({' '.join(str(error).split())});"
            " set KUBECONFIG, or run it in a pod"
        ) from None
    settings.retries = 2
    return client.ApiClient(settings)
