"""All embedded services together: up, down, status, and what the steps are told of them.

A service whose variable the user has set to another address (for example SILHOUETTE_TRITON_URL) is the user's own:
it is neither started nor stopped here, and its variables are passed through as they are.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.embedded import ports, processes
from pipelines.embedded.addresses import is_own, variables_of
from pipelines.embedded.installation import Installation, load, load_or_create, locked
from pipelines.embedded.object_store import ObjectStore
from pipelines.embedded.picture_daemon import PictureDaemon
from pipelines.embedded.postgres import Postgres
from pipelines.embedded.service import Service, ensure, mark, stop
from pipelines.embedded.triton import Triton
from silhouette.errors import ServiceError, SettingError

_SERVICES: dict[str, Service] = {
    service.name: service for service in (Postgres(), ObjectStore(), Triton(), PictureDaemon())
}
ALL: tuple[str, ...] = tuple(_SERVICES)


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service: `state` is ``running``, ``stopped``, ``failing`` or ``external`` (the user's own)."""

    name: str
    state: str
    address: str
    pid: int | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What `up` brought up, and the variables by which the steps find it (they hold secrets)."""

    statuses: tuple[ServiceStatus, ...]
    environment: dict[str, str] = field(repr=False)


def up(state_dir: Path, *, services: Sequence[str] = ALL, say: Callable[[str], object] = str) -> Services:
    """Bring services up, and those they need: what runs and serves is reused, what is dead is started again.

    Args:
        state_dir: The state folder; made if it is not there.
        services: Names out of `ALL`.
        say: Gets a line for each service that was started; the default drops it.

    Raises:
        ServiceError: One did not come up (the others stay up); a port is taken; another process held the lock.
        SettingError: An unknown name, a damaged state file, or a half-set server of the user's own.
    """
    wanted = _with_needs(services)
    with locked(state_dir):
        _end_abandoned(state_dir)
        installation = load_or_create(state_dir)
        _claim(installation)
        own = [name for name in wanted if is_own(_SERVICES[name], installation)]
        started = [name for name in wanted if name not in own]
        for name in own:
            variables_of(_SERVICES[name], installation)  # refuses a half-set one before anything starts
        _allot_ports(installation, started)
        _ensure_all(installation, started, say)
        return Services(
            statuses=tuple(_status(name, installation) for name in wanted),
            environment=_environment(installation),
        )


def down(state_dir: Path, *, services: Sequence[str] = ALL) -> list[str]:
    """Stop services and everything they left; data, ports and secrets stay. Return the names of those that ran.

    Raises:
        ServiceError: A process survived SIGKILL, or another process held the lock.
        SettingError: An unknown name, or a damaged state file.
    """
    _require_known(services)
    if load(state_dir) is None:
        _end_abandoned(state_dir)
        return []
    with locked(state_dir):
        installation = load(state_dir)
        if installation is None:
            return []
        with ThreadPoolExecutor(max_workers=len(ALL)) as pool:
            ran = pool.map(lambda name: stop(_SERVICES[name], installation), services)
            return [name for name, did_run in zip(services, ran, strict=True) if did_run]


def status(state_dir: Path, *, services: Sequence[str] = ALL) -> list[ServiceStatus]:
    """Say of each service whether it runs and serves; changes nothing, waits for nobody.

    Raises:
        SettingError: An unknown name, or a damaged state file.
    """
    _require_known(services)
    installation = load(state_dir)
    if installation is None:
        return [ServiceStatus(name=name, state="stopped", address="") for name in services]
    return [_status(name, installation) for name in services]


def environment(state_dir: Path) -> dict[str, str]:
    """Return the SILHOUETTE_* variables of every service that was ever up, and of the user's own; they hold secrets.

    Raises:
        SettingError: Nothing was ever up here, or the state file is damaged.
    """
    installation = load(state_dir)
    if installation is None:
        raise SettingError(f"the embedded services of {state_dir} must have been started once; run `make up`")
    return _environment(installation)


def _environment(installation: Installation) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ALL:
        if is_own(_SERVICES[name], installation) or installation.record(name).ports:
            found |= variables_of(_SERVICES[name], installation)
    return found


def _ensure_all(installation: Installation, names: Sequence[str], say: Callable[[str], object]) -> None:
    """Start side by side what does not need another; raise the first failure after all have ended."""
    running: dict[str, Future[None]] = {}

    def bring(name: str) -> None:
        for needed in _SERVICES[name].needs:
            if needed in running:
                running[needed].result()
        if ensure(_SERVICES[name], installation) == "started":
            say(f"started {name} on {_SERVICES[name].address(installation)}")

    with ThreadPoolExecutor(max_workers=len(ALL)) as pool:
        for name in names:  # in the order of ALL a service comes after those it needs
            running[name] = pool.submit(bring, name)
    for future in running.values():
        future.result()


def _status(name: str, installation: Installation) -> ServiceStatus:
    service = _SERVICES[name]
    if is_own(_SERVICES[name], installation):
        leader = service.variable_names[0]
        address = "" if name == "postgres" else os.environ[leader]  # a connection string holds the password
        return ServiceStatus(name=name, state="external", address=address, detail=f"set by {leader}")
    if not installation.record(name).ports:
        return ServiceStatus(name=name, state="stopped", address="")
    address = service.address(installation)
    process = processes.find(installation.record(name).process)
    if process is None:
        died = installation.record(name).process
        strays = [str(stray.pid) for stray in service.leftovers(installation)]
        detail = f"its process {died.pid} is gone; `make up` starts it again" if died else ""
        if strays:
            detail = f"process {', '.join(strays)} runs unrecorded; `make up` and `make down` end it"
        return ServiceStatus(name=name, state="failing" if detail else "stopped", address=address, detail=detail)
    try:
        problem, detail = service.problem(installation), ""
        if problem is None:
            detail = service.detail(installation)
    except ServiceError as error:  # it went away between two questions
        problem = str(error)
    state = "running" if problem is None else "failing"
    return ServiceStatus(name=name, state=state, address=address, pid=process.pid, detail=problem or detail)


def _allot_ports(installation: Installation, names: Sequence[str]) -> None:
    """Give ports to services that have none yet, all different, and write them down."""
    new = [name for name in names if not installation.record(name).ports]
    for name in new:
        taken = {port for other in installation.state.services.values() for port in other.ports.values()}
        wanted = _SERVICES[name].port_names
        installation.record(name).ports = dict(zip(wanted, ports.choose(len(wanted), taken=taken), strict=True))
    if new:
        installation.save()


def _claim(installation: Installation) -> None:
    """Make a copied or moved state folder an installation of its own.

    Raises:
        ServiceError: The services of the place it came from still run.
    """
    here = str(installation.state_dir)
    if installation.state.folder == here:
        return
    if processes.marked(mark(installation, "")):
        raise ServiceError(
            f"{here} must not share its processes with {installation.state.folder}, from which it was "
            "moved or copied and whose services run; run `make down` there, or here if that place is gone"
        )
    installation.state.installation, installation.state.folder = secrets.token_hex(8), here
    for record in installation.state.services.values():
        record.process = None
    installation.save()


def _end_abandoned(state_dir: Path) -> None:
    """End daemons of a state folder that was deleted under them: they hold ports and serve nothing any more."""
    processes.end(processes.abandoned(state_dir.resolve()))


def _with_needs(names: Sequence[str]) -> list[str]:
    _require_known(names)
    needed = {need for name in names for need in _SERVICES[name].needs}
    return [name for name in ALL if name in names or name in needed]


def _require_known(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SettingError(f"a service must be one of {', '.join(ALL)}, got {unknown[0]!r}")
