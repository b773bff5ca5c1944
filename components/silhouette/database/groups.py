"""The groups of the database, by name, and the models that have seen their pictures."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime

import psycopg

from silhouette.database.connection import guarded, guarded_statement, prepare_to_hash
from silhouette.errors import InputError

_NEAREST = 5


@dataclass(frozen=True, kw_only=True)
class GroupModel:
    """A model that has seen pictures of a group: how many, and when it saw the last one."""

    model_digest: str
    pictures: int
    last_at: datetime


def find_group(connection: psycopg.Connection, name: str) -> int:
    """Return a group's number.

    Raises:
        InputError: There is no such group; the nearest names are listed.
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute("SELECT name, id FROM groups ORDER BY name").fetchall()
    known: dict[str, int] = dict(rows)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.4) or list(known)[:_NEAREST]
    listed = f"{', '.join(map(repr, near))}{', ...' if len(known) > len(near) else ''}" if near else "none"
    raise InputError(
        f"group {name!r} must have been downloaded, the database has {listed}; correct --group or run"
        " `silhouette download`"
    )


def models_of(connection: psycopg.Connection, group_id: int) -> list[GroupModel]:
    """Return the models that have seen pictures of a group, the one that saw one last first.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        prepare_to_hash(connection)
        rows = connection.execute(
            """
            SELECT model_digest, count(*), max(created_at) FROM segmentations s
            WHERE s.author = '' AND EXISTS (
                SELECT FROM labels l
                WHERE l.group_id = %s AND l.withdrawn_at IS NULL AND l.picture_sha256 = s.picture_sha256
            )
            GROUP BY model_digest ORDER BY max(created_at) DESC, model_digest
            """,
            (group_id,),
        ).fetchall()
    return [GroupModel(model_digest=row[0], pictures=row[1], last_at=row[2]) for row in rows]
