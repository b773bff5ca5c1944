"""A database is migrated once, and what goes wrong on the way is one clear line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory

import silhouette.database
from silhouette.database import connect, installation_id, migrations
from silhouette.errors import ServiceError, SettingError


@pytest.fixture
def empty_dsn(postgres_dsn: str) -> str:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres_dsn


def test_an_empty_database_is_migrated_and_gets_a_random_id(empty_dsn: str) -> None:
    with connect(empty_dsn) as connection:
        assert migrations.is_current(connection)
        first = installation_id(connection)
    with connect(empty_dsn) as connection:
        assert installation_id(connection) == first
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with connect(empty_dsn) as connection:
        assert installation_id(connection) != first


def test_many_may_connect_to_an_empty_database_at_once(empty_dsn: str) -> None:
    def visit(_: int) -> str:
        with connect(empty_dsn) as connection:
            return installation_id(connection)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(visit, range(6)))) == 1


def test_head_is_the_newest_migration_and_they_are_packaged_with_the_code() -> None:
    folder = Path(silhouette.database.__file__).parent
    assert ScriptDirectory(str(folder)).get_current_head() == migrations.HEAD


def test_a_database_of_a_newer_version_is_refused(empty_dsn: str) -> None:
    with connect(empty_dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ServiceError, match="must be of this Silhouette"):
        connect(empty_dsn)


def test_contours_are_stored_out_of_line_and_uncompressed(empty_dsn: str) -> None:
    with connect(empty_dsn) as connection:
        row = connection.execute("SELECT attstorage FROM pg_attribute WHERE attname = 'contours'").fetchone()
    assert row == (b"e",) or row == ("e",)


def test_there_is_only_one_installation(empty_dsn: str) -> None:
    with connect(empty_dsn) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO installation DEFAULT VALUES")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO installation (only_row) VALUES (false)")


def test_a_dead_server_is_named_without_its_password(unused_port: int) -> None:
    with pytest.raises(ServiceError, match=rf"PostgreSQL at 127.0.0.1:{unused_port}/x must answer.*make up") as caught:
        connect(f"postgresql://me:very-secret@127.0.0.1:{unused_port}/x")
    assert "very-secret" not in str(caught.value)


def test_a_malformed_address_and_a_missing_one_are_refused() -> None:
    with pytest.raises(ServiceError, match="SILHOUETTE_POSTGRES_DSN must be postgresql://"):
        connect("no address at all")
    with pytest.raises(SettingError, match="SILHOUETTE_POSTGRES_DSN must be set"):
        connect()


def test_a_connection_that_the_server_cut_is_a_service_error(empty_dsn: str) -> None:
    victim = connect(empty_dsn)
    with connect(empty_dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
    for _ in range(2):
        with pytest.raises(ServiceError, match=r"PostgreSQL at .* must answer"):
            installation_id(victim)
    victim.close()
