"""`make cluster` as far as it goes without Docker: what is missing is named, steps come in order, and stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifests import laptop
from silhouette.errors import ServiceError
from tests.conftest import CHECKOUT


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH; its programs write what they are told to a file `calls` beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str = "") -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder.parent}/calls\n{script}\n')
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    path = folder.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def with_docker(folder: Path, memory_gib: float = 16) -> None:
    program(folder, "docker", f"echo {int(memory_gib * 2**30)}")
    program(folder, "git")


@pytest.mark.parametrize("missing", ["docker", "kind", "git"])
def test_program_that_is_missing_is_named_with_where_it_comes_from(bin_folder: Path, missing: str) -> None:
    for name in {"docker", "kind", "git"} - {missing}:
        program(bin_folder, name)
    with pytest.raises(ServiceError, match=f"{missing} must be on the PATH, it is not; install"):
        laptop.up()
    assert calls(bin_folder) == []


def test_docker_that_does_not_answer_is_told(bin_folder: Path) -> None:
    program(bin_folder, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    program(bin_folder, "kind")
    program(bin_folder, "git")
    with pytest.raises(ServiceError, match="Cannot connect to the Docker daemon; is Docker running"):
        laptop.up()


def test_docker_with_too_little_memory_is_told_before_anything_is_made(bin_folder: Path) -> None:
    with_docker(bin_folder, memory_gib=7.6)
    program(bin_folder, "kind")
    with pytest.raises(ServiceError, match="must have 12 GiB of memory or more, it has 8"):
        laptop.up()
    assert calls(bin_folder) == ["docker info --format={{.MemTotal}}"]


def test_first_step_that_fails_ends_it_and_says_what_ran(bin_folder: Path) -> None:
    with_docker(bin_folder)
    program(bin_folder, "kind", 'test "$1" = get')
    with pytest.raises(ServiceError, match='must succeed, it ended with 1: "kind create cluster --name=silhouette'):
        laptop.up()
    assert calls(bin_folder)[-1].startswith("kind create cluster --name=silhouette --image=kindest/node:v1.36")


def test_cluster_that_is_there_is_kept(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(bin_folder, "kind", "echo silhouette")
    laptop.make_cluster()
    assert calls(bin_folder) == ["kind get clusters"]
    assert "it is there" in capsys.readouterr().out


def test_every_call_of_kubectl_names_our_cluster(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bin_folder, "kubectl")
    monkeypatch.setattr(laptop, "kubectl", lambda: str(bin_folder / "kubectl"))
    laptop.install_kubeflow()
    laptop.apply()
    laptop.wait()
    asked = calls(bin_folder)
    assert len(asked) == 11
    assert all(line.startswith("kubectl --context=kind-silhouette ") for line in asked)
    assert sum("?ref=2.17.0" in line for line in asked) == 2


def test_down_removes_the_cluster_and_no_other(bin_folder: Path) -> None:
    program(bin_folder, "kind", 'test "$1" = get && echo "another silhouette"; exit 0')
    laptop.down()
    assert calls(bin_folder) == ["kind get clusters", "kind delete cluster --name=silhouette"]


def test_down_without_a_cluster_is_no_error(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(bin_folder, "kind", "echo another")
    laptop.down()
    assert calls(bin_folder) == ["kind get clusters"]
    assert "there is no kind cluster silhouette" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["up", "down"])
def test_command_says_it_in_one_line_and_exits_with_1(what: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifests.laptop", what],
        cwd=CHECKOUT, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
