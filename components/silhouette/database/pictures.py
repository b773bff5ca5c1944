"""Pictures: what is known of every picture that was fetched, so that none is fetched or opened twice.

A row means finished work: it is written after the bytes are in the store. The view ``quarantine`` shows the rows of
the pictures that were refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import Any

import psycopg

from silhouette.database.connection import guarded_statement


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """A picture that was fetched: where its bytes are, or why it was refused.

    Attributes:
        origin: Whose names `name` is unique among: ``service``, ``content`` or an ``s3://`` address.
        name: The picture's id at its origin; of ``content``, the SHA-256 of the bytes.
        picture_id: The id under which it was last fetched, for people.
        stamp: What the source said of its content: SHA-256 or ETag.
        etag: What the server said when it sent the bytes, for asking whether they changed; may be empty.
        sha256: Of the bytes; empty when none were kept.
        size_bytes: Of the bytes.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        object_key: Where the bytes are in the store; empty when it was refused.
        working_key: Where the smaller working copy is; empty when the picture is its own.
        working_width: Of the working copy, pixels; 0 without one.
        working_height: Of the working copy, pixels; 0 without one.
        phash: Perceptual hash, 64 bits as a signed integer.
        reason: Why it was refused, a short stable word; empty when it was not.
        detail: The reason in words.
        judged_by: The limits and the decoder by which it was judged, as text: others would judge again.
        store_id: Installation id of the bucket that got the bytes.
    """

    origin: str
    name: str
    picture_id: str
    stamp: str
    etag: str = ""
    sha256: str = ""
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    object_key: str = ""
    working_key: str = ""
    working_width: int = 0
    working_height: int = 0
    phash: int = 0
    reason: str = ""
    detail: str = ""
    judged_by: str
    store_id: str


_COLUMNS = [item.name for item in fields(PictureRecord)]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM pictures WHERE origin = %s AND name = ANY(%s)"  # noqa: S608  our names
_SELECT_CONTENT = f"""
    SELECT DISTINCT ON (sha256) {", ".join(_COLUMNS)} FROM pictures
    WHERE sha256 = ANY(%s) AND reason = '' ORDER BY sha256, fetched_at DESC
"""  # noqa: S608  our names
_NEW = [f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("origin", "name")]
_INSERT = f"INSERT INTO pictures ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"  # noqa: S608
_KEEP = f"{_INSERT} ON CONFLICT (origin, name) DO UPDATE SET {', '.join([*_NEW, 'fetched_at = now()'])}"


def known(connection: psycopg.Connection, *, origin: str, names: Collection[str]) -> dict[str, PictureRecord]:
    """Return what is known of the pictures, by name.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(_SELECT, (origin, list(names)), binary=True).fetchall()
    return {row[1]: PictureRecord(**dict(zip(_COLUMNS, row, strict=True))) for row in rows}


def known_by_content(connection: psycopg.Connection, *, sha256s: Collection[str]) -> dict[str, PictureRecord]:
    """Return one record of admitted bytes for each SHA-256 that is known, whatever name they came in under.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    if not sha256s:
        return {}
    with guarded_statement(connection):
        rows = connection.execute(_SELECT_CONTENT, (list(sha256s),), binary=True).fetchall()
    records = (PictureRecord(**dict(zip(_COLUMNS, row, strict=True))) for row in rows)
    return {record.sha256: record for record in records}


def with_contents(
    connection: psycopg.Connection, *, origin: str, sha256s: Collection[str]
) -> dict[tuple[str, str], str]:
    """Return the SHA-256 of the pictures of an origin that have one of these, by name and stamp.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            "SELECT name, stamp, sha256 FROM pictures WHERE origin = %s AND sha256 = ANY(%s)", (origin, list(sha256s))
        ).fetchall()
    return {(row[0], row[1]): row[2] for row in rows}


def write_often(connection: psycopg.Connection) -> None:
    """Let commits of this connection not wait for the disk, for a row a picture.

    A killed process loses nothing by it; a crash of the server itself may forget the last fraction of a second, and
    those pictures are fetched again.
    """
    with guarded_statement(connection):
        connection.execute("SET synchronous_commit = off")


def keep(connection: psycopg.Connection, record: PictureRecord) -> None:
    """Write what is known of a picture, over what was; threads may share the connection.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        connection.execute(_KEEP, _values(record))


def restore(connection: psycopg.Connection, records: Iterable[PictureRecord]) -> None:
    """Write many records that are not there yet; one that is there stays.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection), connection.cursor() as cursor:
        cursor.executemany(f"{_INSERT} ON CONFLICT (origin, name) DO NOTHING", map(_values, records))


def _values(record: PictureRecord) -> tuple[Any, ...]:
    return tuple(vars(record).values())
