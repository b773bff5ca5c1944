"""People: contours of every person on a segmented picture, written by COPY, read by picture."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import psycopg

from silhouette.database.connection import guarded

PICTURES_PER_QUERY = 5000
# Binary COPY as PostgreSQL's documentation of COPY has it: a head, rows, an end. A row is the number of its fields,
# and each field behind its length; an array has dimensions, a null flag, its type's number, length and lower bound.
_COPY_HEAD, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_ROW = struct.Struct("!hiqii iiiIii ifififif ifi")
_FLOAT4 = 700


@dataclass(frozen=True, kw_only=True)
class PersonRow:
    """One person: the box in pixels of the upright picture, the score 0 to 1, and encoded contours."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    contours: bytes


@dataclass(frozen=True, kw_only=True)
class FoundPerson:
    """A person joined with its picture and review status; `person` is None where nobody is.

    That is where the model found nobody, and where a reviewer verified that nobody is there (``nobody``). `author` drew
    the people, and `model_digest` is that of the drawing; without an author it is the segmenter's.
    """

    picture_sha256: str
    model_digest: str
    author: str
    width: int
    height: int
    status: str
    person_index: int | None
    person: PersonRow | None


def copy_people(connection: psycopg.Connection, segmentations: Iterable[tuple[int, tuple[PersonRow, ...]]]) -> None:
    """Write the people of new segmentations; the caller holds the transaction.

    Args:
        connection: An open connection.
        segmentations: Pairs of a segmentation's id and its people, who are numbered from 0.
    """
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY people (segmentation_id, person_index, box_xyxy, score, contours) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.write(_COPY_HEAD)
        for segmentation_id, people in segmentations:
            copy.write(b"".join(_packed(segmentation_id, index, person) for index, person in enumerate(people)))
        copy.write(_COPY_END)


def _packed(segmentation_id: int, index: int, person: PersonRow) -> bytes:
    """Pack a row of binary COPY at once; psycopg does it value by value, which takes five times as long."""
    x0, y0, x1, y1 = person.box_xyxy
    return (
        _ROW.pack(
            5, 8, segmentation_id, 4, index,
            52, 1, 0, _FLOAT4, 4, 1, 4, x0, 4, y0, 4, x1, 4, y1,
            4, person.score, len(person.contours),
        )
        + person.contours
    )  # fmt: skip


def read_people(
    connection: psycopg.Connection, *, model_digest: str, sha256s: Collection[str]
) -> Iterator[FoundPerson]:
    """Yield everybody on the pictures, in the order of sha256 and person.

    That is whom the model found, or, where a correction counts (`silhouette.database.corrections`), whom its author
    drew, whether the model has seen the picture or not. What was found on a picture that was verified to have nobody
    on it is passed over. All reads see one state of the database, however long they take.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ordered = sorted(set(sha256s))
        for start in range(0, len(ordered), PICTURES_PER_QUERY):
            rows = connection.execute(
                """
                WITH corrected AS (
                    SELECT id, picture_sha256 FROM segmentations
                    WHERE picture_sha256 = ANY(%(sha256s)s) AND author <> '' AND status IN ('approved', 'nobody')
                ), chosen AS (
                    SELECT id FROM corrected
                    UNION ALL
                    SELECT id FROM segmentations s
                    WHERE model_digest = %(model)s AND picture_sha256 = ANY(%(sha256s)s)
                        AND NOT EXISTS (SELECT FROM corrected c WHERE c.picture_sha256 = s.picture_sha256)
                )
                SELECT s.picture_sha256, s.model_digest, s.author, s.width, s.height, s.status,
                    p.person_index, p.box_xyxy, p.score, p.contours
                FROM chosen
                    JOIN segmentations s USING (id)
                    LEFT JOIN people p ON p.segmentation_id = s.id AND s.status <> 'nobody'
                ORDER BY s.picture_sha256, p.person_index
                """,
                {"model": model_digest, "sha256s": ordered[start : start + PICTURES_PER_QUERY]},
                binary=True,
            ).fetchall()
            for sha256, model, author, width, height, status, index, box, score, contours in rows:
                person = None if index is None else PersonRow(box_xyxy=tuple(box), score=score, contours=contours)
                yield FoundPerson(
                    picture_sha256=sha256, model_digest=model, author=author, width=width, height=height, status=status,
                    person_index=index, person=person,
                )  # fmt: skip
