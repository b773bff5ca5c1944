"""Rules over pods: Pod Security `restricted`, resources, probes, images, a root that cannot be written to.

Source of the first: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from images.build import is_floating
from manifests.policy.objects import Object, containers, pods, quantity
from silhouette.containers import PARENTS, REPOSITORY, image_reference

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_SERVERS = ("Deployment", "StatefulSet", "DaemonSet")


def host_is_out_of_reach(objects: Sequence[Object]) -> Iterator[str]:
    """A pod must not see its node: its network, processes, files, ports."""
    for item, pod in pods(objects):
        for field in _HOST:
            if pod.get(field):
                yield f"{item}: a pod must not share its node's, got {field}"
        for volume in pod.get("volumes", []):
            for kind in set(volume) - {"name"} - _VOLUMES:
                yield f"{item}: a volume must be of a kind that `restricted` allows, got {kind} in {volume['name']}"
        if pod.get("securityContext", {}).get("sysctls"):
            yield f"{item}: a pod must not set sysctls"
    for item, _, container in containers(objects):
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{item}: a container must not take a port of its node, {container['name']} does"


def nobody_is_root(objects: Sequence[Object]) -> Iterator[str]:
    """Every container must run as a user that is not root, by number."""
    for item, pod, container in containers(objects):
        own, shared = container.get("securityContext", {}), pod.get("securityContext", {})
        user = own.get("runAsUser", shared.get("runAsUser"))
        if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
            yield f"{item}: runAsNonRoot must be true, {container['name']} has it not"
        if not isinstance(user, int) or user == 0:
            yield f"{item}: runAsUser must be a number above 0, {container['name']} has {user}"


def privileges_are_dropped(objects: Sequence[Object]) -> Iterator[str]:
    """No privilege, no way to get one, no capability, the runtime's own filter of system calls."""
    for item, pod, container in containers(objects):
        own, shared, name = container.get("securityContext", {}), pod.get("securityContext", {}), container["name"]
        if own.get("privileged"):
            yield f"{item}: a container must not be privileged, {name} is"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{item}: allowPrivilegeEscalation must be false, {name} has it not"
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{item}: capabilities must be drop: [ALL] and nothing else, {name} has {capabilities or 'none said'}"
        profile = (own.get("seccompProfile") or shared.get("seccompProfile") or {}).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"{item}: seccompProfile must be RuntimeDefault, {name} has {profile}"


def root_is_read_only(objects: Sequence[Object]) -> Iterator[str]:
    """A container must write to volumes only, of which /tmp is one with a limit."""
    for item, pod, container in containers(objects):
        name, volumes = container["name"], {volume["name"]: volume for volume in pod.get("volumes", [])}
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{item}: readOnlyRootFilesystem must be true, {name} has it not"
        mounted = [mount["name"] for mount in container.get("volumeMounts", []) if mount["mountPath"] == "/tmp"]  # noqa: S108
        if not mounted or "emptyDir" not in volumes.get(mounted[0], {}):
            yield f"{item}: /tmp must be an emptyDir, {name} has none"
    for item, pod in pods(objects):
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{item}: an emptyDir must have a sizeLimit, {volume['name']} has none; it could fill the node"


def resources_are_said(objects: Sequence[Object]) -> Iterator[str]:
    """Every container must ask for CPU and memory, and have limits that are not below what it asks for."""
    for item, _, container in containers(objects):
        resources, name = container.get("resources", {}), container["name"]
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        for kind, given in (("requests", requests), ("limits", limits)):
            for what in ("cpu", "memory"):
                if what not in given:
                    yield f"{item}: resources.{kind}.{what} must be said, {name} says none"
            for what, text in given.items():
                if quantity(str(text)) is None:
                    yield f"{item}: resources.{kind}.{what} must be a quantity, {name} has {text!r}"
        for what in requests.keys() & limits.keys():
            asked, allowed = quantity(str(requests[what])), quantity(str(limits[what]))
            if asked is not None and allowed is not None and asked > allowed:
                yield f"{item}: {name} must not ask for more {what} than its limit, {requests[what]} > {limits[what]}"


def servers_are_probed(objects: Sequence[Object]) -> Iterator[str]:
    """Every container of a server must say when it has started, when it is ready and when it is dead."""
    for item, pod in pods(objects):
        if item.kind in _SERVERS:
            for container in pod.get("containers", []):
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    if probe not in container:
                        yield f"{item}: a server must have a {probe}, {container['name']} has none"


def images_do_not_float(objects: Sequence[Object]) -> Iterator[str]:
    """An image must be an exact version, and ours the one that the compiled pipelines name."""
    ours = {f"{REPOSITORY}/{image}": image_reference(image) for image in PARENTS}
    for item, _, container in containers(objects):
        image = str(container.get("image", ""))
        if is_floating(image):
            yield f"{item}: an image must be name:version, {container['name']} has {image!r}"
        for name, reference in ours.items():
            if f"/{image}".rpartition(":")[0].endswith(f"/{name}") and not f"/{image}".endswith(f"/{reference}"):
                yield f"{item}: {name} must be {reference}, {container['name']} has {image!r}; run `make compile`"


RULES = (
    host_is_out_of_reach,
    nobody_is_root,
    privileges_are_dropped,
    root_is_read_only,
    resources_are_said,
    servers_are_probed,
    images_do_not_float,
)
