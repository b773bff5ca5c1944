"""Daemons: started so that they outlive us and never unrecorded, found again, ended with all their children.

A daemon waits behind a gate (a shell that reads one line) until its id is on the disk; if the parent is
killed before that, the gate sees the end of the pipe and exits. Every daemon carries ``SILHOUETTE_EMBEDDED=
<installation>/<service>`` in its environment, and its children inherit it: that is how what a killed daemon
left behind is found. A process is ours only if id and creation time match, or if it carries the mark.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

import psutil

from pipelines.embedded.installation import RecordedProcess
from silhouette.errors import ServiceError

MARK = "SILHOUETTE_EMBEDDED"
MARK_FOLDER = "SILHOUETTE_EMBEDDED_STATE_DIR"
CREATED_TOLERANCE_S = 2.0  # creation times move with corrections of the clock
LOG_LIMIT_BYTES = 20_000_000


class _Daemon(subprocess.Popen[bytes]):
    """A child that is meant to outlive us: Python's warning about that is not wanted."""

    def __del__(self) -> None:
        """Let it go."""


_GATE = 'read -r go && [ "$go" = go ] || exit 125; exec "$@" </dev/null'
_children: dict[int, _Daemon] = {}  # ours to reap when they end while we still run


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How one program is started: its words, its whole environment, its folder, and as whom (None: as we are)."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    user_id: int | None = None


def spawn(
    launch: Launch, *, mark: str, state_dir: Path, log_path: Path, record: Callable[[RecordedProcess], None]
) -> RecordedProcess:
    """Start a program in a session of its own, after `record` has put its id on the disk.

    Args:
        launch: What to start.
        mark: Value of the mark, ``<installation>/<service>``.
        state_dir: The installation's folder, written beside the mark.
        log_path: File that gets standard output and error, appended.
        record: Called with the process before the program itself runs.

    Raises:
        ServiceError: The program, its folder or its log cannot be used.
    """
    if log_path.exists() and log_path.stat().st_size > LOG_LIMIT_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
    as_user = {} if launch.user_id is None else {"user": launch.user_id, "group": launch.user_id, "extra_groups": []}
    try:
        with log_path.open("ab") as log:
            gate = _Daemon(
                ["/bin/sh", "-c", _GATE, "silhouette-gate", *launch.command],
                cwd=launch.folder,
                env={**launch.environment, MARK: mark, MARK_FOLDER: str(state_dir)},
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                **as_user,  # type: ignore[call-overload]
            )
    except OSError as error:
        raise ServiceError(f"{launch.command[0]} must start: {error}; see {log_path}") from error
    assert gate.stdin is not None
    _children[gate.pid] = gate
    process = RecordedProcess(pid=gate.pid, created=psutil.Process(gate.pid).create_time())
    with suppress(BrokenPipeError), gate.stdin:  # closed without "go" if it cannot be recorded: then it ends by itself
        record(process)
        gate.stdin.write(b"go\n")
    return process


def exit_code(process: RecordedProcess) -> int | None:
    """Return the exit code of a child of this very process that has ended, else None."""
    child = _children.get(process.pid)
    return None if child is None else child.poll()


def find(process: RecordedProcess | None) -> psutil.Process | None:
    """Return the living process that a record names, or None."""
    if process is None:
        return None
    exit_code(process)  # reaps it, if it was our own child
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created) < CREATED_TOLERANCE_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def marked(mark: str) -> list[psutil.Process]:
    """Return every living process that carries `mark`, or a mark that starts with it when it ends with a slash."""
    found = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
        except (psutil.Error, OSError):  # another user's process, or one that ended just now
            continue
        if value == mark or (mark.endswith("/") and value.startswith(mark)):
            found.append(process)
    return found


def abandoned(state_dir: Path) -> list[psutil.Process]:
    """Return daemons of `state_dir` whose own folder was deleted while they ran (known on Linux only)."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get(MARK_FOLDER) == str(state_dir)
            if ours and Path(f"/proc/{process.pid}/cwd").stat().st_nlink == 0:
                found.append(process)
    return found


def end(leaders: Iterable[psutil.Process], *, first: Signals = Signals.SIGTERM, grace_s: float = 5.0) -> None:
    """End processes and all their children: `first` to the leaders, SIGKILL to what is left after `grace_s` seconds.

    Raises:
        ServiceError: A process survived SIGKILL for ten seconds.
    """
    leaders = list(leaders)
    everyone = set(leaders)
    for leader in leaders:
        everyone.update(_descendants(leader))
        _signal(leader, first)
    _, left = _wait(leaders, grace_s)
    for leader in left:
        everyone.update(_descendants(leader))
    for process in everyone:
        if process.is_running():
            _signal(process, Signals.SIGKILL)
    _, left = _wait(everyone, 10.0)
    if left:
        raise ServiceError(
            f"process {left[0].pid} must end after SIGKILL and did not within 10 s (a hung disk?); end it by hand, "
            "then try again"
        )


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Wait until processes are gone or zombies; return (gone, alive)."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    gone: list[psutil.Process] = []
    while left:
        for process in list(left):
            if process.pid in _children:
                _children[process.pid].poll()
            try:
                ended = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                ended = True
            if ended:
                left.remove(process)
                gone.append(process)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return gone, left


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
