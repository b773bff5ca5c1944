"""Loopback ports: chosen free once, checked before every start.

Chosen below the range that the kernel hands out to outgoing connections, so that none of those sits on a
port of ours while the services are down.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

import psutil

from silhouette.errors import ServiceError

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 32_000


def choose(count: int, *, taken: Collection[int] = ()) -> list[int]:
    """Return `count` different ports that nobody listens on now, none of `taken`.

    Raises:
        ServiceError: There are not enough free ports.
    """
    candidates = [port for port in range(FIRST, LAST) if port not in taken]
    random.SystemRandom().shuffle(candidates)
    chosen: list[int] = []
    for port in candidates:
        if len(chosen) == count:
            break
        if is_free(port):
            chosen.append(port)
    if len(chosen) < count:
        raise ServiceError(
            f"the embedded services need {count} free ports between {FIRST} and {LAST}, found {len(chosen)}; "
            "stop programs that listen there"
        )
    return chosen


def is_free(port: int) -> bool:
    """Tell whether one could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing do not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(service: str, ports: Collection[int]) -> None:
    """Refuse to start `service` while a process that is not ours has one of its ports.

    Raises:
        ServiceError: Names the port, its holder where the system tells it, and the way out.
    """
    for port in ports:
        if not is_free(port):
            raise ServiceError(
                f"port {port} of the embedded {service} must be free, {_holder(port)} has it; "
                "stop that program, then run `make up` again (the services keep their ports)"
            )


def _holder(port: int) -> str:
    """Describe who listens on `port`."""
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if local and local.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:  # not every system tells an ordinary user
        pass
    return "another program"
