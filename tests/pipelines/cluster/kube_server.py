"""The few answers of a Kubernetes API server that are asked for, and its proxy to KFP's service."""

from __future__ import annotations

import base64
import re
from typing import Any

import yaml

from tests.pipelines.cluster.kfp_server import KfpServer
from tests.pipelines.cluster.stand_in import Asked, Refuse

PROXY = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
KINDS = {"secrets": "Secret", "configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount"}


def status(code: int, reason: str, message: str) -> Refuse:
    return Refuse(code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})


class KubeServer(KfpServer):
    """Objects by (kind, name) in namespace kubeflow, nodes by name; `forbidden` kinds may not be read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.objects: dict[tuple[str, str], list[str]] = {
            ("configmaps", "silhouette"): ["s3_endpoint", "s3_secure", "s3_bucket", "triton_url"],
            ("secrets", "silhouette-store"): ["access_key", "secret_key"],
            ("secrets", "silhouette-postgres"): ["dsn"],
        }
        self.nodes: dict[str, dict[str, Any]] = {"gpu-1": node({"silhouette/pool": "gpu"}, gpus=1)}
        self.forbidden: set[str] = set()
        self.secret_value = "a value that nobody shows"

    def answer(self, asked: Asked) -> Any:
        if asked.path.startswith(f"{PROXY}/"):
            inner = Asked(**{**asked.__dict__, "path": asked.path.removeprefix(PROXY)})
            return super().answer(inner)
        found = re.fullmatch(r"/api/v1/namespaces/kubeflow/(\w+)/([\w-]+)", asked.path)
        if found:
            return self._object(*found.groups())
        if asked.path == "/api/v1/nodes":
            if "nodes" in self.forbidden:
                raise status(403, "Forbidden", "nodes is forbidden")
            wanted = dict(pair.split("=") for pair in asked.query.get("labelSelector", "").split(",") if pair)
            items = [
                {"metadata": {"name": name, "labels": one["labels"]}, "spec": one["spec"], "status": one["status"]}
                for name, one in self.nodes.items()
                if wanted.items() <= one["labels"].items()
            ]
            return {"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": items}
        raise status(404, "NotFound", "the server could not find the requested resource")

    def _object(self, plural: str, name: str) -> Any:
        if plural in self.forbidden:
            raise status(403, "Forbidden", f"{plural} is forbidden")
        if (plural, name) not in self.objects:
            raise status(404, "NotFound", f'{plural} "{name}" not found')
        value = base64.b64encode(self.secret_value.encode()).decode() if plural == "secrets" else "somewhere"
        data = dict.fromkeys(self.objects[plural, name], value)
        extra = {} if plural == "serviceaccounts" else {"data": data}
        return {"kind": KINDS[plural], "apiVersion": "v1", "metadata": {"name": name}, **extra}

    def kubeconfig(self, token: str = "") -> str:
        """Return a kubeconfig of this server, as YAML."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": token} if token else {}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "here",
            }
        )


def node(labels: dict[str, str], *, gpus: int, taints: list[dict[str, str]] | None = None) -> dict[str, Any]:
    allocatable = {"cpu": "8", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {"labels": labels, "spec": {"taints": taints or []}, "status": {"allocatable": allocatable}}
