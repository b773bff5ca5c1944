"""A few connections to PostgreSQL that many requests share; a broken one is replaced, and its work done again once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from silhouette.database import connect
from silhouette.database.connection import guarded_statement
from silhouette.errors import ServiceError

if TYPE_CHECKING:
    import psycopg

A = TypeVar("A")
_AT_ONCE = 4
_STATEMENT = "SET statement_timeout = '30s'; SET lock_timeout = '10s'"  # a page that waits longer is given up by people


class Connections:
    """Connections of one login; safe to share between threads.

    Args:
        dsn: ``postgresql://user:password@host:port/db``; None: from the environment.
        at_once: How many are open at most; further requests wait.
    """

    def __init__(self, dsn: str | None = None, *, at_once: int = _AT_ONCE) -> None:
        self._dsn = dsn
        self._free = threading.BoundedSemaphore(at_once)
        self._guard = threading.Lock()
        self._idle: list[psycopg.Connection] = []

    def run(self, work: Callable[[psycopg.Connection], A]) -> A:
        """Do work on a connection; when one that had been idle is broken, do it once more on a new one.

        Args:
            work: May be done twice: it reads, or a second time changes nothing.

        Raises:
            ServiceError: PostgreSQL cannot be reached.
        """
        with self._free:
            kept = self._take()
            if kept is not None:
                try:
                    return self._use(kept, work)
                except ServiceError:
                    if not kept.closed:  # it answered, and refused
                        raise
            opened = connect(self._dsn)
            with guarded_statement(opened):
                opened.execute(_STATEMENT)
            return self._use(opened, work)

    def close(self) -> None:
        """Close what is idle."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> psycopg.Connection | None:
        with self._guard:
            return self._idle.pop() if self._idle else None

    def _use(self, connection: psycopg.Connection, work: Callable[[psycopg.Connection], A]) -> A:
        try:
            return work(connection)
        finally:
            if not connection.closed:
                with self._guard:
                    self._idle.append(connection)
