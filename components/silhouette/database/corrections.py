"""Corrections: contours that a person drew, which later steps take instead of a model's.

A correction is a segmentation with an author (`versions/0005_corrections.py`). It counts while it is ``approved`` or
``nobody``; of one picture at most one does. A new one retires the one before, which stays with its people and its
history, and rejects the segmentation that it corrects, so that whoever looks at that one sees that it was corrected.
Taken back or rejected, a correction counts no more and the models' own verdicts hold again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import psycopg

from silhouette.database import reviews
from silhouette.database.connection import guarded
from silhouette.database.people import PersonRow, copy_people
from silhouette.database.reviews import ReviewConflictError, Status, Verdict

_COUNTS = "author <> '' AND status IN ('approved', 'nobody')"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A segmentation of a picture, a model's or a person's, as it is now.

    Attributes:
        segmentation_id: Its number in this database.
        picture_sha256: Of the picture's bytes.
        model_digest: The segmenter's; of a correction, its content's.
        author: Who drew it; empty: a model did.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        status: Its verdict.
        revision: How often the status was changed.
        reviewer: Who changed it last; empty when nobody did.
        status_at: Since when it has this status.
    """

    segmentation_id: int
    picture_sha256: str
    model_digest: str
    author: str
    width: int
    height: int
    status: Status
    revision: int
    reviewer: str
    status_at: datetime


_COLUMNS = [item.name for item in fields(Version)]
_VERSION = ", ".join(_COLUMNS).replace("segmentation_id", "id")


def versions(connection: psycopg.Connection, *, segmentation_ids: Collection[int]) -> dict[int, Version]:
    """Return those of the segmentations that there still are, by number.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            f"SELECT {_VERSION} FROM segmentations WHERE id = ANY(%s::bigint[])",  # noqa: S608  our names
            (list(segmentation_ids),),
        ).fetchall()
    return {row[0]: _version(row) for row in rows}


def counting(connection: psycopg.Connection, *, sha256s: Collection[str]) -> dict[str, Version]:
    """Return the corrections of the pictures that count, by sha256.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            f"SELECT {_VERSION} FROM segmentations WHERE picture_sha256 = ANY(%s) AND {_COUNTS}",  # noqa: S608
            (list(sha256s),),
        ).fetchall()
    return {row[1]: _version(row) for row in rows}


def _version(row: tuple[object, ...]) -> Version:
    return Version(**dict(zip(_COLUMNS, row, strict=True)))  # type: ignore[arg-type]


def people_of(connection: psycopg.Connection, *, segmentation_ids: Collection[int]) -> dict[int, list[PersonRow]]:
    """Return the people of segmentations in their order; one without people has no entry.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        rows = connection.execute(
            """
            SELECT segmentation_id, box_xyxy, score, contours FROM people
            WHERE segmentation_id = ANY(%s::bigint[]) ORDER BY segmentation_id, person_index
            """,
            (list(segmentation_ids),),
            binary=True,
        ).fetchall()
    found: dict[int, list[PersonRow]] = {}
    for number, box, score, contours in rows:
        found.setdefault(number, []).append(PersonRow(box_xyxy=tuple(box), score=score, contours=contours))
    return found


def digest_of(*, picture_sha256: str, author: str, people: Sequence[PersonRow]) -> str:
    """Return what a correction has in place of a model's digest: the same content of the same author is the same."""
    digest = hashlib.sha256(f"correction 1\n{picture_sha256}\n{author}\n".encode())
    for packed in sorted(person.contours for person in people):
        digest.update(hashlib.sha256(packed).digest())
    return digest.hexdigest()


def add(
    connection: psycopg.Connection,
    *,
    corrects: Version,
    replaces: Version | None,
    author: str,
    people: Sequence[PersonRow],
    reason: str,
) -> str:
    """Record a correction as the version of its picture that counts, in one transaction.

    Args:
        connection: To a migrated database.
        corrects: What the author saw and corrected, as the caller knows it; it becomes ``rejected``.
        replaces: The correction that counted until now, as the caller knows it; None: there was none.
        author: Who drew it.
        people: Whom; nobody makes it ``nobody``.
        reason: For the audit: where it comes from.

    Returns:
        Its digest.

    Raises:
        ReviewConflictError: Somebody decided, or handed in a correction, at the same moment; nothing was kept.
        ServiceError: PostgreSQL went away; nothing was kept.
    """
    digest = digest_of(picture_sha256=corrects.picture_sha256, author=author, people=people)
    try:
        with guarded(connection):
            outdated = {item.segmentation_id: item for item in (corrects, replaces) if item}
            for item in sorted(outdated.values(), key=lambda version: version.segmentation_id):
                status: Status = "unchecked" if item.author else "rejected"
                if item.model_digest != digest and item.status != status:
                    _decide(connection, item, status, author, f"corrected: {reason}")
            _insert(connection, corrects, digest, author, people)
            (now,) = reviews.read(connection, model_digest=digest, sha256s=[corrects.picture_sha256]).values()
            verdict = Verdict(
                picture_sha256=corrects.picture_sha256, model_digest=digest, status="approved" if people else "nobody",
                revision=now.revision, reviewer=author, reason=reason,
            )  # fmt: skip
            reviews.decide(connection, [verdict])
    except psycopg.errors.UniqueViolation:
        raise ReviewConflictError(
            f"a correction must be on what its author saw, of picture {corrects.picture_sha256[:12]} another was handed"
            " in at the same moment; look at it again"
        ) from None
    return digest


def take_back(
    connection: psycopg.Connection, *, sha256s: Collection[str], before: datetime, reviewer: str, reason: str
) -> None:
    """Let corrections from before count no more, as somebody ordered.

    Raises:
        ReviewConflictError: Somebody changed one at the same moment.
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        for _, item in sorted(counting(connection, sha256s=sha256s).items()):
            if item.status_at < before:
                _decide(connection, item, "unchecked", reviewer, reason)


def _insert(
    connection: psycopg.Connection, corrects: Version, digest: str, author: str, people: Sequence[PersonRow]
) -> None:
    """Add it, unless the same was handed in before and only has to count again."""
    row = connection.execute(
        """
        INSERT INTO segmentations (picture_sha256, model_digest, width, height, people_count, author)
        VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (picture_sha256, model_digest) DO NOTHING RETURNING id
        """,
        (corrects.picture_sha256, digest, corrects.width, corrects.height, len(people), author),
    ).fetchone()
    if row is not None:
        copy_people(connection, [(row[0], tuple(people))])


def _decide(connection: psycopg.Connection, item: Version, status: Status, reviewer: str, reason: str) -> None:
    verdict = Verdict(
        picture_sha256=item.picture_sha256, model_digest=item.model_digest, status=status, revision=item.revision,
        reviewer=reviewer, reason=reason,
    )  # fmt: skip
    reviews.decide(connection, [verdict])
