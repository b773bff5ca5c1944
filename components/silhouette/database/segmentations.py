"""Segmentations: one row for every picture that a model has seen; its review is in `reviews`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

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
