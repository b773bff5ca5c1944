"""What a run will need of the cluster, looked for before anything is started.

Reads objects of Kubernetes through the kubeconfig, and nothing but their keys: no value of a Secret is kept or
shown. What the kubeconfig may not look at is said and left to the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pipelines.cluster.settings import ClusterSettings
from pipelines.load import ClusterObject
from silhouette.config import load_config
from silhouette.errors import InputError, ServiceError
from silhouette.picture_source.service import PictureService
from silhouette.settings import picture_service_settings

TIMEOUT_S = (5.0, 20.0)
GPU = "nvidia.com/gpu"
Say = Callable[[str], None]


class _NotAllowedError(Exception):
    """The kubeconfig may not look at something."""


def require_objects(kubernetes: Any, objects: Iterable[ClusterObject], *, settings: ClusterSettings, say: Say) -> None:
    """See that the ConfigMaps and Secrets of a run are in its namespace, with their keys, and its account.

    A pod that names a Secret which is not there waits for it until its deadline.

    Raises:
        InputError: One is missing.
        ServiceError: Kubernetes does not answer.
    """
    from kubernetes import client

    core, namespace = client.CoreV1Api(kubernetes), settings.run_namespace
    read = {"ConfigMap": core.read_namespaced_config_map, "Secret": core.read_namespaced_secret}
    found: dict[tuple[str, str], set[str] | None] = {}
    for item in objects:
        if item.optional:
            continue
        name = (item.kind, item.name)
        if name not in found:
            try:
                seen = _asked(partial(read[item.kind], item.name, namespace, _request_timeout=TIMEOUT_S))
                found[name] = set() if seen is None else set(seen.data or {})
            except _NotAllowedError:
                say(f"not looked at: {item.kind} {item.name}, the kubeconfig may not read it in {namespace}")
                found[name] = None
        keys = found[name]
        if keys is not None and item.key not in keys:
            raise InputError(
                f"the {item.kind} {item.name} with the key {item.key} must be in namespace {namespace} for the step"
                f" {item.step}, it is not; `make secrets` makes it, docs/cluster_runs.md"
            )
    if settings.service_account:
        try:
            account = _asked(
                lambda: core.read_namespaced_service_account(
                    settings.service_account, namespace, _request_timeout=TIMEOUT_S
                )
            )
        except _NotAllowedError:
            say(f"not looked at: ServiceAccount {settings.service_account}, the kubeconfig may not read it")
            return
        if account is None:
            raise InputError(
                f"the ServiceAccount of the steps must be in namespace {namespace}, {settings.service_account} is not;"
                " correct SILHOUETTE_RUN_SERVICE_ACCOUNT"
            )


def require_gpu_nodes(kubernetes: Any, arguments: Mapping[str, Any], *, say: Say) -> None:
    """See that some node of the run's GPU pool has as many GPUs as a step asks for, and lets it in.

    Args:
        kubernetes: A `kubernetes.client.ApiClient`.
        arguments: All parameters of the run: ``gpus``, ``gpu_node_selector``, ``gpu_tolerations``.
        say: Where it is told what could not be looked at.

    Raises:
        InputError: There is no such node.
        ServiceError: Kubernetes does not answer.
    """
    from kubernetes import client

    gpus = int(arguments.get("gpus", 0))  # a default of the compiled YAML is a double
    if not gpus:
        return
    labels = ",".join(f"{key}={value}" for key, value in arguments.get("gpu_node_selector", {}).items())
    try:
        nodes = _asked(
            lambda: client.CoreV1Api(kubernetes).list_node(label_selector=labels, _request_timeout=TIMEOUT_S)
        )
    except _NotAllowedError:
        say("not looked at: the nodes of the GPU pool, the kubeconfig may not list them")
        return
    pool = nodes.items if nodes is not None else []
    fitting = [node for node in pool if int((node.status.allocatable or {}).get(GPU, 0)) >= gpus]
    if any(_lets_in(node, arguments.get("gpu_tolerations", [])) for node in fitting):
        return
    if fitting:
        rule = f"a node with {labels} must let the steps in, its taints are not in gpu_tolerations"
    else:
        most = max((int((node.status.allocatable or {}).get(GPU, 0)) for node in pool), default=0)
        rule = f"a node with {labels or 'any label'} must have {gpus} GPUs, {len(pool)} nodes have {most} at most"
    raise InputError(
        f"{rule}; pass ARGS='gpus=0', name the pool in gpu_node_selector, or set SILHOUETTE_GPU_CHECK=0 when it"
        " grows from nothing"
    )


def require_group(group: str, *, environ: Mapping[str, str]) -> None:
    """See that the picture service knows the group, where this machine can ask it.

    Raises:
        InputError: It does not.
        ServiceError: It does not answer.
    """
    if not environ.get("SILHOUETTE_PICTURE_SERVICE_URL"):
        return
    service = PictureService(picture_service_settings(environ), workers=1)
    try:
        if group not in load_config().groups and service.classes(group) is None:
            known = ", ".join(repr(name) for name in service.groups()[:10]) or "none"
            raise InputError(
                f"a group must be one that the picture service knows, got {group!r}; it has {known}, or give SOURCE"
            )
    finally:
        service.close()


def _lets_in(node: Any, tolerations: list[dict[str, Any]]) -> bool:
    return all(
        any(_tolerates(toleration, taint) for toleration in tolerations)
        for taint in node.spec.taints or []
        if taint.effect in ("NoSchedule", "NoExecute")
    )


def _tolerates(toleration: Mapping[str, Any], taint: Any) -> bool:
    """Match as Kubernetes does: an empty key with Exists matches all, an empty effect matches all effects."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return bool(toleration.get("key") == taint.key and toleration.get("value", "") == (taint.value or ""))


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer, or None when there is no such object."""
    import urllib3
    from kubernetes.client import ApiException

    try:
        return ask()
    except ApiException as error:
        if error.status == 404:
            return None
        if error.status == 403:
            raise _NotAllowedError from None
        if error.status == 401:
            raise ServiceError(
                "Kubernetes must accept the login, it is refused or expired (401); renew the kubeconfig's login"
            ) from None
        raise ServiceError(f"Kubernetes must answer, it says {error.status}: {error.reason}; try later") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        told = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise ServiceError(
            f"Kubernetes must be reachable, {told}; see whether the cluster of the kubeconfig runs"
        ) from None
