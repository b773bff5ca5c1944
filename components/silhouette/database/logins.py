"""The logins of a server that is shared: one for the steps, one for the review page, one for the backup.

Each is a member of the roles whose rights the migrations grant (`versions/0003_reviews.py`), and owns nothing. The
owner's login makes them; their passwords come from a Secret's files and reach the server as SCRAM verifiers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import sql

from silhouette.database import searches
from silhouette.database.connection import guarded
from silhouette.errors import InputError

ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "silhouette_steps": ("silhouette_ingest", "silhouette_segment", "silhouette_read", searches.ROLE),
        "silhouette_reviewer": ("silhouette_review",),
        "silhouette_backup": ("pg_read_all_data",),
    }
)
MIN_PASSWORD = 16


def read_passwords(folder: Path) -> dict[str, str]:
    """Read a folder with one file for each login, named as it; its content is the password.

    Raises:
        InputError: A login has no file, or one that is no long line of printable ASCII; the password is not shown.
    """
    passwords = {}
    for login in ROLES:
        path = folder / login
        try:
            password = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path} must be a file that holds the password of {login}, got {type(error).__name__};"
                " `make secrets` makes them"
            ) from error
        if len(password) < MIN_PASSWORD or not password.isprintable():
            raise InputError(
                f"{path} must hold at least {MIN_PASSWORD} printable characters, it has {len(password)};"
                " `make secrets` makes better ones"
            )
        passwords[login] = password
    return passwords


def keep(connection: psycopg.Connection, passwords: Mapping[str, str]) -> list[str]:
    """Make each login with its password and exactly its roles; return the names of those that were not there.

    Args:
        connection: The owner's, with the right to make roles, on an up-to-date schema.
        passwords: By login, of `ROLES`.

    Raises:
        ServiceError: PostgreSQL went away, or the owner may not make roles.
    """
    made = []
    searches.keep_rights(connection)
    with guarded(connection):
        for login, password in passwords.items():
            name = sql.Identifier(login)
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
                made.append(login)
            # what the server sees, and may log, is the verifier
            verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier)))
            held = connection.execute(
                "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
                " JOIN pg_roles l ON l.oid = m.member WHERE l.rolname = %s",
                (login,),
            )
            for (role,) in held.fetchall():
                if role not in ROLES[login]:
                    connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), name))
            for role in ROLES[login]:
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), name))
    return made
