"""A cluster of stand-ins, and a program that submits to it as `make submit` does."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import submit
from pipelines.cluster import checkout
from pipelines.compile import COMPILED, PIPELINES, stale_pipelines
from pipelines.load import images, read_documents
from tests.pipelines.cluster.kube_server import KubeServer
from tests.pipelines.cluster.registry_server import RegistryServer


@dataclass(frozen=True)
class Cluster:
    """Kubernetes with KFP inside, and a registry that has the images."""

    kube: KubeServer
    registry: RegistryServer


@dataclass(frozen=True)
class Done:
    """What a program said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        found = re.search(r"^id    (\S+)$", self.out, re.MULTILINE)
        assert found, self.out + self.err
        return found[1]


Program = Callable[..., Done]


@functools.cache
def _compiled_once() -> tuple[str, ...]:
    return tuple(stale_pipelines())


def _fresh(names: list[str]) -> list[str]:
    """Compile once for all tests, not for each."""
    return [name for name in _compiled_once() if Path(name).stem in names]


@pytest.fixture
def clean_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed repository in place of the developer's, which may have changes."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("# a file\n")
    git = ["git", "-C", str(folder), "-c", "user.name=a test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    monkeypatch.setattr(checkout, "committed", functools.partial(checkout.committed, folder))
    return folder


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    """Access by a kubeconfig alone; a test that wants another way changes the environment."""
    with KubeServer() as kube, RegistryServer() as registry:
        prefix = f"127.0.0.1:{registry.port}/team"
        for name in PIPELINES:
            registry.images |= {f"team/{image}" for image in images(read_documents(COMPILED / f"{name}.yaml"))}
        config = tmp_path / "kubeconfig"
        config.write_text(kube.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.setenv("SILHOUETTE_REGISTRY", prefix)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
        for name in ("KUBERNETES_SERVICE_HOST", "KF_PIPELINES_SA_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        yield Cluster(kube, registry)


@pytest.fixture
def program(
    cluster: Cluster,
    clean_checkout: Path,
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Program:
    """Submit in this process, to the stand-ins and the real store."""

    monkeypatch.setattr(submit.compiler, "stale_pipelines", _fresh)

    def run(*arguments: str, main: Callable[[list[str]], int] = submit.main) -> Done:
        capsys.readouterr()
        if main is submit.main:
            arguments = (*arguments, "--poll-s", "0.01")
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run
