"""What the database knows of one picture, each by an index: a million others cost nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

import psycopg

from silhouette.database.connection import guarded_statement

MOST_ROWS = 200  # of each kind; no picture of people has more

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Bytes that came in; with a `reason` they were refused. `picture_id`: the last id under which they came."""

    picture_id: str
    origin: str
    fetched_at: datetime
    sha256: str
    size_bytes: int
    width: int
    height: int
    object_key: str
    working_key: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a group says of the picture, from when until when; None: it still does."""

    group: str
    label: str
    sha256: str
    pixset_id: str
    split: str
    seen_at: datetime
    withdrawn_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Twin:
    """The same bytes under another id."""

    picture_id: str
    group: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Badlisted:
    """An entry of the badlist that takes the picture with it: its own, or of an id with the same bytes."""

    picture_id: str
    added_at: datetime
    added_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A segmentation: a model's, or with an `author` a correction."""

    segmentation_id: int
    sha256: str
    model_digest: str
    author: str
    created_at: datetime
    people: int
    status: str
    status_at: datetime
    reviewer: str
    reason: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A change of a segmentation's status."""

    segmentation_id: int
    at: datetime
    from_status: str
    to_status: str
    reviewer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A document that was sent to the service; not ended: nobody knows whether it arrived."""

    service: str
    content_digest: str
    begun_at: datetime
    ended_at: datetime | None
    receipt: str
    failure: str


_FETCHED = """
    SELECT picture_id, origin, fetched_at, sha256, size_bytes, width, height, object_key, working_key, reason, detail
    FROM pictures
"""
FETCHED = f"""
    {_FETCHED} WHERE picture_id = %(id)s UNION {_FETCHED} WHERE sha256 = ANY(%(sha256s)s) ORDER BY 3 LIMIT %(most)s
"""
LABELLED = """
    SELECT name, label, picture_sha256, pixset_id, split, seen_at, withdrawn_at
    FROM labels JOIN groups ON groups.id = labels.group_id WHERE picture_id = %(id)s ORDER BY seen_at LIMIT %(most)s
"""
TWINS = """
    SELECT l.picture_id, g.name, l.label FROM groups g CROSS JOIN LATERAL (
        SELECT picture_id, label FROM labels
        WHERE group_id = g.id AND withdrawn_at IS NULL AND picture_sha256 = ANY(%(sha256s)s) AND picture_id <> %(id)s
        LIMIT %(most)s
    ) l ORDER BY 1, 2 LIMIT %(most)s
"""
_ENTRY = "SELECT b.picture_id, b.added_at, b.added_by, b.reason FROM badlist b"
BADLISTED = f"""
    {_ENTRY} WHERE picture_id = %(id)s
    UNION {_ENTRY} CROSS JOIN LATERAL (
        SELECT FROM labels l WHERE l.picture_id = b.picture_id AND l.picture_sha256 = ANY(%(sha256s)s) LIMIT 1
    ) same_bytes
    UNION {_ENTRY} JOIN pictures p USING (picture_id) WHERE p.sha256 = ANY(%(sha256s)s)
    ORDER BY 2 LIMIT %(most)s
"""
SEEN = """
    SELECT id, picture_sha256, model_digest, author, created_at, people_count, status, status_at, reviewer, reason,
        revision
    FROM segmentations WHERE picture_sha256 = ANY(%(sha256s)s) ORDER BY created_at, id LIMIT %(most)s
"""
DECIDED = """
    SELECT segmentation_id, at, from_status, to_status, reviewer, reason
    FROM status_changes WHERE picture_sha256 = ANY(%(sha256s)s) ORDER BY at, revision LIMIT %(most)s
"""
POSTED = """
    SELECT service, content_digest, begun_at, ended_at, receipt, failure
    FROM ret_meta_posts WHERE picture_id = %(id)s ORDER BY id DESC LIMIT %(most)s
"""


class PictureHistory:
    """The rows of one picture.

    Args:
        connection: To a migrated database; the rights of ``silhouette_read`` are enough.
        picture_id: Raw.

    Raises:
        ServiceError: PostgreSQL went away.
    """

    def __init__(self, connection: psycopg.Connection, picture_id: str) -> None:
        self._connection = connection
        self._known: dict[str, Any] = {"id": picture_id, "sha256s": [], "most": MOST_ROWS}
        self.labelled = self._rows(Labelled, LABELLED)
        own = self._rows(Fetched, FETCHED)
        self.sha256s = sorted(({row.sha256 for row in self.labelled} | {row.sha256 for row in own}) - {""})
        self._known["sha256s"] = self.sha256s
        self.fetched = self._rows(Fetched, FETCHED)
        self.twins = self._rows(Twin, TWINS)
        self.badlisted = self._rows(Badlisted, BADLISTED)
        self.seen = self._rows(Seen, SEEN)
        self.decided = self._rows(Decided, DECIDED)
        self.posted = self._rows(Posted, POSTED)[::-1]

    @property
    def is_known(self) -> bool:
        """Tell whether there is any row of it."""
        return bool(self.labelled or self.fetched or self.badlisted or self.posted)

    def _rows(self, kind: type[T], statement: str) -> list[T]:
        names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
        with guarded_statement(self._connection):
            rows = self._connection.execute(statement, self._known).fetchall()
        return [kind(**dict(zip(names, row, strict=True))) for row in rows]


def neighbours(connection: psycopg.Connection, picture_id: str, *, count: int) -> Collection[str]:
    """Return known ids right before and after where an id, or its beginning, would be in their order.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    found: set[str] = set()
    length = len(picture_id)
    for start in {picture_id, picture_id[: length - 1], picture_id[: length - 2], picture_id[: length // 2]}:
        for table in ("labels", "pictures"):
            for comparison, order in ((">=", "ASC"), ("<", "DESC")):
                with guarded_statement(connection):
                    rows = connection.execute(
                        f"SELECT picture_id FROM {table} WHERE picture_id {comparison} %s"  # noqa: S608  our names
                        f" ORDER BY picture_id {order} LIMIT %s",
                        (start, count),
                    ).fetchall()
                found |= {row[0] for row in rows}
    return found
