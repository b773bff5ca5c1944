"""Bring the schema up to date: alembic runs the SQL of `versions/`, one process at a time.

`env.py` is what alembic itself loads; there is no alembic.ini, because the address comes from the environment.
Make a new migration by adding `versions/NNNN_what.py` by hand and moving `HEAD`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import psycopg

from silhouette.errors import ServiceError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
LOCK_ID = 7_232_614_112_051  # any constant; the process that migrates holds this advisory lock
_LOG = logging.getLogger(__name__)
_ONE_THREAD = threading.Lock()  # alembic's context is global to the process


def is_current(connection: psycopg.Connection) -> bool:
    """Tell by one small query whether the schema is the one this code was written for."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return False
    return row is not None and row[0] == HEAD


def migrate(dsn: str, *, to: str = "head") -> None:
    """Run the missing migrations in one transaction; a second process waits, then finds nothing to do.

    Args:
        dsn: Whose login owns the tables, or may make them.
        to: The number of the last one to run.

    Raises:
        ServiceError: The database was made by a newer Silhouette.
        psycopg.OperationalError: PostgreSQL went away.
        psycopg.errors.InsufficientPrivilege: The login may not change the schema.
    """
    with _alembic(dsn) as (command, config):
        command.upgrade(config, to)


def downgrade(dsn: str, *, to: str) -> None:
    """Undo migrations in one transaction, for an older Silhouette; what only the newer schema can keep is lost.

    Args:
        dsn: Whose login owns the tables.
        to: The number of the last one that stays.

    Raises:
        ServiceError: The database was made by a newer Silhouette.
        psycopg.OperationalError: PostgreSQL went away.
        psycopg.errors.InsufficientPrivilege: The login may not change the schema.
    """
    with _alembic(dsn) as (command, config):
        command.downgrade(config, to)


@contextmanager
def _alembic(dsn: str) -> Iterator[tuple[ModuleType, Config]]:
    """Yield alembic's commands with an open connection of this database."""
    import sqlalchemy
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    def connect() -> psycopg.Connection:
        opened = psycopg.connect(dsn, connect_timeout=10, application_name="silhouette migrations")
        opened.add_notice_handler(_tell)
        return opened

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool)
    try:
        with _ONE_THREAD, engine.connect() as connection:
            config.attributes["connection"] = connection
            yield command, config
    except CommandError as error:
        raise ServiceError(
            f"the database must be of this Silhouette (schema {HEAD}) or an older one: {error};"
            " install the version that wrote it, or name another database in SILHOUETTE_POSTGRES_DSN"
        ) from error
    except sqlalchemy.exc.OperationalError as error:
        raise psycopg.OperationalError(str(error.orig)) from error
    except sqlalchemy.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise error.orig from error
    finally:
        engine.dispose()


def _tell(notice: psycopg.errors.Diagnostic) -> None:
    """Tell what a migration warns of: a role that it may not make."""
    if notice.severity_nonlocalized == "WARNING":
        _LOG.warning("%s", notice.message_primary)
