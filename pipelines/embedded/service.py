"""What every embedded service is, and how any of them is brought up and down.

A service says how it is started, what proves that it serves, and what it tells the steps; `ensure` and
`stop` do the rest the same way for all: reuse, end what is left over, check ports and disk, start, wait.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import ClassVar

import psutil

from pipelines.embedded import ports, processes
from pipelines.embedded.installation import Installation
from pipelines.embedded.processes import Launch
from silhouette.errors import ServiceError

NEEDED_FREE_BYTES = 512 * 1024**2
REUSE_WAIT_S = 10.0


class Service(ABC):
    """One embedded service; it keeps nothing itself, everything is in the installation."""

    name: ClassVar[str]
    port_names: ClassVar[Sequence[str]]
    variable_names: ClassVar[Sequence[str]]  # who sets the first brings a server of his own
    variable_defaults: ClassVar[Mapping[str, str]] = {}  # for those that the user may then leave out
    needs: ClassVar[Sequence[str]] = ()
    stop_signal: ClassVar[Signals] = Signals.SIGTERM
    grace_s: ClassVar[float] = 5.0
    start_timeout_s: ClassVar[float] = 60.0

    @abstractmethod
    def launch(self, installation: Installation) -> Launch:
        """Say how it is started; the same answer means a running one may be reused."""

    @abstractmethod
    def problem(self, installation: Installation) -> str | None:
        """Prove by use that it serves (making a database or bucket that is missing); None, or what is wrong."""

    @abstractmethod
    def variables(self, installation: Installation) -> dict[str, str]:
        """Return the SILHOUETTE_* variables by which the steps find it."""

    def prepare(self, installation: Installation) -> None:  # noqa: B027  most need none
        """Make ready for a start, while no process of it lives."""

    def tidy(self, installation: Installation) -> None:  # noqa: B027  most need none
        """Remove what a killed one left outside of the state folder, once no process of it lives."""

    def heal(self, installation: Installation) -> None:  # noqa: B027  most need none
        """Repair, in a running one, what it does not repair itself."""

    def detail(self, installation: Installation) -> str:  # noqa: ARG002  for those that have something to say
        """Say in a few words what else is worth knowing of a running one."""
        return ""

    def sources(self) -> Sequence[Path]:
        """Return files of ours whose content, when changed, asks for a restart."""
        return ()

    def leftovers(self, installation: Installation) -> list[psutil.Process]:
        """Return its living processes, whoever started them and whatever the state file says."""
        return processes.marked(mark(installation, self.name))

    def port(self, installation: Installation, name: str) -> int:
        """Return one of its fixed ports."""
        return installation.record(self.name).ports[name]

    def address(self, installation: Installation) -> str:
        """Return ``host:port`` of its main port."""
        return f"{ports.LOOPBACK}:{self.port(installation, self.port_names[0])}"


def mark(installation: Installation, service: str) -> str:
    """Return the mark that processes of `service` carry in their environment."""
    return f"{installation.state.installation}/{service}"


def fingerprint(service: Service, launch: Launch) -> str:
    """Return the digest of what a start would run: the command and our own files in it."""
    digest = hashlib.sha256("\0".join(launch.command).encode())
    for path in service.sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def ensure(service: Service, installation: Installation) -> str:
    """Bring a service up: reuse it, or end what is left of it and start it.

    Returns:
        ``reused`` or ``started``.

    Raises:
        ServiceError: A port is taken, the disk is full, or it did not come up; says which, and the way out.
    """
    launch = service.launch(installation)
    print_of_launch = fingerprint(service, launch)
    record = installation.record(service.name)
    if record.fingerprint == print_of_launch and _serves(service, installation, REUSE_WAIT_S):
        service.heal(installation)
        return "reused"
    stop(service, installation)
    ports.require_free(service.name, tuple(record.ports.values()))
    _require_disk(installation)
    service.prepare(installation)
    log_path = installation.log_path(service.name)
    seen = log_path.stat().st_size if log_path.exists() else 0
    processes.spawn(
        launch,
        mark=mark(installation, service.name),
        state_dir=installation.state_dir,
        log_path=log_path,
        record=lambda process: installation.set_process(service.name, process, print_of_launch),
    )
    if not _serves(service, installation, service.start_timeout_s):
        why = service.problem(installation) or "it answered too late"
        ended = processes.find(record.process) is None
        stop(service, installation)
        happened = (
            "stopped while starting" if ended else f"did not serve within {service.start_timeout_s:.0f} s ({why})"
        )
        raise ServiceError(
            f"the embedded {service.name} {happened}; its log says: {_last_words(log_path, seen)}; "
            f"whole log: {log_path}; when that is settled, run `make up` again"
        )
    return "started"


def run_once(service: Service, installation: Installation, launch: Launch) -> None:
    """Run a preparing program of a service to its end, recorded like the service itself.

    Raises:
        ServiceError: It ended with another exit code than 0.
    """
    log_path = installation.log_path(service.name)
    seen = log_path.stat().st_size if log_path.exists() else 0
    process = processes.spawn(
        launch,
        mark=mark(installation, service.name),
        state_dir=installation.state_dir,
        log_path=log_path,
        record=lambda process: installation.set_process(service.name, process),
    )
    while (code := processes.exit_code(process)) is None:
        time.sleep(0.02)
    installation.set_process(service.name, None)
    if code != 0:
        raise ServiceError(
            f"{Path(launch.command[0]).name} of the embedded {service.name} must succeed, exit code {code}: "
            f"{_last_words(log_path, seen)}; whole log: {log_path}"
        )


def stop(service: Service, installation: Installation) -> bool:
    """End a service and all it left behind, recorded or not; tell whether there was anything.

    Raises:
        ServiceError: A process survived SIGKILL.
    """
    if not installation.record(service.name).ports:
        return False  # it never ran
    found = processes.find(installation.record(service.name).process)
    if found is not None:
        processes.end([found], first=service.stop_signal, grace_s=service.grace_s)
    rest = service.leftovers(installation)
    processes.end(rest, first=service.stop_signal, grace_s=service.grace_s)
    service.tidy(installation)
    if installation.record(service.name).process is not None:
        with suppress(ServiceError):  # a full disk: the record of an ended process misleads nobody
            installation.set_process(service.name, None)
    return found is not None or bool(rest)


def _serves(service: Service, installation: Installation, timeout_s: float) -> bool:
    """Wait until the recorded process serves; False when it is gone or time is up."""
    deadline = time.monotonic() + timeout_s
    record = installation.record(service.name)
    while processes.find(record.process) is not None:
        if service.problem(installation) is None:
            return processes.find(record.process) is not None
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return False


def _require_disk(installation: Installation) -> None:
    free = shutil.disk_usage(installation.state_dir).free
    if free < NEEDED_FREE_BYTES:
        raise ServiceError(
            f"starting a service needs {NEEDED_FREE_BYTES // 1024**2} MB free on the "
            f"disk of {installation.state_dir}, got {free // 1024**2} MB; free some, or set SILHOUETTE_STATE_DIR "
            "to another disk"
        )


def _last_words(log_path: Path, start: int) -> str:
    """Return the most telling line that a log got from byte `start` on."""
    with log_path.open("rb") as log:
        log.seek(start)
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    for words in (("fatal", "panic", "no space", "cannot", "can't"), ("error",), ("",)):
        telling = [line for line in lines if any(word in line.lower() for word in words)]
        if telling:
            return f'"{telling[-1][:300]}"'
    return "nothing"
