"""Reviews: what a marker decided about a segmentation, by whom and why, and every decision before.

The tables themselves hold off what must not be (`versions/0003_reviews.py`); here is how a client asks. A verdict
names the revision that the marker saw: when another was quicker it is refused, and nothing is overwritten unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import psycopg

from silhouette.database.connection import guarded
from silhouette.errors import InputError

Status = Literal["unchecked", "approved", "rejected", "nobody"]
STATUSES: tuple[Status, ...] = get_args(Status)
_LONGEST_REVIEWER, _LONGEST_REASON = 200, 2000


class ReviewConflictError(InputError):
    """Refuse a verdict on a segmentation that another reviewer changed in the meantime."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """A segmentation's status as it is now.

    Attributes:
        picture_sha256: Of the picture's bytes.
        model_digest: The segmenter's, with its settings.
        status: ``unchecked``, ``approved``, ``rejected``, or ``nobody``: verified that no person is on the picture;
            people that the segmenter found there count for nothing.
        revision: How often the status was changed; a verdict has to name it.
        reviewer: Who changed it last; empty when nobody did.
        reason: Why; may be empty.
        status_at: Since when it has this status.
        people_count: People that the segmenter found.
    """

    picture_sha256: str
    model_digest: str
    status: Status
    revision: int
    reviewer: str
    reason: str
    status_at: datetime
    people_count: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reviewer decided.

    Attributes:
        picture_sha256: Of the picture's bytes.
        model_digest: The segmenter's, with its settings.
        status: The new one; ``unchecked`` takes a verdict back.
        revision: The one that the reviewer saw.
        reviewer: Who decided.
        reason: Needed for ``rejected``, and to change a verdict that is there.
    """

    picture_sha256: str
    model_digest: str
    status: Status
    revision: int
    reviewer: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One row of the audit: `login` is the database's user, `reviewer` is who the client said it was."""

    picture_sha256: str
    model_digest: str
    revision: int
    at: datetime
    from_status: Status
    to_status: Status
    reviewer: str
    reason: str
    login: str


_REVIEW = "picture_sha256, model_digest, status, revision, reviewer, reason, status_at, people_count"
_CHANGE = "picture_sha256, model_digest, revision, at, from_status, to_status, reviewer, reason, login"


def read(connection: psycopg.Connection, *, model_digest: str, sha256s: Collection[str]) -> dict[str, Review]:
    """Return the reviews of those pictures that the model has seen, by sha256.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            f"SELECT {_REVIEW} FROM segmentations WHERE model_digest = %s AND picture_sha256 = ANY(%s)",  # noqa: S608
            (model_digest, list(sha256s)),
        ).fetchall()
    return {row[0]: _review(row) for row in rows}


def decide(connection: psycopg.Connection, verdicts: Iterable[Verdict]) -> list[Review]:
    """Record verdicts, all of them or none, and return the reviews as they are now, in the order of the verdicts.

    Raises:
        InputError: A verdict lacks a reviewer or a needed reason, or its segmentation does not exist.
        ReviewConflictError: Somebody changed one of the segmentations after it was seen.
        ServiceError: PostgreSQL went away.
    """
    given = [_checked(verdict) for verdict in verdicts]
    # in one order, so that two reviewers wait for one another and never in a circle
    order = sorted(range(len(given)), key=lambda index: (given[index].picture_sha256, given[index].model_digest))
    done: dict[int, Review] = {}
    with guarded(connection):
        for index in order:
            done[index] = _decide(connection, given[index])
    return [done[index] for index in range(len(given))]


def history(connection: psycopg.Connection, *, picture_sha256: str) -> list[StatusChange]:
    """Return every change of status on a picture, whichever model segmented it, oldest first.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            f"SELECT {_CHANGE} FROM status_changes WHERE picture_sha256 = %s ORDER BY at, revision",  # noqa: S608
            (picture_sha256,),
        ).fetchall()
    return [StatusChange(**dict(zip(_CHANGE.split(", "), row, strict=True))) for row in rows]


def _review(row: tuple[object, ...]) -> Review:
    return Review(**dict(zip(_REVIEW.split(", "), row, strict=True)))  # type: ignore[arg-type]


def _checked(verdict: Verdict) -> Verdict:
    picture = verdict.picture_sha256[:12]
    if verdict.status not in STATUSES:
        raise InputError(f"a status must be one of {', '.join(STATUSES)}, got {verdict.status!r}; correct it")
    if not verdict.reviewer.strip() or len(verdict.reviewer) > _LONGEST_REVIEWER or "\0" in verdict.reviewer:
        raise InputError(
            f"a verdict must name its reviewer in 1 to {_LONGEST_REVIEWER} characters, that on picture {picture} has"
            f" {verdict.reviewer[:_LONGEST_REVIEWER]!r}; say who decided"
        )
    if len(verdict.reason) > _LONGEST_REASON or "\0" in verdict.reason:
        raise InputError(
            f"a reason must have at most {_LONGEST_REASON} characters and no NUL, that on picture {picture} has"
            f" {len(verdict.reason)}; shorten it"
        )
    if verdict.status == "rejected" and not verdict.reason.strip():
        raise InputError(f"a rejection must have a reason, that of picture {picture} has none; say what is wrong")
    return verdict


def _decide(connection: psycopg.Connection, verdict: Verdict) -> Review:
    try:
        row = connection.execute(
            f"""
            UPDATE segmentations
            SET status = %s, reviewer = %s, reason = %s, revision = revision + 1
            WHERE picture_sha256 = %s AND model_digest = %s AND revision = %s
            RETURNING {_REVIEW}
            """,  # noqa: S608  our names
            (
                verdict.status, verdict.reviewer, verdict.reason,
                verdict.picture_sha256, verdict.model_digest, verdict.revision,
            ),
        ).fetchone()  # fmt: skip
    except psycopg.errors.CheckViolation as error:
        raise InputError(error.diag.message_primary or str(error)) from error
    if row is not None:
        return _review(row)
    now = connection.execute(
        f"SELECT {_REVIEW} FROM segmentations WHERE picture_sha256 = %s AND model_digest = %s",  # noqa: S608
        (verdict.picture_sha256, verdict.model_digest),
    ).fetchone()
    picture = verdict.picture_sha256[:12]
    if now is None:
        raise InputError(
            f"a verdict must be on a segmentation, model {verdict.model_digest[:12]} has none of picture {picture};"
            " run segment_people first"
        )
    found = _review(now)
    raise ReviewConflictError(
        f"a verdict must be on what the reviewer saw, revision {verdict.revision} of picture {picture}:"
        f" {found.reviewer or 'somebody'} made it {found.status} in revision {found.revision}; look at it again"
    )
