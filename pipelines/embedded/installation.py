"""One installation of the embedded services: its folder, its state file, its lock.

Reads and writes ``<state_dir>/state.json`` (mode 0600: installation id, and for each service its ports, its
generated secrets, and the process that runs it). Written atomically before and after every start, so that no
process of ours ever lives that the file does not name. ``<state_dir>/lock`` is held (flock) by who changes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from silhouette.errors import ServiceError, SettingError

STATE_FILE = "state.json"
LOCK_FILE = "lock"
LOCK_WAIT_S = 300.0
SERVICES_RULE = "only one process at a time may start or stop the services of"


class RecordedProcess(BaseModel):
    """A process of ours: only the pair of id and creation time (seconds since the epoch) names it."""

    model_config = ConfigDict(frozen=True)
    pid: int
    created: float


class ServiceRecord(BaseModel):
    """What is kept of one service: its fixed ports, its secrets, its process and what that was started as."""

    ports: dict[str, int] = {}
    secrets: dict[str, str] = {}
    process: RecordedProcess | None = None
    fingerprint: str = ""


class State(BaseModel):
    """The content of state.json; `folder` tells a copied or moved installation from the original."""

    installation: str
    folder: str
    services: dict[str, ServiceRecord] = {}


@dataclass
class Installation:
    """A state folder that is open for reading, or for changing while its lock is held."""

    state_dir: Path
    state: State
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def record(self, service: str) -> ServiceRecord:
        """Return the record of `service`, an empty one if it never ran."""
        with self._guard:
            return self.state.services.setdefault(service, ServiceRecord())

    def folder(self, service: str) -> Path:
        """Return the data folder of `service` (made, mode 0700)."""
        folder = self.state_dir / service
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def log_path(self, service: str) -> Path:
        """Return the log file of `service` (its folder made)."""
        folder = self.state_dir / "logs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{service}.log"

    def secret(self, service: str, name: str) -> str:
        """Return a secret of `service`, generated at its first use: 32 characters out of 0-9a-f."""
        with self._guard:
            kept = self.record(service).secrets
            if name not in kept:
                kept[name] = secrets.token_hex(16)
                self.save()
            return kept[name]

    def set_process(self, service: str, process: RecordedProcess | None, fingerprint: str = "") -> None:
        """Record the process of `service`, on the disk before this returns."""
        with self._guard:
            record = self.record(service)
            record.process, record.fingerprint = process, fingerprint
            self.save()

    def save(self) -> None:
        """Write the state file atomically.

        Raises:
            ServiceError: The disk is full or the folder cannot be written.
        """
        with self._guard:
            write_private(self.state_dir / STATE_FILE, self.state.model_dump_json(indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` atomically and durably, readable by its owner only.

    Raises:
        ServiceError: The disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ServiceError(
            f"{path} must be writable: {error.strerror}; free space on that disk, "
            "or set SILHOUETTE_STATE_DIR to another folder"
        ) from error


def load(state_dir: Path) -> Installation | None:
    """Read an installation, or None where there is none yet.

    Raises:
        SettingError: The state file is damaged.
    """
    state_dir = state_dir.resolve()
    path = state_dir / STATE_FILE
    try:
        state = State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise SettingError(
            f"{path} must be a state file of the embedded services: {error.errors()[0]['msg']}; restore it "
            f"from a copy, or move {state_dir} away and start anew"
        ) from error
    return Installation(state_dir, state)


def load_or_create(state_dir: Path) -> Installation:
    """Read an installation, or make an empty one on the disk.

    Raises:
        SettingError: The state file is damaged.
        ServiceError: The folder cannot be written.
    """
    found = load(state_dir)
    if found is not None:
        return found
    state_dir = state_dir.resolve()
    installation = Installation(state_dir, State(installation=secrets.token_hex(8), folder=str(state_dir)))
    installation.save()
    return installation


@contextmanager
def locked(
    state_dir: Path, *, file: str = LOCK_FILE, rule: str = SERVICES_RULE, wait_s: float = LOCK_WAIT_S
) -> Iterator[None]:
    """Hold a lock of the installation; the kernel frees it when its holder dies.

    Args:
        state_dir: The state folder; made if it is not there.
        file: The lock's name in it.
        rule: What the lock is for, as the beginning of a message that goes on with `state_dir`.
        wait_s: How long to wait for another holder, seconds.

    Raises:
        ServiceError: Somebody else held it for all of `wait_s` seconds, or the folder cannot be made.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServiceError(
            f"the state folder {state_dir} must be writable: {error.strerror}; set SILHOUETTE_STATE_DIR "
            "to a folder that is"
        ) from error
    try:
        _wait_for(descriptor, f"{rule} {state_dir}", wait_s)
        with suppress(OSError):  # who holds it is only for the message; on a full disk it goes unsaid
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, rule: str, wait_s: float) -> None:
    """Take the flock, saying once who is waited for."""
    deadline, said = time.monotonic() + wait_s, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{rule}: process {holder} has been at it for {wait_s:.0f} s; wait for it or end it, then try again"
                ) from None
            if not said:
                print(f"waiting for process {holder}: {rule}", file=sys.stderr)
                said = True
            time.sleep(0.1)
