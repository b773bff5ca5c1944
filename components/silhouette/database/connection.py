"""Connect to PostgreSQL, and say in one line what to do when that fails.

Reads SILHOUETTE_POSTGRES_DSN (through `silhouette.settings`); brings the schema up to date when it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from psycopg.conninfo import conninfo_to_dict

from silhouette.database import migrations
from silhouette.errors import ServiceError
from silhouette.settings import postgres_dsn

CONNECT_TIMEOUT_S = 10
_WAY_OUT = "start it with `make up`, or correct SILHOUETTE_POSTGRES_DSN; finished work is kept, run the step again"


def address(dsn: str) -> str:
    """Return ``host:port/database`` of a connection string, without its secrets."""
    parts = conninfo_to_dict(dsn)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


@contextmanager
def service_errors(where: str) -> Iterator[None]:
    """Turn what psycopg raises when the server is gone, its disk full or a right missing into a `ServiceError`.

    Args:
        where: The server's address, for the message.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        detail = " ".join(str(error).split())
        raise ServiceError(f"PostgreSQL at {where} must answer, got: {detail}; {_WAY_OUT}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        detail = " ".join(str(error).split())
        raise ServiceError(
            f"the login at PostgreSQL at {where} must have the rights of this step, got: {detail};"
            " GRANT it the role of the step (silhouette_ingest, _segment, _review or _read),"
            " or use the owner's login to bring the schema up to date"
        ) from error


@contextmanager
def guarded(connection: psycopg.Connection) -> Iterator[None]:
    """Do the block's statements in one transaction: all of it stays, or nothing does.

    Raises:
        ServiceError: PostgreSQL went away or cannot write.
    """
    with service_errors(_server(connection)), connection.transaction():
        yield


@contextmanager
def guarded_statement(connection: psycopg.Connection) -> Iterator[None]:
    """Do the block's one statement without a transaction around it, so that threads may share the connection.

    Raises:
        ServiceError: PostgreSQL went away or cannot write.
    """
    with service_errors(_server(connection)):
        yield


def prepare_to_hash(connection: psycopg.Connection) -> None:
    """Let the planner hash a million SHA-256 in memory, in one go; compiling the plan would cost more than it saves."""
    connection.execute("SET TRANSACTION READ ONLY")
    connection.execute("SET LOCAL work_mem = '256MB'")
    connection.execute("SET LOCAL jit = off")


def _server(connection: psycopg.Connection) -> str:
    return f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}" if not connection.closed else "?"


def connect(dsn: str | None = None) -> psycopg.Connection:
    """Open a connection to a database whose schema is current; it is in autocommit mode.

    Args:
        dsn: ``postgresql://user:password@host:port/db``; None: from the environment.

    Raises:
        SettingError: No `dsn` is given and the environment names none.
        ServiceError: PostgreSQL does not answer within 10 seconds, refuses us, or is of a newer Silhouette.
    """
    dsn = postgres_dsn() if dsn is None else dsn
    try:
        where = address(dsn)
    except psycopg.ProgrammingError as error:
        raise ServiceError(
            "SILHOUETTE_POSTGRES_DSN must be postgresql://user:password@host:port/db,"
            f" it is not: {' '.join(str(error).split())}"
        ) from None
    with service_errors(where):
        connection = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="silhouette"
        )
        try:
            if not migrations.is_current(connection):
                migrations.migrate(dsn)
        except BaseException:
            connection.close()
            raise
    return connection


def now(connection: psycopg.Connection) -> datetime:
    """Return the time by the server's clock, by which all rows are stamped.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None, "the statement has one row"
    moment: datetime = row[0]
    return moment


def try_lock(connection: psycopg.Connection, number: int) -> bool:
    """Take an advisory lock that lives as long as the connection; return whether nobody else has it.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone()
    return row is not None and bool(row[0])


def unlock(connection: psycopg.Connection, number: int) -> None:
    """Give an advisory lock back.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        connection.execute("SELECT pg_advisory_unlock(%s)", (number,))


def installation_id(connection: psycopg.Connection) -> str:
    """Return the random id that the database got at its creation; a wiped database has another.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        row = connection.execute("SELECT id::text FROM installation").fetchone()
    assert row is not None, "the migration made this row and nothing removes it"
    return str(row[0])
