"""The ledger of what was sent back to the picture service, a row for every time that a document was sent.

The row is written before the document is sent and ended by the service's receipt, or by why it was not taken. One that
was never ended says that nobody knows whether the document arrived: the service has to be asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import psycopg

from silhouette.database.connection import guarded_statement

LONGEST_FAILURE = 2000


@dataclass(frozen=True, kw_only=True)
class Post:
    """One row.

    Attributes:
        post_id: Its number.
        picture_id: Of the document.
        content_digest: Of the document.
        receipt: Of the service; empty while there is none.
        failure: Why the service did not take it; empty unless it said so.
        has_arrived: This document or an earlier one of the picture is at the service, or may be.
    """

    post_id: int
    picture_id: str
    content_digest: str
    receipt: str
    failure: str
    has_arrived: bool

    @property
    def in_doubt(self) -> bool:
        """Tell whether nobody knows what became of it."""
        return not self.receipt and not self.failure


@dataclass(frozen=True, kw_only=True)
class End:
    """What became of a document: a receipt, or why it was not taken.

    Attributes:
        post_id: The number of its row.
        receipt: Of the service; empty: it was not taken.
        failure: Why; empty with a receipt.
    """

    post_id: int
    receipt: str = ""
    failure: str = ""


def latest(connection: psycopg.Connection, *, service: str, picture_ids: Collection[str]) -> dict[str, Post]:
    """Return the last row of every picture that has one.

    Args:
        connection: To a migrated database.
        service: The service's address.
        picture_ids: Of which pictures.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            """
            SELECT DISTINCT ON (picture_id)
                id, picture_id, content_digest, receipt, failure, bool_or(failure = '') OVER (PARTITION BY picture_id)
            FROM ret_meta_posts
            WHERE service = %s AND picture_id = ANY(%s) ORDER BY picture_id, id DESC
            """,
            (service, list(picture_ids)),
        ).fetchall()
    names = [item.name for item in fields(Post)]
    return {row[1]: Post(**dict(zip(names, row, strict=True))) for row in rows}


def begin(connection: psycopg.Connection, *, service: str, content_digests: Mapping[str, str]) -> dict[str, int]:
    """Write that documents are about to be sent, in one statement; threads may share the connection.

    Args:
        connection: To a migrated database.
        service: The service's address.
        content_digests: Of the documents, by picture.

    Returns:
        The numbers of the rows, by picture.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    with guarded_statement(connection):
        rows = connection.execute(
            """
            INSERT INTO ret_meta_posts (service, picture_id, content_digest)
            SELECT %s, * FROM unnest(%s::text[], %s::text[]) RETURNING picture_id, id
            """,
            (service, list(content_digests), list(content_digests.values())),
        ).fetchall()
    return {picture_id: int(number) for picture_id, number in rows}


def end(connection: psycopg.Connection, ended: Sequence[End]) -> None:
    """Write what became of documents, in one statement; threads may share the connection.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    failures = [item.failure[:LONGEST_FAILURE].replace("\0", "") for item in ended]
    with guarded_statement(connection):
        connection.execute(
            """
            UPDATE ret_meta_posts SET ended_at = clock_timestamp(), receipt = ended.receipt, failure = ended.failure
            FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS ended (id, receipt, failure)
            WHERE ret_meta_posts.id = ended.id
            """,
            ([item.post_id for item in ended], [item.receipt for item in ended], failures),
        )
