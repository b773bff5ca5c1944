"""State folders of their own, taken down whatever happens, and a scan for what a test left running."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipelines.embedded import down, up
from pipelines.embedded.installation import load
from pipelines.embedded.processes import MARK


def processes_of(state_dir: Path) -> list[psutil.Process]:
    """Return every living process that carries the mark of this installation or works in its folder."""
    installation = load(state_dir)
    mark = f"{installation.state.installation}/" if installation else "no installation"
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            inside = process.cwd().startswith(f"{state_dir.resolve()}/")
            if (inside or process.environ().get(MARK, "").startswith(mark)) and process.status() != "zombie":
                found.append(process)
    return found


def files_elsewhere_of(state_dir: Path) -> list[Path]:
    """Return sockets, logs and shared memory of this installation outside of its folder."""
    installation = load(state_dir)
    if installation is None:
        return []
    ports = installation.record("object_store").ports.values()  # the others name no file by a port
    mark = installation.state.installation
    places = (Path("/tmp"), Path("/dev/shm"), Path(tempfile.gettempdir()))
    names = [f"*{mark}*", *(f"seaweedfs-*-{port}.sock" for port in ports)]
    return [path for place in places for name in names for path in place.glob(name)]


def forget_servers_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every SILHOUETTE_* variable out of the environment."""
    for name in list(os.environ):
        if name.startswith("SILHOUETTE_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_servers_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_servers_of_the_user(monkeypatch)


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A state folder; what runs in it ends with the test."""
    folder = tmp_path / "state"
    yield folder
    down(folder)
    assert processes_of(folder) == []
    assert files_elsewhere_of(folder) == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder whose PostgreSQL and object store run, for tests that only look."""
    folder = tmp_path_factory.mktemp("running") / "state"
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_servers_of_the_user(monkeypatch)
        up(folder, services=["postgres", "object_store"])
        yield folder
        down(folder)
    assert processes_of(folder) == []
