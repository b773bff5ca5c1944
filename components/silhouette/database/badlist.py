"""Badlist: ids of pictures that must not be used, whatever the group, with who said so and why.

An id on the list takes its bytes with it: the same picture under another id, in any group, must not be used either.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import psycopg

from silhouette.database.connection import guarded, guarded_statement
from silhouette.errors import InputError

_CAME_IN = """
    SELECT sha256, added_at FROM badlist JOIN pictures USING (picture_id) WHERE sha256 <> ''
    UNION ALL SELECT picture_sha256, added_at FROM badlist JOIN labels USING (picture_id)
"""
# the SHA-256 of all bytes that ever came in under an id of the badlist, in any group
CONTENTS = f"SELECT DISTINCT sha256 FROM ({_CAME_IN}) AS came_in"  # noqa: S608  ours


@dataclass(frozen=True, kw_only=True)
class BadlistEntry:
    """An id that must not be used; `added_by` and `reason` may be empty."""

    picture_id: str
    added_at: datetime
    added_by: str
    reason: str


def add(connection: psycopg.Connection, picture_ids: Collection[str], *, by: str = "", reason: str = "") -> int:
    """Put pictures on the badlist; return how many were not on it before.

    An id that is on it keeps its first author and reason.

    Raises:
        InputError: Author or reason cannot be kept.
        ServiceError: PostgreSQL went away; nothing of this call was kept.
    """
    for what, text, longest in (("author", by, 200), ("reason", reason, 2000)):
        if len(text) > longest or "\0" in text:
            raise InputError(
                f"the {what} must have at most {longest} characters and no NUL, got {text[:60]!r}; shorten it"
            )
    with guarded(connection):
        done = connection.execute(
            """
            INSERT INTO badlist (picture_id, added_by, reason)
            SELECT DISTINCT picture_id, %s, %s FROM unnest(%s::text[]) AS new (picture_id) ORDER BY picture_id
            ON CONFLICT DO NOTHING
            """,
            (by, reason, list(picture_ids)),
        )
    return done.rowcount


def remove(connection: psycopg.Connection, picture_ids: Collection[str]) -> set[str]:
    """Take pictures off the badlist; return those that were on it.

    Raises:
        ServiceError: PostgreSQL went away; the list is as it was.
    """
    with guarded(connection):
        rows = connection.execute(
            "DELETE FROM badlist WHERE picture_id = ANY(%s) RETURNING picture_id", (list(picture_ids),)
        ).fetchall()
    return {row[0] for row in rows}


def entries(connection: psycopg.Connection) -> list[BadlistEntry]:
    """Return the whole list, by id."""
    with guarded(connection):
        rows = connection.execute(
            "SELECT picture_id, added_at, added_by, reason FROM badlist ORDER BY picture_id"
        ).fetchall()
    return [BadlistEntry(picture_id=row[0], added_at=row[1], added_by=row[2], reason=row[3]) for row in rows]


def among(connection: psycopg.Connection, picture_ids: Collection[str]) -> set[str]:
    """Return those of the pictures that are on the badlist; threads may share the connection."""
    with guarded_statement(connection):
        rows = connection.execute(
            "SELECT picture_id FROM badlist WHERE picture_id = ANY(%s)", (list(picture_ids),)
        ).fetchall()
    return {row[0] for row in rows}


def contents(connection: psycopg.Connection) -> set[str]:
    """Return the SHA-256 of all bytes that ever came in under an id of the badlist, in any group."""
    with guarded(connection):
        rows = connection.execute(CONTENTS).fetchall()
    return {row[0] for row in rows}


def contents_since(connection: psycopg.Connection) -> dict[str, datetime]:
    """Return `contents` with the time at which the first id of each came on the list."""
    with guarded(connection):
        rows = connection.execute(
            f"SELECT sha256, min(added_at) FROM ({_CAME_IN}) AS came_in GROUP BY sha256"  # noqa: S608  ours
        ).fetchall()
    return {row[0]: row[1] for row in rows}


def left_out(connection: psycopg.Connection, *, groups: Collection[str]) -> list[str]:
    """Return the ids of the badlist, or of its bytes, that the groups had and have no more, sorted."""
    with guarded(connection):
        rows = connection.execute(
            f"""
            SELECT picture_id FROM labels JOIN groups ON groups.id = labels.group_id WHERE name = ANY(%s)
            GROUP BY picture_id
            HAVING bool_and(withdrawn_at IS NOT NULL) AND (
                picture_id IN (SELECT picture_id FROM badlist) OR bool_or(picture_sha256 IN ({CONTENTS}))
            )
            ORDER BY picture_id
            """,  # noqa: S608  ours
            (list(groups),),
        ).fetchall()
    return [row[0] for row in rows]


def unknown(connection: psycopg.Connection, picture_ids: Collection[str]) -> list[str]:
    """Return those of the ids under which no picture ever came in, sorted."""
    with guarded(connection):
        rows = connection.execute(
            """
            SELECT DISTINCT picture_id FROM unnest(%s::text[]) AS given (picture_id)
            WHERE NOT EXISTS (SELECT FROM pictures p WHERE p.picture_id = given.picture_id)
                AND NOT EXISTS (SELECT FROM labels l WHERE l.picture_id = given.picture_id)
            ORDER BY picture_id
            """,
            (list(picture_ids),),
        ).fetchall()
    return [row[0] for row in rows]
