"""Bring the schema up to date: alembic runs the SQL of `versions/`, one process at a time.

`env.py` is what alembic itself loads; there is no alembic.ini, because the address comes from the environment.
Make a new migration by adding `versions/NNNN_what.py` by hand and moving `HEAD`.
"""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg

from silhouette.errors import ServiceError

HEAD = "0002"
LOCK_ID = 7_232_614_112_051  # any constant; the process that migrates holds this advisory lock
_ONE_THREAD = threading.Lock()  # alembic's context is global to the process


def is_current(connection: psycopg.Connection) -> bool:
    """Tell by one small query whether the schema is the one this code was written for."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return False
    return row is not None and row[0] == HEAD


def migrate(dsn: str) -> None:
    """Run the missing migrations in one transaction; a second process waits, then finds nothing to do.

    Raises:
        ServiceError: The database was made by a newer Silhouette.
        psycopg.OperationalError: PostgreSQL went away.
    """
    import sqlalchemy
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    def connect() -> psycopg.Connection:
        return psycopg.connect(dsn, connect_timeout=10, application_name="silhouette migrations")

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool)
    try:
        with _ONE_THREAD, engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise ServiceError(
            f"the database must be of this Silhouette (schema {HEAD}) or an older one: {error};"
            " install the version that wrote it, or name another database in SILHOUETTE_POSTGRES_DSN"
        ) from error
    except sqlalchemy.exc.OperationalError as error:
        raise psycopg.OperationalError(str(error.orig)) from error
    finally:
        engine.dispose()
