"""Which pictures may still be shown: none of the badlist, under whatever id its bytes came in, none withdrawn."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from silhouette.contracts.dataset import BADLISTED
from silhouette.database import badlist
from silhouette.database.connection import guarded_statement

WITHDRAWN = "withdrawn"


class Usable:
    """The badlist as it is now, and the labels of one group; in memory is the badlist alone.

    Args:
        connection: To a migrated database; threads may share it.
        group: Raw.

    Raises:
        ServiceError: PostgreSQL went away.
    """

    def __init__(self, connection: psycopg.Connection, *, group: str) -> None:
        self._connection, self.group = connection, group
        self._contents = badlist.contents(connection)

    def has_bad_bytes(self, sha256: str) -> bool:
        """Tell whether the bytes came in under an id of the badlist."""
        return sha256 in self._contents

    def refused(self, picture_ids: Collection[str]) -> dict[str, str]:
        """Return why pictures must not be shown, ``badlisted`` or ``withdrawn``, by id; those that may are missing.

        An id that the group never had is judged by the badlist alone.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        with guarded_statement(self._connection):
            rows = self._connection.execute(
                """
                SELECT picture_id, picture_sha256, name = %s AS is_here, withdrawn_at IS NULL AS is_now
                FROM labels JOIN groups ON groups.id = labels.group_id WHERE picture_id = ANY(%s)
                """,
                (self.group, list(picture_ids)),
            ).fetchall()
        here = {row[0] for row in rows if row[2]}
        now = {row[0] for row in rows if row[2] and row[3]}
        found = dict.fromkeys(here - now, WITHDRAWN)
        bad = {row[0] for row in rows if row[1] in self._contents} | badlist.among(self._connection, picture_ids)
        return {**found, **dict.fromkeys(bad, BADLISTED)}

    def labels(self, picture_ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return SHA-256 and label of pictures as the group has them now, by id; those it has not are missing.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        with guarded_statement(self._connection):
            rows = self._connection.execute(
                """
                SELECT picture_id, picture_sha256, label FROM labels JOIN groups ON groups.id = labels.group_id
                WHERE name = %s AND withdrawn_at IS NULL AND picture_id = ANY(%s)
                """,
                (self.group, list(picture_ids)),
            ).fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}


def groups(connection: psycopg.Connection) -> list[str]:
    """Return the names of all groups, sorted.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute("SELECT name FROM groups").fetchall()
    return sorted(row[0] for row in rows)
