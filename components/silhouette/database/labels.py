"""Labels: which picture had which label in which group, and since when it has another.

A row that changes is withdrawn and comes anew, so that nothing that was once said is lost. Only what changed is
written, and nothing here grows with the number of pictures but a temporary table of the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import psycopg

from silhouette.database.connection import guarded
from silhouette.errors import InputError
from silhouette.names import is_text

_LONGEST_NAME = 1500  # bytes: what PostgreSQL can index


class LabelledPicture(Protocol):
    """What is needed of a picture; `silhouette.contracts.dataset.PictureRow` has it."""

    @property
    def picture_id(self) -> str:
        """The id at the source, raw."""

    @property
    def sha256(self) -> str:
        """Of the bytes."""

    @property
    def label(self) -> str:
        """One of the group's classes."""

    @property
    def pixset_id(self) -> str:
        """The shoot, or empty."""

    @property
    def split(self) -> str:
        """``train``, ``val``, ``test`` or empty."""


@dataclass(frozen=True, kw_only=True)
class LabelChanges:
    """What `replace` found: pictures that are new, that are said otherwise than before, and that left the group."""

    pictures: int
    new: int
    changed: int
    withdrawn: int


def replace(
    connection: psycopg.Connection, *, group: str, dataset_digest: str, pictures: Iterable[LabelledPicture]
) -> LabelChanges:
    """Make the labels of a group those of its dataset, in one transaction.

    Args:
        connection: An open connection.
        group: Raw.
        dataset_digest: Of the dataset that the pictures make up.
        pictures: All of the group, each id once; they are read one by one.

    Raises:
        InputError: The group's name is empty or cannot be kept.
        ServiceError: PostgreSQL went away; the labels are as they were.
    """
    if not 1 <= len(group.encode()) <= _LONGEST_NAME:
        raise InputError(
            f"a group's name must have 1 to {_LONGEST_NAME} bytes, it has {len(group.encode())}; name it otherwise"
        )
    with guarded(connection):
        # of a group that came since the last ANALYZE the planner thinks it is tiny, and would compare all with all
        connection.execute("SET LOCAL enable_nestloop = off")
        group_id = _lock_group(connection, group)
        counted = _copy(connection, pictures)
        now = connection.execute("SELECT clock_timestamp()").fetchone()
        assert now is not None, "a SELECT without FROM has one row"
        keys = {"group": group_id, "now": now[0]}
        changed, withdrawn = _withdraw(connection, keys)
        added = connection.execute(
            """
            INSERT INTO labels (picture_id, group_id, seen_at, picture_sha256, label, pixset_id, split)
            SELECT picture_id, %(group)s, %(now)s, picture_sha256, label, pixset_id, split FROM new_labels n
            WHERE NOT EXISTS (
                SELECT FROM labels l
                WHERE l.group_id = %(group)s AND l.withdrawn_at IS NULL AND l.picture_id = n.picture_id
            )
            """,
            keys,
        ).rowcount
        connection.execute(
            """
            INSERT INTO datasets (group_id, seen_at, digest, pictures, contents)
            SELECT %(group)s, %(now)s, %(digest)s, count(*), count(DISTINCT picture_sha256) FROM new_labels
            HAVING %(digest)s IS DISTINCT FROM (
                SELECT digest FROM datasets WHERE group_id = %(group)s ORDER BY seen_at DESC LIMIT 1
            )
            """,
            {**keys, "digest": dataset_digest},
        )
        connection.execute("DROP TABLE new_labels")
    return LabelChanges(pictures=counted, new=added - changed, changed=changed, withdrawn=withdrawn)


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """A group's dataset as it was last downloaded: its digest, and how many pictures it has."""

    digest: str
    pictures: int


def latest_dataset(connection: psycopg.Connection, *, group: str) -> KnownDataset | None:
    """Return what is known of a group's dataset as it is now, or None when the group was never downloaded.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    if not is_text(group):
        return None
    with guarded(connection):
        row = connection.execute(
            """
            SELECT digest, pictures FROM datasets JOIN groups ON groups.id = datasets.group_id
            WHERE name = %s ORDER BY seen_at DESC LIMIT 1
            """,
            (group,),
        ).fetchone()
    return KnownDataset(digest=row[0], pictures=row[1]) if row else None


def _lock_group(connection: psycopg.Connection, group: str) -> int:
    """Return the group's number; a second process that brings the same group in waits here."""
    connection.execute("INSERT INTO groups (name) VALUES (%s) ON CONFLICT DO NOTHING", (group,))
    row = connection.execute("SELECT id FROM groups WHERE name = %s", (group,)).fetchone()
    assert row is not None, "it was made a statement ago and nothing removes groups"
    connection.execute("SELECT pg_advisory_xact_lock('groups'::regclass::oid::integer, %s)", (row[0],))
    return int(row[0])


def _copy(connection: psycopg.Connection, pictures: Iterable[LabelledPicture]) -> int:
    connection.execute(
        """
        CREATE TEMPORARY TABLE new_labels (
            picture_id text NOT NULL, picture_sha256 text NOT NULL, label text NOT NULL, pixset_id text NOT NULL,
            split text NOT NULL
        ) ON COMMIT DROP
        """
    )
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY new_labels (picture_id, picture_sha256, label, pixset_id, split) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["text"] * 5)
        for picture in pictures:
            copy.write_row((picture.picture_id, picture.sha256, picture.label, picture.pixset_id, picture.split))
            count += 1
    connection.execute("ANALYZE new_labels")
    return count


def _withdraw(connection: psycopg.Connection, keys: dict[str, object]) -> tuple[int, int]:
    """Withdraw what no longer holds; return how many rows are said otherwise now, and how many not at all."""
    row = connection.execute(
        """
        WITH gone AS (
            UPDATE labels l SET withdrawn_at = %(now)s
            WHERE l.group_id = %(group)s AND l.withdrawn_at IS NULL AND NOT EXISTS (
                SELECT FROM new_labels n
                WHERE n.picture_id = l.picture_id AND n.picture_sha256 = l.picture_sha256 AND n.label = l.label
                    AND n.pixset_id = l.pixset_id AND n.split = l.split
            )
            RETURNING l.picture_id
        )
        SELECT count(n.picture_id), count(*) - count(n.picture_id)
        FROM gone LEFT JOIN new_labels n ON n.picture_id = gone.picture_id
        """,
        keys,
    ).fetchone()
    assert row is not None, "count has one row"
    return row[0], row[1]
