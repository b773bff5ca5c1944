"""A whole cluster on a machine with Docker: `make cluster`, `make cluster-down`.

Makes a kind cluster named `silhouette`, installs Kubeflow Pipelines of a fixed release, builds and loads the images,
makes the Secrets, applies the overlay `kind` and looks the result over. Every step can be run again; what is there
stays. Touches no other cluster: each call names the context `kind-silhouette`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from images import build
from manifests import api, secrets
from manifests.render import ROOT, kubectl
from silhouette.containers import PARENTS
from silhouette.errors import ServiceError, SilhouetteError
from silhouette.step import configure_logging

NAME = "silhouette"
CONTEXT = f"kind-{NAME}"
NODE = "kindest/node:v1.36.1"  # of the Kubernetes that KFP's own tests of this release run on
KFP = "2.17.0"
OVERLAY = "kind"
MIN_MEMORY_GIB = 12
_KFP_SOURCE = "github.com/kubeflow/pipelines/manifests/kustomize"
_WAYS_OUT = {
    "docker": "install Docker, https://docs.docker.com/engine/install",
    "kind": "install kind, https://kind.sigs.k8s.io",
    "git": "install git: kubectl fetches Kubeflow's manifests with it",
}
_LONG_S = 3600
_ANSWER_S = 60


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what it says it does, and what it does."""

    title: str
    work: Callable[[], None]


def need_programs() -> None:
    """See that the programs are there, that Docker answers and has memory enough.

    Raises:
        ServiceError: One is missing, or Docker does not answer or has too little memory.
    """
    for name, way_out in _WAYS_OUT.items():
        if shutil.which(name) is None:
            raise ServiceError(f"{name} must be on the PATH, it is not; {way_out}")
    kubectl()
    answer = _ask("docker", "info", "--format={{.MemTotal}}")
    memory = int(answer) / 2**30 if answer.isdigit() else 0
    if memory < MIN_MEMORY_GIB:
        raise ServiceError(
            f"Docker must have {MIN_MEMORY_GIB} GiB of memory or more, it has {memory:.0f};"
            " give it more in its settings"
        )


def make_cluster() -> None:
    """Make the kind cluster, unless it is there."""
    if NAME in _ask("kind", "get", "clusters").split():
        print("  it is there")
        return
    _run("kind", "create", "cluster", f"--name={NAME}", f"--image={NODE}", "--wait=180s")


def install_kubeflow() -> None:
    """Apply Kubeflow Pipelines' own manifests of one release, and wait for its API."""
    _kubectl("apply", f"--kustomize={_KFP_SOURCE}/cluster-scoped-resources?ref={KFP}")
    _kubectl("wait", "--for=condition=established", "--timeout=120s", "crd/applications.app.k8s.io")
    _kubectl("apply", f"--kustomize={_KFP_SOURCE}/env/platform-agnostic?ref={KFP}")
    _kubectl("--namespace=kubeflow", "rollout", "status", "deployment/ml-pipeline", "--timeout=1800s")


def load_images() -> None:
    """Build the images and hand them to the cluster's node, which has them then without a registry."""
    build.build(list(PARENTS))
    for image in PARENTS:
        _run("kind", "load", "docker-image", build.reference(image, ""), f"--name={NAME}")


def make_secrets() -> None:
    """Make the namespace and what it lacks of Secrets."""
    _kubectl("apply", f"--filename={ROOT / 'base' / 'namespace.yaml'}")
    namespace = secrets.run_namespace(OVERLAY)
    for line in secrets.keep(api.connect(CONTEXT), namespace=namespace, environ=os.environ):
        print(f"  {line}")


def apply() -> None:
    """Apply the overlay and what Kubeflow must know; restart what reads that at its start only."""
    server_side = ("apply", "--server-side", "--force-conflicts")
    _kubectl(*server_side, f"--kustomize={ROOT / 'overlays' / OVERLAY}")
    _kubectl(*server_side, f"--kustomize={ROOT / 'engine'}")
    _kubectl("--namespace=kubeflow", "rollout", "restart", "deployment/workflow-controller")


def wait() -> None:
    """Wait until all that was applied runs."""
    for name in ("statefulset/postgres", "statefulset/minio", "deployment/triton"):
        _kubectl("--namespace=silhouette", "rollout", "status", name, "--timeout=900s")
    selector = "--selector=app.kubernetes.io/part-of=silhouette"
    _kubectl("--namespace=silhouette", "wait", "job", selector, "--for=condition=complete", "--timeout=900s")


STEPS = (
    Step(title="see that Docker, kind and git are there", work=need_programs),
    Step(title=f"make the kind cluster {NAME} ({NODE})", work=make_cluster),
    Step(title=f"install Kubeflow Pipelines {KFP}", work=install_kubeflow),
    Step(title="build the images and load them into the cluster (long the first time)", work=load_images),
    Step(title="make the Secrets", work=make_secrets),
    Step(title="apply manifests/overlays/kind and manifests/engine", work=apply),
    Step(title="wait until everything runs", work=wait),
)


def up() -> None:
    """Do every step, and say each.

    Raises:
        SilhouetteError: A step cannot be done; the steps before stay done.
    """
    for number, step in enumerate(STEPS, start=1):
        print(f"[{number}/{len(STEPS)}] {step.title}", flush=True)
        step.work()
    print(
        "the cluster is up. Next:\n"
        "  make doctor                  # look it over\n"
        f"  kubectl --context {CONTEXT} -n kubeflow port-forward svc/ml-pipeline-ui 8080:80   # then http://localhost:8080\n"
        "  make cluster-down            # remove it and its data"
    )


def down() -> None:
    """Remove the cluster; one that is not there is no error.

    Raises:
        ServiceError: kind is missing or fails.
    """
    if shutil.which("kind") is None:
        raise ServiceError(f"kind must be on the PATH, it is not; {_WAYS_OUT['kind']}")
    if NAME not in _ask("kind", "get", "clusters").split():
        print(f"there is no kind cluster {NAME}")
        return
    _run("kind", "delete", "cluster", f"--name={NAME}")


def _kubectl(*words: str) -> None:
    _run(kubectl(), f"--context={CONTEXT}", *words)


def _run(*words: str) -> None:
    """Run a program whose output is for the user to see."""
    try:
        code = subprocess.run(words, check=False, timeout=_LONG_S).returncode
    except subprocess.TimeoutExpired:
        code = 124
    if code:
        raise ServiceError(
            f"this must succeed, it ended with {code}: {json.dumps(' '.join(words))}; its reason stands above,"
            " put it right and run `make cluster` again: what is done stays done"
        )


def _ask(*words: str) -> str:
    """Run a program and return what it prints."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"{words[0]} must answer within {_ANSWER_S} s, it did not; restart Docker") from error
    if done.returncode:
        detail = " ".join(done.stderr.split())[-300:]
        raise ServiceError(f"{' '.join(words[:3])} must succeed, it says: {detail}; is Docker running?")
    return done.stdout.strip()


def main() -> None:
    """Make the cluster, or remove it."""
    parser = argparse.ArgumentParser(description="A whole cluster on a machine with Docker.")
    parser.add_argument("what", choices=("up", "down"))
    configure_logging()
    try:
        {"up": up, "down": down}[parser.parse_args().what]()
    except SilhouetteError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
