"""The review queue: what a reviewer sees of a group, as one model segmented it, the most doubtful first.

Pages follow one another by key, not by number, so that the hundredth costs what the first does. Bytes that ever came
in under an id of the badlist are in nothing that is returned here. Only segmentations that were prepared
(`silhouette.database.doubts`) have their place in the queue; all are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from silhouette.database import badlist
from silhouette.database.connection import guarded, guarded_statement, prepare_to_hash
from silhouette.database.people import PersonRow
from silhouette.database.reviews import STATUSES, Review, Status

Order = Literal["doubtful", "sure"]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which pictures are wanted; None: whatever it is.

    Attributes:
        statuses: Any of these.
        label: Pictures with this label.
        min_score: Least score of the person that the model is least sure of, 0 to 1.
        max_score: Its largest score.
        min_size: Least share of the picture's area that the largest person's box takes, 0 to 1.
        max_size: Its largest share.
        min_people: Least number of people found.
        max_people: Largest number of people found.
        max_agreement: Largest IoU with what another model found; pictures that no other has seen are left out.
    """

    statuses: tuple[Status, ...] = STATUSES
    label: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    min_size: float | None = None
    max_size: float | None = None
    min_people: int | None = None
    max_people: int | None = None
    max_agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in the queue a page ends."""

    doubt: float
    segmentation_id: int


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A segmentation in the queue: its review, and what makes it doubtful (`versions/0004_doubts.py`)."""

    segmentation_id: int
    width: int
    height: int
    doubt: float
    least_score: float | None
    largest_share: float
    agreement: float | None
    review: Review

    @property
    def place(self) -> Place:
        """Its place."""
        return Place(doubt=self.doubt, segmentation_id=self.segmentation_id)


@dataclass(frozen=True, kw_only=True)
class QueueCount:
    """How many segmentations there are, by status, and how many of all are prepared."""

    statuses: dict[Status, int]
    prepared: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.statuses.values())


_REVIEW = (
    "picture_sha256", "model_digest", "status", "revision", "reviewer", "reason", "status_at", "people_count",
)  # fmt: skip
_QUEUED = ("segmentation_id", "width", "height", "doubt", "least_score", "largest_share", "agreement")
_COLUMNS = ", ".join(f"s.{name}" for name in ("id", *_QUEUED[1:], *_REVIEW))
_SHOWN = """
    s.model_digest = %(model)s
    AND EXISTS (
        SELECT FROM labels l
        WHERE l.group_id = %(group)s AND l.withdrawn_at IS NULL AND l.picture_sha256 = s.picture_sha256
            AND (%(label)s::text IS NULL OR l.label = %(label)s)
    )
    AND s.picture_sha256 NOT IN (SELECT sha256 FROM bad)
"""
_RULES = {
    "min_score": "s.least_score >= %(min_score)s::real",
    "max_score": "s.least_score <= %(max_score)s::real",
    "min_size": "s.largest_share >= %(min_size)s::real",
    "max_size": "s.largest_share <= %(max_size)s::real",
    "min_people": "s.people_count >= %(min_people)s",
    "max_people": "s.people_count <= %(max_people)s",
    "max_agreement": "s.agreement <= %(max_agreement)s::real",
}


def labels_of(connection: psycopg.Connection, group_id: int) -> list[str]:
    """Return the labels that pictures of a group have now, sorted.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            'SELECT DISTINCT label COLLATE "C" FROM labels WHERE group_id = %s AND withdrawn_at IS NULL ORDER BY 1',
            (group_id,),
        ).fetchall()
    return [row[0] for row in rows]


def page(
    connection: psycopg.Connection,
    *,
    group_id: int,
    model_digest: str,
    filters: Filters,
    order: Order,
    after: Place | None,
    limit: int,
) -> list[Queued]:
    """Return the next segmentations of the queue.

    Args:
        connection: An open connection.
        group_id: The group.
        model_digest: The segmenter's.
        filters: Which ones.
        order: The most doubtful first, or the surest.
        after: The place of the last one before; None: from the start.
        limit: How many at most.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    direction, beyond = ("DESC", "<") if order == "doubtful" else ("ASC", ">")
    conditions = [_SHOWN, "s.status = wanted.status", "s.doubt IS NOT NULL", *_rules(filters)]
    if after:
        conditions.append(f"(s.doubt, s.id) {beyond} (%(doubt)s::real, %(id)s)")
    keys = {
        **_keys(group_id, model_digest, filters),
        "limit": limit,
        "doubt": after.doubt if after else None,
        "id": after.segmentation_id if after else None,
    }
    # of each status the first ones, by the index on doubt, then the first of these
    query = f"""
        WITH bad AS MATERIALIZED ({badlist.CONTENTS})
        SELECT found.* FROM unnest(%(statuses)s::text[]) AS wanted (status) CROSS JOIN LATERAL (
            SELECT {_COLUMNS} FROM segmentations s WHERE {" AND ".join(conditions)}
            ORDER BY s.doubt {direction}, s.id {direction} LIMIT %(limit)s
        ) AS found
        ORDER BY found.doubt {direction}, found.id {direction} LIMIT %(limit)s
    """  # noqa: S608  our names
    with guarded(connection):
        connection.execute("SET LOCAL jit = off")
        rows = connection.execute(query, keys).fetchall()
    return [_queued(row) for row in rows]


def one(connection: psycopg.Connection, *, group_id: int, model_digest: str, sha256: str) -> Queued | None:
    """Return one prepared segmentation of the queue, or None: it is not in this group, not prepared or must not be.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    query = f"""
        WITH bad AS MATERIALIZED ({badlist.CONTENTS})
        SELECT {_COLUMNS} FROM segmentations s
        WHERE {_SHOWN} AND s.picture_sha256 = %(sha256)s AND s.doubt IS NOT NULL
    """  # noqa: S608  our names
    with guarded_statement(connection):
        row = connection.execute(query, {**_keys(group_id, model_digest, Filters()), "sha256": sha256}).fetchone()
    return _queued(row) if row else None


def count(connection: psycopg.Connection, *, group_id: int, model_digest: str, filters: Filters) -> QueueCount:
    """Count segmentations by status; the filter's own statuses are passed over, so that each can be offered.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    query = f"""
        WITH bad AS MATERIALIZED ({badlist.CONTENTS})
        SELECT s.status, count(*), count(s.doubt) FROM segmentations s
        WHERE {" AND ".join([_SHOWN, *_rules(filters)])} GROUP BY s.status
    """  # noqa: S608  our names
    with guarded(connection):
        prepare_to_hash(connection)
        rows = connection.execute(query, _keys(group_id, model_digest, filters)).fetchall()
    counted = {row[0]: row[1] for row in rows}
    return QueueCount(
        statuses={status: counted.get(status, 0) for status in STATUSES}, prepared=sum(row[2] for row in rows)
    )


def shown(connection: psycopg.Connection, *, group_id: int, sha256s: Collection[str]) -> set[str]:
    """Return those of the bytes that are a picture of the group and never were one of the badlist.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            f"""
            SELECT DISTINCT picture_sha256 FROM labels
            WHERE group_id = %s AND withdrawn_at IS NULL AND picture_sha256 = ANY(%s)
                AND picture_sha256 NOT IN ({badlist.CONTENTS})
            """,  # noqa: S608  our names
            (group_id, list(sha256s)),
        ).fetchall()
    return {row[0] for row in rows}


def names_of(
    connection: psycopg.Connection, *, group_id: int, sha256s: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return the ids in the group of some bytes, each with its label, sorted.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            """
            SELECT picture_sha256, picture_id, label FROM labels
            WHERE group_id = %s AND withdrawn_at IS NULL AND picture_sha256 = ANY(%s) ORDER BY picture_id
            """,
            (group_id, list(sha256s)),
        ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {sha256: [] for sha256 in sha256s}
    for sha256, picture_id, label in rows:
        found[sha256].append((picture_id, label))
    return found


def people_of(connection: psycopg.Connection, segmentation_ids: Sequence[int]) -> dict[int, list[PersonRow]]:
    """Return everybody that was found, whatever the verdict, by segmentation and in order.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    found: dict[int, list[PersonRow]] = {number: [] for number in segmentation_ids}
    with guarded_statement(connection):
        rows = connection.execute(
            "SELECT segmentation_id, box_xyxy, score, contours FROM people WHERE segmentation_id = ANY(%s)"
            " ORDER BY segmentation_id, person_index",
            (list(segmentation_ids),),
            binary=True,
        ).fetchall()
    for number, box, score, contours in rows:
        found[number].append(PersonRow(box_xyxy=tuple(box), score=score, contours=contours))
    return found


def _rules(filters: Filters) -> list[str]:
    return [rule for name, rule in _RULES.items() if getattr(filters, name) is not None]


def _keys(group_id: int, model_digest: str, filters: Filters) -> dict[str, Any]:
    return {**vars(filters), "statuses": list(filters.statuses), "group": group_id, "model": model_digest}


def _queued(row: tuple[Any, ...]) -> Queued:
    start = len(_QUEUED)
    review = Review(**dict(zip(_REVIEW, row[start:], strict=True)))
    return Queued(**dict(zip(_QUEUED, row[:start], strict=True)), review=review)
