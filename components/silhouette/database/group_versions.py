"""A group's pictures with the version of each that counts: what markers are given, and what is shown of a group.

A picture counts once, by its content, under the smallest of its ids in the group. Withdrawn pictures and those of the
badlist, under whatever id their bytes came in, are never among them.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass, fields

import psycopg

from silhouette.database.badlist import CONTENTS
from silhouette.database.connection import guarded
from silhouette.database.groups import find_group, models_of
from silhouette.database.reviews import Status
from silhouette.errors import InputError

_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class GroupPicture:
    """A picture of a group and the segmentation that counts: its author's, or the model's.

    Attributes:
        picture_id: The smallest of its ids in the group.
        other_ids: Under which the group has the same bytes.
        picture_sha256: Of its bytes.
        label: Of that id.
        segmentation_id: Its number in this database.
        model_digest: The segmenter's, with its settings; of a correction, its content's.
        author: Who drew it; empty: a model did.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        status: Its verdict.
        revision: How often the status was changed.
        reviewer: Who changed it last; empty when nobody did.
        reason: Why.
        people_count: People that were found; with ``nobody`` they count for nothing.
        lowest_score: Of its people; None without any.
        object_key: Where the bytes are in the store; empty when nothing is known of them.
        working_key: Where the working copy is, or empty.
        working_width: Of the working copy, pixels; 0 without one.
        working_height: Of the working copy, pixels; 0 without one.
    """

    picture_id: str
    other_ids: list[str]
    picture_sha256: str
    label: str
    segmentation_id: int
    model_digest: str
    author: str
    width: int
    height: int
    status: Status
    revision: int
    reviewer: str
    reason: str
    people_count: int
    lowest_score: float | None
    object_key: str
    working_key: str
    working_width: int
    working_height: int


_COLUMNS = [item.name for item in fields(GroupPicture)]
_COUNTING = f"""
    WITH listed AS (
        SELECT picture_sha256, array_agg(picture_id ORDER BY picture_id COLLATE "C") AS ids,
            (array_agg(label ORDER BY picture_id COLLATE "C"))[1] AS label
        FROM labels WHERE group_id = %(group)s AND withdrawn_at IS NULL GROUP BY picture_sha256
    ), corrected AS (
        SELECT id, picture_sha256 FROM segmentations WHERE author <> '' AND status IN ('approved', 'nobody')
    ), chosen AS (
        SELECT id FROM corrected
        UNION ALL
        SELECT id FROM segmentations s WHERE model_digest = %(model)s
            AND NOT EXISTS (SELECT FROM corrected c WHERE c.picture_sha256 = s.picture_sha256)
    ), counting AS (
        SELECT s.*, s.id AS segmentation_id, l.ids[1] AS picture_id, l.ids[2:] AS other_ids, l.label,
            (SELECT min(score) FROM people p WHERE p.segmentation_id = s.id) AS lowest_score
        FROM chosen JOIN segmentations s USING (id) JOIN listed l ON l.picture_sha256 = s.picture_sha256
        WHERE s.status = ANY(%(statuses)s) AND s.picture_sha256 NOT IN ({CONTENTS})
    ), known AS (
        SELECT DISTINCT ON (p.sha256) p.sha256, object_key, working_key, working_width, working_height
        FROM pictures p JOIN counting c ON c.picture_sha256 = p.sha256
        WHERE p.reason = '' ORDER BY p.sha256, fetched_at DESC
    ), shown AS (
        SELECT c.*, coalesce(object_key, '') AS object_key, coalesce(working_key, '') AS working_key,
            coalesce(working_width, 0) AS working_width, coalesce(working_height, 0) AS working_height
        FROM counting c LEFT JOIN known k ON k.sha256 = c.picture_sha256
    )
    SELECT {", ".join(_COLUMNS)} FROM shown
"""  # noqa: S608  our names
_BY_CONTENT = "ORDER BY picture_sha256"
_DOUBTFUL_FIRST = "ORDER BY lowest_score NULLS LAST, picture_sha256 LIMIT %(limit)s"


def resolve_model(connection: psycopg.Connection, *, group: str, model: str) -> str:
    """Return the digest of the model whose contours are meant.

    Args:
        connection: To a migrated database.
        group: Raw.
        model: How its digest begins; empty: the only one that has seen pictures of the group.

    Raises:
        InputError: None is meant, or several are.
        ServiceError: PostgreSQL went away.
    """
    models = models_of(connection, find_group(connection, group))
    meant = [item.model_digest for item in models if item.model_digest.startswith(model)]
    if len(meant) == 1:
        return meant[0]
    shown = ", ".join(
        f"{item.model_digest[:12]} ({item.pictures} pictures, {item.last_at:%Y-%m-%d})" for item in models
    )
    if not models:
        raise InputError(
            f"group {group!r} must have been segmented, no model has seen it; run `silhouette segment` first"
        )
    given = f"{model!r}" if model else "none"
    raise InputError(
        f"the model must be one of those that have seen group {group!r}: {shown}; got {given}; say --model and how its"
        " digest begins"
    )


def ids_by_content(
    connection: psycopg.Connection, *, group: str, sha256s: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return under which ids the group has each of the pictures now; those it has not are missing.

    Raises:
        InputError: There is no such group.
        ServiceError: PostgreSQL went away.
    """
    number = find_group(connection, group)
    with guarded(connection):
        rows = connection.execute(
            """
            SELECT picture_sha256, array_agg(picture_id ORDER BY picture_id COLLATE "C") FROM labels
            WHERE group_id = %s AND withdrawn_at IS NULL AND picture_sha256 = ANY(%s) GROUP BY picture_sha256
            """,
            (number, list(sha256s)),
        ).fetchall()
    return {row[0]: tuple(row[1]) for row in rows}


def counting_pictures(
    connection: psycopg.Connection, *, group: str, model_digest: str, statuses: Collection[str], limit: int = 0
) -> Generator[list[GroupPicture], None, None]:
    """Yield a group's pictures with the version that counts, some hundreds at a time, all of one moment.

    They come by content; with a limit, the most doubtful first: by the lowest score of a person on the picture.
    The caller may ask more of the connection meanwhile.

    Args:
        connection: To a migrated database.
        group: Raw.
        model_digest: Whose segmentations, where no correction counts.
        statuses: Of that version.
        limit: At most so many; 0: all.

    Raises:
        InputError: There is no such group.
        ServiceError: PostgreSQL went away.
    """
    number = find_group(connection, group)
    with guarded(connection):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL jit = off")
        with connection.cursor(name="counting_pictures") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(
                f"{_COUNTING} {_DOUBTFUL_FIRST if limit else _BY_CONTENT}",
                {"group": number, "model": model_digest, "statuses": list(statuses), "limit": limit},
            )
            while rows := cursor.fetchmany(_AT_ONCE):
                yield [GroupPicture(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
