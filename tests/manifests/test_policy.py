"""Each rule over rendered objects catches its breach; the good example breaks none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from manifests.check import schema_breaches
from manifests.policy import RULES, breaches
from manifests.policy.objects import quantity

Objects = list[dict[str, Any]]


def good() -> Objects:
    """A namespace with a server, its service, a job by the clock, their doors and their rights."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "web",
        "image": "example.com/web:1.2",
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "silhouette-minio-admin", "key": "secret_key"}}}
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": security,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **{
            probe: {"httpGet": {"path": "/", "port": "http"}}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        },
    }
    pod = {
        "automountServiceAccountToken": False,
        "serviceAccountName": "web",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }

    def of(kind: str, api: str, name: str, **rest: Any) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "silhouette"}, **rest}

    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    job = {"metadata": {"labels": {"app": "job"}}, "spec": {**copy.deepcopy(pod), "restartPolicy": "Never"}}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "silhouette", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    door = {"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": 8080}]}
    return [
        namespace,
        of("ResourceQuota", "v1", "all", spec={"hard": {"pods": "9"}}),
        of("LimitRange", "v1", "all", spec={"limits": [{"type": "Container"}]}),
        of(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "deny",
            spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        ),
        of(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "web",
            spec={"podSelector": {"matchLabels": labels}, "ingress": [door]},
        ),
        of("ServiceAccount", "v1", "web"),
        of(
            "Role",
            "rbac.authorization.k8s.io/v1",
            "see",
            rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        ),
        of(
            "RoleBinding",
            "rbac.authorization.k8s.io/v1",
            "see",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "see"},
            subjects=[{"kind": "ServiceAccount", "name": "web", "namespace": "silhouette"}],
        ),
        of("Deployment", "apps/v1", "web", spec={"selector": {"matchLabels": labels}, "template": template}),
        of("Service", "v1", "web", spec={"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]}),
        of("PodDisruptionBudget", "policy/v1", "web", spec={"maxUnavailable": 1, "selector": {"matchLabels": labels}}),
        of(
            "HorizontalPodAutoscaler",
            "autoscaling/v2",
            "web",
            spec={"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        ),
        of("CronJob", "batch/v1", "job", spec={"schedule": "5 1 * * 0", "jobTemplate": {"spec": {"template": job}}}),
        of("PersistentVolumeClaim", "v1", "data", spec={"resources": {"requests": {"storage": "1Gi"}}}),
    ]


def find(objects: Objects, kind: str, name: str = "") -> dict[str, Any]:
    return next(item for item in objects if item["kind"] == kind and name in ("", item["metadata"]["name"]))


def pod(objects: Objects) -> dict[str, Any]:
    return find(objects, "Deployment")["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def container(objects: Objects) -> dict[str, Any]:
    return pod(objects)["containers"][0]  # type: ignore[no-any-return]


def put(getter: Callable[[Objects], dict[str, Any]], *path: str, value: Any) -> Callable[[Objects], None]:
    """Return a change that sets a value below what `getter` finds; None removes it."""

    def change(objects: Objects) -> None:
        place = getter(objects)
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


def the(kind: str, name: str = "") -> Callable[[Objects], dict[str, Any]]:
    return lambda objects: find(objects, kind, name)


def add(item: dict[str, Any]) -> Callable[[Objects], None]:
    return lambda objects: objects.append(item)


def drop(kind: str, name: str = "") -> Callable[[Objects], None]:
    return lambda objects: objects.remove(find(objects, kind, name))


SECRET = {"kind": "Secret", "metadata": {"name": "s", "namespace": "silhouette"}, "stringData": {"a": "b"}}
CLUSTER_ROLE = {"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": []}
SECRETS_RULE = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
EVERYTHING_RULE = [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}]
EXEC_RULE = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]
HIDDEN = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "silhouette-minio-admin", "key": "nope"}}}]
UNKNOWN = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "nope", "key": "nope"}}}]
UNKNOWN_MAP = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "nope"}}}]
HOST_PATH = [{"name": "tmp", "hostPath": {"path": "/"}}]


@pytest.mark.parametrize(
    ("change", "breach"),
    [
        (put(pod, "hostNetwork", value=True), "must not share its node's, got hostNetwork"),
        (put(pod, "volumes", value=HOST_PATH), "got hostPath in tmp"),
        (
            put(container, "ports", value=[{"name": "http", "containerPort": 8080, "hostPort": 80}]),
            "a port of its node",
        ),
        (put(pod, "securityContext", "sysctls", value=[{"name": "a", "value": "b"}]), "must not set sysctls"),
        (put(pod, "securityContext", "runAsNonRoot", value=None), "runAsNonRoot must be true"),
        (put(pod, "securityContext", "runAsUser", value=0), "runAsUser must be a number above 0, web has 0"),
        (put(container, "securityContext", "privileged", value=True), "must not be privileged"),
        (
            put(container, "securityContext", "allowPrivilegeEscalation", value=None),
            "allowPrivilegeEscalation must be false",
        ),
        (
            put(container, "securityContext", "capabilities", value={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
            "capabilities must be",
        ),
        (put(pod, "securityContext", "seccompProfile", value=None), "seccompProfile must be RuntimeDefault"),
        (
            put(container, "securityContext", "readOnlyRootFilesystem", value=False),
            "readOnlyRootFilesystem must be true",
        ),
        (put(container, "volumeMounts", value=[]), "/tmp must be an emptyDir"),
        (put(pod, "volumes", value=[{"name": "tmp", "emptyDir": {}}]), "an emptyDir must have a sizeLimit"),
        (put(container, "resources", "requests", "cpu", value=None), "resources.requests.cpu must be said"),
        (put(container, "resources", "limits", "memory", value=None), "resources.limits.memory must be said"),
        (put(container, "resources", "limits", "memory", value="2 GB"), "must be a quantity, web has '2 GB'"),
        (put(container, "resources", "requests", "memory", value="4Gi"), "must not ask for more memory than its limit"),
        (put(container, "livenessProbe", value=None), "must have a livenessProbe"),
        (put(container, "image", value="example.com/web:latest"), "an image must be name:version"),
        (put(container, "image", value="example.com:5000/web"), "an image must be name:version"),
        (put(container, "image", value="registry/silhouette/cpu:0.1.0-000000000000"), "run `make compile`"),
        (put(the("Service"), "metadata", "name", value="Web_1"), "a name must be lower-case letters"),
        (lambda objects: objects.append(find(objects, "Service")), "it is there 2 times"),
        (put(the("Deployment"), "spec", "selector", "matchLabels", value={"app": "x"}), "must choose its own pods"),
        (put(the("Service"), "spec", "selector", value={"app": "x"}), "Service silhouette/web: it must choose a pod"),
        (put(the("Service"), "spec", "ports", value=[{"port": 80, "targetPort": "nope"}]), "a targetPort must be"),
        (
            put(the("PodDisruptionBudget"), "spec", "selector", value={"matchLabels": {"app": "x"}}),
            "it must choose a pod",
        ),
        (
            put(the("NetworkPolicy", "web"), "spec", "podSelector", value={"matchLabels": {"app": "x"}}),
            "it must choose a pod",
        ),
        (put(pod, "volumes", value=[]), "mounts tmp, which is no volume"),
        (drop("ServiceAccount"), "ServiceAccount web must be there"),
        (put(container, "env", value=HIDDEN), "must have the key nope, it has"),
        (put(container, "env", value=UNKNOWN), "Secret nope must be there"),
        (put(container, "env", value=UNKNOWN_MAP), "ConfigMap nope must be there"),
        (
            put(the("CronJob"), "spec", "jobTemplate", "spec", "template", "spec", "restartPolicy", value="Always"),
            "restartPolicy",
        ),
        (put(the("CronJob"), "spec", "schedule", value="61 * * * *"), "schedule must be five fields of cron"),
        (put(the("CronJob"), "spec", "schedule", value="@daily"), "schedule must be five fields of cron"),
        (
            put(the("HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name", value="x"),
            "what it scales must be there",
        ),
        (put(the("Deployment"), "spec", "replicas", value=1), "replicas must be left to"),
        (
            put(the("PersistentVolumeClaim"), "spec", "resources", "requests", "storage", value="1GB"),
            "a claim must ask for storage",
        ),
        (add(SECRET), "a Secret must not be among the manifests"),
        (put(container, "env", value=[{"name": "API_TOKEN", "value": "abc"}]), "API_TOKEN must come from a Secret"),
        (put(container, "envFrom", value=[{"secretRef": {"name": "s"}}]), "variables must be named one by one"),
        (put(container, "args", value=["--dsn=postgresql://a:b@c/d"]), "a text must hold no password"),
        (put(the("Namespace"), "metadata", "labels", value={}), "must enforce Pod Security restricted"),
        (drop("NetworkPolicy", "deny"), "a NetworkPolicy that denies all traffic"),
        (drop("ResourceQuota"), "must have a ResourceQuota"),
        (drop("LimitRange"), "must have a LimitRange"),
        (put(the("NetworkPolicy", "web"), "spec", "ingress", value=[{"ports": [{"port": 80}]}]), "must say from whom"),
        (
            put(the("NetworkPolicy", "web"), "spec", "ingress", value=[{"from": [{}], "ports": [{"port": 80}]}]),
            "must say from whom",
        ),
        (put(the("Service"), "spec", "type", value="NodePort"), "a Service must be a ClusterIP, got NodePort"),
        (add(CLUSTER_ROLE), "rights must be of one namespace"),
        (put(the("Role"), "rules", value=EVERYTHING_RULE), "a right must be named, got *"),
        (put(the("Role"), "rules", value=SECRETS_RULE), "a Secret must be named by resourceNames"),
        (put(the("Role"), "rules", value=EXEC_RULE), "a right must not lead to other rights"),
        (drop("Role"), "the role that it gives must be there"),
        (put(pod, "automountServiceAccountToken", value=None), "automountServiceAccountToken must be false"),
    ],
)
def test_breach_is_caught(change: Callable[[Objects], None], breach: str) -> None:
    objects = good()
    change(objects)
    found = breaches(objects)
    assert any(breach in line for line in found), found


def test_good_example_breaks_no_rule() -> None:
    assert breaches(good()) == []


def test_every_rule_says_what_it_is() -> None:
    assert len(RULES) == len({rule.__name__ for rule in RULES})
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", 0.5), ("2", 2), ("1Gi", 2**30), ("1k", 1000), ("1.5G", 1.5e9), ("2 Gi", None), ("", None)],
)
def test_quantity_is_read_as_kubernetes_does(text: str, number: float | None) -> None:
    found = quantity(text)
    assert found == number if number is None else found is not None and float(found) == number


@pytest.mark.parametrize(
    ("item", "breach"),
    [
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": "many"}},
            "refuses",
        ),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"porst": []}}, "refuses"),
        ({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}}, "has no such kind"),
        ({"apiVersion": "v1", "kind": "Servise", "metadata": {"name": "a"}}, "has no such kind"),
    ],
)
def test_schema_of_kubernetes_catches_types_words_and_kinds(item: dict[str, Any], breach: str) -> None:
    assert any(breach in line for line in schema_breaches([item]))
