"""Doubts: how sure a model was of what it found on a picture, and how far another model agrees.

Written into segmentations that have none yet, a part of a group at a time, so that a review can begin at once and a
kill loses one part. A row that somebody else changes at the moment is passed over, and taken at the next call: nobody
waits for anybody. ``segmentations.doubt`` follows from these columns (`versions/0004_doubts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from silhouette.database.connection import guarded, guarded_statement

PART = 2000  # pictures in one transaction, a fraction of a second: a reviewer waits no longer for its rows
_PART_OF_GROUP = """
    SELECT DISTINCT picture_sha256 FROM labels
    WHERE group_id = %(group)s AND withdrawn_at IS NULL AND picture_sha256 > %(after)s
    ORDER BY picture_sha256 LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A segmentation to be compared with those of other models.

    Attributes:
        segmentation_id: Its number.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        others: Numbers of the others, ascending.
    """

    segmentation_id: int
    width: int
    height: int
    others: tuple[int, ...]


def newest(connection: psycopg.Connection) -> int:
    """Return the number of the last segmentation that was written; 0 without any.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        row = connection.execute("SELECT coalesce(max(id), 0) FROM segmentations").fetchone()
    assert row is not None, "max has one row"
    return int(row[0])


def has_others(connection: psycopg.Connection, *, model_digest: str) -> bool:
    """Tell whether there is a segmentation of any other model.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM segmentations WHERE model_digest <> %s AND author = '')", (model_digest,)
        ).fetchone()
    return row is not None and bool(row[0])


def fill_scores(
    connection: psycopg.Connection, *, group_id: int, model_digest: str, after: str, limit: int = PART
) -> str:
    """Write the least score and largest share of a part of the group where they are missing.

    Args:
        connection: An open connection.
        group_id: The group.
        model_digest: The segmenter's.
        after: SHA-256 behind which the part begins; empty: from the start.
        limit: Pictures in the part.

    Returns:
        The last SHA-256 of the part; empty when nothing was left.

    Raises:
        ServiceError: PostgreSQL went away; nothing of this part was kept.
    """
    with guarded(connection):
        row = connection.execute(
            f"""
            WITH part AS ({_PART_OF_GROUP}),
            mine AS (
                SELECT s.id, s.width::real * s.height AS area FROM segmentations s JOIN part USING (picture_sha256)
                WHERE s.model_digest = %(model)s AND s.doubt IS NULL
                ORDER BY s.picture_sha256 FOR NO KEY UPDATE OF s SKIP LOCKED
            ),
            found AS (
                SELECT mine.id, min(p.score) AS least_score, least(1, greatest(0, coalesce(max(
                    (p.box_xyxy[3] - p.box_xyxy[1]) * (p.box_xyxy[4] - p.box_xyxy[2]) / mine.area
                ), 0))) AS largest_share
                FROM mine LEFT JOIN people p ON p.segmentation_id = mine.id GROUP BY mine.id
            ),
            done AS (
                UPDATE segmentations s SET least_score = found.least_score, largest_share = found.largest_share
                FROM found WHERE s.id = found.id
            )
            SELECT max(picture_sha256) FROM part
            """,  # noqa: S608  our names
            {"group": group_id, "model": model_digest, "after": after, "limit": limit},
        ).fetchone()
    return str(row[0]) if row and row[0] else ""


def to_compare(
    connection: psycopg.Connection, *, group_id: int, model_digest: str, after: str, limit: int = PART
) -> tuple[str, list[Compared]]:
    """Return what of a part of the group another model has seen since it was last compared.

    Args and errors are those of `fill_scores`; the first of the returned is the last SHA-256 of the part.
    """
    keys = {"group": group_id, "model": model_digest, "after": after, "limit": limit}
    with guarded(connection):
        last = connection.execute(f"SELECT max(picture_sha256) FROM ({_PART_OF_GROUP}) AS part", keys).fetchone()  # noqa: S608
        rows = connection.execute(
            f"""
            SELECT s.id, s.width, s.height, array_agg(o.id ORDER BY o.id)
            FROM ({_PART_OF_GROUP}) AS part
                JOIN segmentations s USING (picture_sha256)
                JOIN segmentations o ON o.picture_sha256 = s.picture_sha256 AND o.id <> s.id AND o.author = ''
            WHERE s.model_digest = %(model)s AND s.doubt IS NOT NULL
            GROUP BY s.id HAVING max(o.id) > s.compared_to ORDER BY s.picture_sha256
            """,  # noqa: S608  our names
            keys,
        ).fetchall()
    found = [
        Compared(segmentation_id=number, width=width, height=height, others=tuple(others))
        for number, width, height, others in rows
    ]
    return str(last[0]) if last and last[0] else "", found


def contours_of(connection: psycopg.Connection, segmentation_ids: Sequence[int]) -> dict[int, list[bytes]]:
    """Return the encoded contours of everybody on some segmentations; those without people have none.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    found: dict[int, list[bytes]] = {number: [] for number in segmentation_ids}
    with guarded_statement(connection):
        rows = connection.execute(
            "SELECT segmentation_id, contours FROM people WHERE segmentation_id = ANY(%s)",
            (list(segmentation_ids),),
            binary=True,
        ).fetchall()
    for number, contours in rows:
        found[number].append(contours)
    return found


def keep_agreement(connection: psycopg.Connection, agreement: Mapping[int, tuple[float, int]]) -> None:
    """Write agreements: by segmentation the least IoU, 0 to 1, and the last of the others that it was compared to.

    Raises:
        ServiceError: PostgreSQL went away; nothing of this call was kept.
    """
    with guarded(connection):
        connection.execute(
            """
            WITH mine AS (
                SELECT s.id, new.agreement, new.compared_to
                FROM segmentations s JOIN unnest(%s::bigint[], %s::real[], %s::bigint[])
                    AS new (id, agreement, compared_to) USING (id)
                ORDER BY s.picture_sha256 FOR NO KEY UPDATE OF s SKIP LOCKED
            )
            UPDATE segmentations s SET agreement = mine.agreement, compared_to = mine.compared_to
            FROM mine WHERE s.id = mine.id
            """,
            (
                list(agreement),
                [iou for iou, _ in agreement.values()],
                [last for _, last in agreement.values()],
            ),
        )
