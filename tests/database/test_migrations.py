"""The schema comes up from nothing and from every earlier one with its data, goes down again, and bears company."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pipelines.embedded import down, up
from silhouette.database import connect, installation_id, migrations, reviews, segmentations
from silhouette.errors import ServiceError
from tests.database.conftest import MODEL, login, segment, sha
from tests.database.test_reviews import verdict

CHECKOUT = Path(__file__).resolve().parents[2]
ROLES = {"silhouette_ingest", "silhouette_read", "silhouette_review", "silhouette_segment"}


def fill(dsn: str) -> None:
    """What the first schema can hold."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, status in enumerate(("unchecked", "approved", "rejected")):
            connection.execute(
                "INSERT INTO segmentations (picture_sha256, model_digest, width, height, status, created_at)"
                " VALUES (%s, %s, 64, 48, %s, '2025-03-01 12:00+00')",
                (sha(number), MODEL, status),
            )
        connection.execute(
            "INSERT INTO people SELECT s.id, n, ARRAY[0, 0, 1, 1], 0.5, 'x' FROM segmentations s,"
            " generate_series(0, 1) n WHERE status <> 'rejected'"
        )
        connection.execute("INSERT INTO badlist (picture_id) VALUES ('bad')")


def content(dsn: str) -> list[object]:
    """Everything of the first schema."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [
            connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
            for table, columns in (
                ("segmentations", "id, picture_sha256, model_digest, width, height, status, created_at"),
                ("people", "segmentation_id, person_index, box_xyxy, score, contours"),
                ("badlist", "picture_id, added_at"),
                ("installation", "id"),
            )
        ]


def shape(dsn: str) -> list[object]:
    """Columns, constraints, indexes and triggers."""
    columns = "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    constraints = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    queries = (
        f"{columns} WHERE table_schema = 'public' ORDER BY 1, 2",
        f"{constraints} WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [connection.execute(query).fetchall() for query in queries]


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_an_earlier_database_comes_up_with_its_data_and_goes_down_again(
    new_dsn: Callable[[], str], version: str
) -> None:
    dsn = new_dsn()
    migrations.migrate(dsn, to=version)
    fill(dsn)
    before, shape_before = content(dsn), shape(dsn)
    with connect(dsn) as connection:
        assert migrations.is_current(connection)
        found = reviews.read(connection, model_digest=MODEL, sha256s=[sha(number) for number in range(3)])
        assert [
            (found[sha(number)].status, found[sha(number)].revision, found[sha(number)].people_count)
            for number in range(3)
        ] == [("unchecked", 0, 2), ("approved", 1, 2), ("rejected", 1, 0)]
        assert found[sha(1)].reviewer == "unknown"
        assert found[sha(1)].status_at.year == 2025
        (first,) = reviews.history(connection, picture_sha256=sha(2))
        assert (first.from_status, first.to_status, first.revision) == ("unchecked", "rejected", 1)
        reviews.decide(connection, [verdict("approved", picture=2, revision=1)])
        reviews.decide(connection, [verdict("rejected", picture=2, revision=2)])
    assert content(dsn) == before
    migrations.downgrade(dsn, to=version)
    assert content(dsn) == before
    assert shape(dsn) == shape_before
    with connect(dsn) as connection:
        assert migrations.is_current(connection)
    assert content(dsn) == before


def test_every_way_up_ends_in_the_same_schema(new_dsn: Callable[[], str]) -> None:
    shapes = []
    for steps in (["head"], ["0001", "0002", "0003", "head"], ["0002", "head"]):
        dsn = new_dsn()
        for step in steps:
            migrations.migrate(dsn, to=step)
        shapes.append(shape(dsn))
    assert shapes[0] == shapes[1] == shapes[2]
    migrations.downgrade(dsn, to="base")
    with psycopg.connect(dsn, autocommit=True) as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert {row[0] for row in left} == {"alembic_version", "alembic_version_pkc"}


def test_an_older_silhouette_takes_a_picture_without_people_for_rejected(new_dsn: Callable[[], str]) -> None:
    dsn = new_dsn()
    with connect(dsn) as connection:
        segment(connection, 2)
        reviews.decide(connection, [verdict("nobody")])
    migrations.downgrade(dsn, to="0002")
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT status FROM segmentations").fetchall() == [("rejected",)]


_MIGRATE = """
import sys
from silhouette.database import connect, installation_id
with connect(sys.argv[1]) as connection:
    print(installation_id(connection))
"""


def in_processes(dsns: list[str]) -> list[str]:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, dsn], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for dsn in dsns
    ]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * len(dsns), answers
    return [answer[0].strip() for answer in answers]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of this module: roles belong to a whole server, and here nobody has made them yet."""
    folder = tmp_path_factory.mktemp("own-server") / "state"
    yield up(folder, services=("postgres",)).environment["SILHOUETTE_POSTGRES_DSN"]
    down(folder)


@pytest.fixture
def without_roles(own_server: str) -> Iterator[Callable[[str], str]]:
    """Makes databases on a server that has none of the roles."""
    made: list[str] = []

    def make(owner: str = "silhouette") -> str:
        made.append(f"test_{len(made)}")
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(made[-1]), sql.Identifier(owner)))
        return f"{own_server.rpartition('/')[0]}/{made[-1]}"

    with psycopg.connect(own_server, autocommit=True) as admin:
        yield make
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in ROLES:
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def roles_of(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^silhouette_'")}


def test_two_processes_migrate_one_database_once(without_roles: Callable[[], str]) -> None:
    dsn = without_roles()
    assert len(set(in_processes([dsn, dsn]))) == 1
    assert roles_of(dsn) == ROLES


def test_two_databases_of_a_server_are_migrated_at_once(without_roles: Callable[[], str]) -> None:
    assert len(set(in_processes([without_roles() for _ in range(3)]))) == 3


def test_a_role_that_another_migration_is_making_is_waited_for(without_roles: Callable[[], str]) -> None:
    dsn, other = without_roles(), without_roles()
    with psycopg.connect(other) as making:  # has not committed
        making.execute("CREATE ROLE silhouette_review NOLOGIN")
        process = subprocess.Popen([sys.executable, "-c", _MIGRATE, dsn], stderr=subprocess.PIPE, text=True)
        with psycopg.connect(dsn, autocommit=True) as watching:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while watching.execute(query).fetchone() == (0,):
                assert process.poll() is None, process.communicate()
        making.commit()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert roles_of(dsn) == ROLES


def test_an_owner_who_may_not_make_roles_is_told_and_the_rest_works(
    without_roles: Callable[..., str], own_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with login(own_server) as dsn:
        owner = dsn.removeprefix("postgresql://").partition(":")[0]
        name = without_roles(owner).rpartition("/")[2]
        dsn = f"{dsn.rpartition('/')[0]}/{name}"
        with caplog.at_level(logging.WARNING), connect(dsn) as connection:
            segment(connection, 1)
            reviews.decide(connection, [verdict("approved")])
        assert "an administrator must CREATE ROLE silhouette_review NOLOGIN" in caplog.text
        assert roles_of(dsn) == set()
        with psycopg.connect(own_server, autocommit=True) as admin:
            admin.execute("CREATE ROLE silhouette_review NOLOGIN")
        with connect(dsn) as connection:
            connection.execute("CALL grant_step_rights()")
            granted = connection.execute(
                "SELECT has_column_privilege('silhouette_review', 'segmentations', 'status', 'UPDATE')"
            ).fetchone()
        assert granted == (True,)
        with psycopg.connect(own_server, autocommit=True) as admin:  # before its owner goes
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def test_a_login_that_may_not_migrate_is_told_in_one_line(new_dsn: Callable[[], str]) -> None:
    with login(new_dsn()) as dsn:
        with pytest.raises(ServiceError, match="must have the rights of this step, got: permission denied for schema"):
            connect(dsn)


def test_segmentations_of_a_run_that_began_before_are_still_taken(new_dsn: Callable[[], str]) -> None:
    """A pod of the old version writes without a number of people."""
    with connect(new_dsn()) as connection:
        connection.execute(
            "INSERT INTO segmentations (picture_sha256, model_digest, width, height) VALUES (%s, %s, 1, 1)",
            (sha(1), MODEL),
        )
        assert segmentations.segmented(connection, model_digest=MODEL, sha256s=[sha(1)]) == {sha(1)}
        assert installation_id(connection)
