"""The documents that came back to the reference picture service, kept in a file of SQLite that outlives it.

A row for every document that was taken; a picture's latest counts. Taking the same content again changes nothing.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

DOCUMENTS_NAME = "ret_meta.sqlite3"
_TABLE = """
CREATE TABLE IF NOT EXISTS returned (
    id INTEGER PRIMARY KEY, picture_id TEXT NOT NULL, receipt TEXT NOT NULL, content_digest TEXT NOT NULL,
    at TEXT NOT NULL, document BLOB NOT NULL
)
"""
_LATEST = "SELECT receipt, content_digest, at, document FROM returned WHERE picture_id = ? ORDER BY id DESC LIMIT 1"
_KEEP = "INSERT INTO returned (picture_id, receipt, content_digest, at, document) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, kw_only=True)
class Received:
    """A document as it was taken, with its receipt and the time, UTC."""

    receipt: str
    content_digest: str
    at: str
    document: bytes


class ReturnedDocuments:
    """The file; threads may share it.

    Args:
        path: Made, with its folder, when the first document comes.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def latest(self, picture_id: str) -> Received | None:
        """Return the document that there is of a picture."""
        if not self._path.exists():
            return None
        with self._opened() as connection:
            return _latest(connection, picture_id)

    def take(self, picture_id: str, content_digest: str, document: bytes) -> tuple[Received, bool]:
        """Keep a document unless it is there, and return it as it is kept, and whether it is new."""
        with self._opened() as connection:
            there = _latest(connection, picture_id)
            if there and there.content_digest == content_digest:
                return there, False
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            taken = Received(receipt=secrets.token_hex(8), content_digest=content_digest, at=at, document=document)
            connection.execute(_KEEP, (picture_id, taken.receipt, content_digest, at, document))
            return taken, True

    def counts(self) -> dict[str, int]:
        """Return how many documents of every picture were ever taken."""
        with self._opened() as connection:
            return dict(connection.execute("SELECT picture_id, count(*) FROM returned GROUP BY picture_id"))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
            connection.execute(_TABLE)
            connection.execute("CREATE INDEX IF NOT EXISTS by_picture ON returned (picture_id, id)")
            yield connection


def _latest(connection: sqlite3.Connection, picture_id: str) -> Received | None:
    row = connection.execute(_LATEST, (picture_id,)).fetchone()
    return Received(receipt=row[0], content_digest=row[1], at=row[2], document=row[3]) if row else None
