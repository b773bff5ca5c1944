"""Segmentations: one row for every picture that a model has seen; its review is in `reviews`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from silhouette.database.connection import guarded
from silhouette.database.people import PersonRow, copy_people


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """A picture as a model saw it; `people` may be empty.

    Attributes:
        picture_sha256: Of the picture's bytes.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        people: In the order of their index.
    """

    picture_sha256: str
    width: int
    height: int
    people: tuple[PersonRow, ...]


def segmented(connection: psycopg.Connection, *, model_digest: str, sha256s: Collection[str]) -> set[str]:
    """Return those of the pictures that the model has seen already."""
    with guarded(connection):
        rows = connection.execute(
            "SELECT picture_sha256 FROM segmentations WHERE model_digest = %s AND picture_sha256 = ANY(%s)",
            (model_digest, list(sha256s)),
        ).fetchall()
    return {row[0] for row in rows}


def add(connection: psycopg.Connection, *, model_digest: str, found: Sequence[Segmentation]) -> int:
    """Write segmentations with their people in one transaction, marked ``unchecked``.

    A picture that the model has seen already, or that another process writes at the same time, stays as it is.
    The rows go in in the order of their key, so that two processes wait for one another and never in a circle.

    Returns:
        How many of the segmentations are new.

    Raises:
        ServiceError: PostgreSQL went away; nothing of this call was kept.
    """
    ordered = sorted(found, key=lambda item: item.picture_sha256)
    with guarded(connection):
        rows = connection.execute(
            """
            INSERT INTO segmentations (picture_sha256, model_digest, width, height, people_count)
            SELECT sha256, %(model)s, width, height, people
            FROM unnest(%(sha256)s::text[], %(width)s::int[], %(height)s::int[], %(people)s::int[])
                AS new (sha256, width, height, people)
            ON CONFLICT (picture_sha256, model_digest) DO NOTHING
            RETURNING picture_sha256, id
            """,
            {
                "model": model_digest,
                "sha256": [item.picture_sha256 for item in ordered],
                "width": [item.width for item in ordered],
                "height": [item.height for item in ordered],
                "people": [len(item.people) for item in ordered],
            },
        ).fetchall()
        ids: dict[str, int] = dict(rows)
        copy_people(
            connection, ((ids[item.picture_sha256], item.people) for item in ordered if item.picture_sha256 in ids)
        )
    return len(ids)


def segmenters(connection: psycopg.Connection, *, groups: Collection[str]) -> list[str]:
    """Return the digests of the models that saw pictures of the groups: who saw the most first, then the latest.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            """
            SELECT model_digest FROM segmentations s
                JOIN (
                    SELECT DISTINCT picture_sha256 FROM labels JOIN groups ON groups.id = labels.group_id
                    WHERE withdrawn_at IS NULL AND name = ANY(%s)
                ) wanted USING (picture_sha256)
            WHERE s.author = ''
            GROUP BY model_digest ORDER BY count(*) DESC, max(s.created_at) DESC, model_digest
            """,
            (list(groups),),
        ).fetchall()
    return [row[0] for row in rows]


def not_to_redo(
    connection: psycopg.Connection,
    *,
    model_digest: str,
    sha256s: Collection[str],
    before: datetime,
    unchecked: bool,
    named: Collection[str],
) -> set[str]:
    """Return those of the pictures that the model has seen and need not see again.

    Args:
        connection: To a migrated database.
        model_digest: The segmenter's.
        sha256s: The pictures.
        before: Only records from before are done again: later ones are another worker's of the same order.
        unchecked: Whether records that nobody reviewed are done again.
        named: Pictures that are done again whatever was decided about them.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            """
            SELECT picture_sha256 FROM segmentations
            WHERE model_digest = %s AND picture_sha256 = ANY(%s)
                AND NOT (created_at < %s AND ((%s AND status = 'unchecked') OR picture_sha256 = ANY(%s)))
            """,
            (model_digest, list(sha256s), before, unchecked, list(named)),
        ).fetchall()
    return {row[0] for row in rows}


def remove_unchecked(
    connection: psycopg.Connection, *, model_digest: str, sha256s: Collection[str], before: datetime
) -> None:
    """Remove records from before that nobody reviewed, with their people.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        connection.execute(
            """
            DELETE FROM segmentations
            WHERE model_digest = %s AND picture_sha256 = ANY(%s) AND status = 'unchecked' AND created_at < %s
            """,
            (model_digest, list(sha256s), before),
        )
