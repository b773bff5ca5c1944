"""The door to the cluster's API server: what the programs of this folder ask it, with timeouts and clear errors.

Reads the kubeconfig (KUBECONFIG, else ~/.kube/config), or the account of the pod that it runs in.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
import yaml

from silhouette.errors import InputError, ServiceError

_ANSWER_S = (5, 20)  # to connect, to answer
_PART_OF = {"app.kubernetes.io/part-of": "silhouette"}


class Cluster:
    """A cluster, through the kubernetes client."""

    def __init__(self, client: Any) -> None:
        """Take an open `kubernetes.client.ApiClient`."""
        self._client = client
        self.address = str(client.configuration.host)

    def get(self, path: str) -> Any:
        """Return the JSON of an API path, or the text when it is none; None when there is no such thing.

        Raises:
            ServiceError: The server does not answer, or refuses.
        """
        content = self._ask("GET", path)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError:
            return content

    def may(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Ask whether we may do something, by a SelfSubjectAccessReview.

        Raises:
            ServiceError: The server does not answer, or refuses to say.
        """
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return bool(json.loads(answer or "{}").get("status", {}).get("allowed"))

    def secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the content of a Secret as text; None when there is none.

        Raises:
            ServiceError: The server does not answer, or refuses.
        """
        found = self.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            return None
        return {key: base64.b64decode(content).decode() for key, content in (found.get("data") or {}).items()}

    def write_secret(self, namespace: str, name: str, content: Mapping[str, str], *, is_new: bool) -> None:
        """Make a Secret, or add keys to one that is there.

        Raises:
            InputError: The namespace is not there.
            ServiceError: The server does not answer, or refuses.
        """
        data = {key: base64.b64encode(text.encode()).decode() for key, text in content.items()}
        path = f"/api/v1/namespaces/{namespace}/secrets"
        if is_new:
            metadata = {"name": name, "labels": _PART_OF}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            done = self._ask("POST", path, body)
        else:
            done = self._ask("PATCH", f"{path}/{name}", {"data": data})
        if done is None:
            raise InputError(
                f"the namespace {namespace} must be there, it is not;"
                " kubectl apply -f manifests/base/namespace.yaml makes ours, Kubeflow's installation its own"
            )

    def _ask(self, method: str, path: str, body: Any = None) -> str | None:
        from kubernetes.client.exceptions import ApiException

        headers = {"Accept": "application/json, */*"}
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        call: Callable[..., Any] = self._client.call_api
        try:
            response = call(
                path, method, header_params=headers, body=body, auth_settings=["BearerToken"],
                response_type=None, _preload_content=False, _request_timeout=_ANSWER_S, _return_http_data_only=True,
            )  # fmt: skip
        except ApiException as error:
            if error.status == 404:
                return None
            raise ServiceError(f"the cluster at {self.address} {self._refusal(error)}") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ServiceError(
                f"the cluster at {self.address} must answer, got: {type(getattr(error, 'reason', error)).__name__};"
                " is it up, and is it the one that `kubectl config current-context` names?"
            ) from None
        return str(response.data.decode("utf-8", errors="replace"))

    @staticmethod
    def _refusal(error: Any) -> str:
        try:
            detail = json.loads(error.body)["message"]
        except (TypeError, ValueError, KeyError):
            detail = str(error.reason)
        if error.status == 401:
            return "must know who asks, it does not: the token or certificate has expired; log in again"
        if error.status == 403:
            return f"must allow this, it does not: {' '.join(detail.split())}; ask its administrator"
        return f"must answer, got {error.status}: {' '.join(detail.split())[:200]}"


def connect(context: str | None = None) -> Cluster:
    """Open the cluster of a kubeconfig's context, or of the pod that this is.

    Raises:
        ServiceError: There is no kubeconfig, or no such context.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        # the client itself reads the variable once, when it is imported
        file = os.environ.get("KUBECONFIG") or None
        config.load_kube_config(config_file=file, context=context, client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        try:
            if context:
                raise
            config.load_incluster_config(client_configuration=configuration)
        except (config.ConfigException, yaml.YAMLError, OSError, UnicodeDecodeError):
            raise ServiceError(
                f"a kubeconfig must say where the cluster is{f' and have the context {context!r}' if context else ''},"
                f" got: {' '.join(str(error).split())}; set KUBECONFIG, or make a cluster with `make cluster`"
            ) from None
    configuration.retries = 1
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # the client made it speak of every retry
    return Cluster(client.ApiClient(configuration))
