"""A shared server's logins can do their own work, are kept when they are there, and their passwords stay secret."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from silhouette.database import connect, installation_id, logins
from silhouette.errors import InputError, ServiceError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for login in logins.ROLES:
        (tmp_path / login).write_text(secrets.token_urlsafe(24) + "\n")
    return tmp_path


@pytest.fixture
def owner(new_dsn: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """The owner of a new database; roles belong to the server, so the test's logins get names of their own."""
    suffix = secrets.token_hex(4)
    roles = {f"{login}_{suffix}": held for login, held in logins.ROLES.items()}
    monkeypatch.setattr(logins, "ROLES", roles)
    with connect(new_dsn()) as connection:
        yield connection
        for login in roles:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone():
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def dsn_of(connection: psycopg.Connection, login: str, password: str) -> str:
    return f"postgresql://{login}:{password}@{connection.info.host}:{connection.info.port}/{connection.info.dbname}"


def passwords() -> Mapping[str, str]:
    return {login: secrets.token_urlsafe(24) for login in logins.ROLES}


def test_each_login_comes_in_and_the_current_schema_needs_no_owner(owner: psycopg.Connection) -> None:
    given = passwords()
    assert logins.keep(owner, given) == list(given)
    for login, password in given.items():
        with connect(dsn_of(owner, login, password)) as connection:
            assert installation_id(connection) == installation_id(owner)


def test_second_time_changes_passwords_and_makes_nobody(owner: psycopg.Connection) -> None:
    logins.keep(owner, passwords())
    given = passwords()
    assert logins.keep(owner, given) == []
    login, password = next(iter(given.items()))
    with connect(dsn_of(owner, login, password)):
        pass


def test_rights_that_somebody_added_are_taken_away(owner: psycopg.Connection) -> None:
    given = passwords()
    logins.keep(owner, given)
    backup = next(login for login in given if login.startswith("silhouette_backup"))
    owner.execute(sql.SQL("GRANT silhouette_ingest TO {}").format(sql.Identifier(backup)))
    logins.keep(owner, given)
    with (
        connect(dsn_of(owner, backup, given[backup])) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM pictures")


def test_password_is_never_in_a_statement(owner: psycopg.Connection) -> None:
    given = passwords()
    logins.keep(owner, given)
    for login, password in given.items():
        (verifier,) = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (login,)).fetchone() or (
            "",
        )
        assert verifier.startswith("SCRAM-SHA-256$")
        assert password not in verifier


def test_owner_who_may_not_make_roles_is_told_so(owner: psycopg.Connection) -> None:
    given = passwords()
    logins.keep(owner, given)
    steps, password = next(iter(given.items()))
    with (
        connect(dsn_of(owner, steps, password)) as connection,
        pytest.raises(ServiceError, match="must have the rights"),
    ):
        logins.keep(connection, given)


def test_folder_of_a_secret_is_read(folder: Path) -> None:
    found = logins.read_passwords(folder)
    assert found.keys() == logins.ROLES.keys()
    assert all(len(password) == 32 for password in found.values())


@pytest.mark.parametrize("content", ["", "short", "tab\tand more than sixteen", "пароль из многих букв"])
def test_password_that_is_none_is_refused_without_being_shown(folder: Path, content: str) -> None:
    (folder / "silhouette_steps").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"silhouette_steps must .*make secrets") as refused:
        logins.read_passwords(folder)
    assert not content or content not in str(refused.value)


def test_missing_file_is_refused_by_its_name(folder: Path) -> None:
    (folder / "silhouette_backup").unlink()
    with pytest.raises(InputError, match="the password of silhouette_backup, got FileNotFoundError"):
        logins.read_passwords(folder)


def test_command_brings_the_schema_and_the_logins(
    new_dsn: Callable[[], str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from silhouette.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILHOUETTE_POSTGRES_DSN", new_dsn())
    done = CliRunner().invoke(app, ["db", "upgrade", "--logins", str(folder)])
    assert done.exit_code == 0, done.output
    assert "the schema is" in done.output
    assert "silhouette_reviewer: " in done.output
    assert not [path for path in folder.glob("silhouette_*") if path.read_text().strip() in done.output]
