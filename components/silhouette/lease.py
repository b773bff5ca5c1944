"""Who holds something in the store for a while, and whether that owner may still be there.

A lease is a small JSON object that its owner writes again every `RENEW_S`; one that a killed process left returns at
once where the process is known to be gone, elsewhere when it was not renewed for `EXPIRES_S`. Reads /proc of this
machine; the objects are written by those who lease (`deploy_model.lock`, `classify_pictures.temporary_model`).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from silhouette.errors import SilhouetteError

RENEW_S, EXPIRES_S = 20.0, 120.0
_LONGEST_BY = 80  # characters of a name in a message
_OURS: set[str] = set()  # tokens of this process; one that could not be released, as the store was gone, is not here


class Lease(BaseModel):
    """An owner, as it says of itself.

    Attributes:
        token: Random; tells this lease from every other.
        by: Who, as people say it.
        host: Name of the machine or pod.
        place: Boot and process namespace, within which `pid` means something; empty where /proc says neither.
        pid: The process.
        started: When it started, in ticks since boot, so that a later process of the same number is another.
        since: When it became the owner, seconds since 1970.
        renewed: When it last said so.
        released: It has ended, and said that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str
    by: str
    host: str
    place: str
    pid: int
    started: str
    since: float
    renewed: float
    released: bool = False

    @classmethod
    def of_this_process(cls, by: str = "") -> Lease:
        """Return a new lease of this process."""
        now, token = time.time(), secrets.token_hex(8)
        _OURS.add(token)
        return cls(
            token=token, by=by, host=socket.gethostname(), place=_place(), pid=os.getpid(),
            started=_started(os.getpid()), since=now, renewed=now,
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes) -> Lease | None:
        """Read what `to_bytes` wrote; None: it is no lease, so nobody renews it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    def to_bytes(self, *, released: bool = False) -> bytes:
        """Write the lease, renewed now."""
        return self.model_copy(update={"renewed": time.time(), "released": released}).model_dump_json().encode()

    def is_alive(self) -> bool:
        """Tell whether the owner may still be there: on this machine by its process, elsewhere by the time."""
        if self.released or time.time() - self.renewed >= EXPIRES_S:
            return False
        if not self.place or self.place != _place():
            return True
        return self.token in _OURS if self.pid == os.getpid() else _started(self.pid) == self.started

    def told(self) -> str:
        """Say who it is, and since when."""
        who = f"{self.by[:_LONGEST_BY]} on " if self.by else ""
        return f"{who}{self.host} (process {self.pid}) since {datetime.fromtimestamp(self.since, UTC):%H:%M:%S} UTC"

    @property
    def returns(self) -> datetime:
        """Return when it is free by itself unless it is renewed, UTC."""
        return datetime.fromtimestamp(self.renewed + EXPIRES_S, UTC)


@contextmanager
def renewing(lease: Lease, write: Callable[[], None]) -> Iterator[None]:
    """Call `write` every `RENEW_S` beside what is done inside; with the block a lease of this process ends."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEW_S):
            with suppress(SilhouetteError):  # one that is late is renewed the next time
                write()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _OURS.discard(lease.token)


def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process of this machine started, in ticks since boot; empty: there is none.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22; the second may hold spaces and brackets.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""
