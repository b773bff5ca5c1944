"""Where workers that search for a recipe together meet: a schema of its own, whose tables are optuna's.

optuna makes its tables and keeps their versions itself, so no migration of ours touches them. The steps' login has
rights on this schema and makes no other (`logins`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from silhouette.database.connection import CONNECT_TIMEOUT_S, address, guarded, guarded_statement, service_errors
from silhouette.settings import postgres_dsn

SCHEMA = "search"
ROLE = "silhouette_search"  # NOLOGIN, for the whole server
URL = "postgresql+psycopg://"  # where it is and who asks, `opener` knows
_LOCK_ID = 7_232_614_112_083  # any constant; whoever may make tables holds this advisory lock


@contextmanager
def prepared(connection: psycopg.Connection) -> Iterator[None]:
    """See that the schema is there, and keep others from making tables in it during the block.

    Raises:
        ServiceError: PostgreSQL went away, or the schema is missing and the login may not make it.
    """
    with guarded_statement(connection):
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_ID,))
    try:
        with guarded(connection):
            _make_schema(connection)
        yield
    finally:
        with guarded_statement(connection):
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_ID,))


def keep_rights(connection: psycopg.Connection) -> None:
    """Make schema and role, and let the role make tables there; the connection is the owner's.

    Raises:
        ServiceError: PostgreSQL went away, or the owner may not make roles.
    """
    role, schema = sql.Identifier(ROLE), sql.Identifier(SCHEMA)
    with guarded(connection):
        _make_schema(connection)
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(schema, role))


def take(connection: psycopg.Connection, study: str, number: int) -> bool:
    """Hold a trial as long as the connection lives; return whether nobody else does.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), %s)", (study, number)).fetchone()
    return row is not None and bool(row[0])


def let_go(connection: psycopg.Connection, study: str, number: int) -> None:
    """Hold a trial no more.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        connection.execute("SELECT pg_advisory_unlock(hashtext(%s), %s)", (study, number))


def opener(dsn: str | None = None) -> Callable[[], psycopg.Connection]:
    """Return what opens connections that see this schema alone, for SQLAlchemy's ``creator``; no secret is in a URL.

    Args:
        dsn: As in `connect`.

    Raises:
        SettingError: No `dsn` is given and the environment names none.
    """
    known = postgres_dsn() if dsn is None else dsn

    def connect() -> psycopg.Connection:
        with service_errors(address(known)):
            return psycopg.connect(
                known, connect_timeout=CONNECT_TIMEOUT_S, options=f"-c search_path={SCHEMA}",
                application_name="silhouette search",
            )  # fmt: skip

    return connect


def _make_schema(connection: psycopg.Connection) -> None:
    # IF NOT EXISTS asks for the right to make one even where it is there
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
