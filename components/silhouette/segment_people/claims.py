"""Share a group between workers: each claims a batch of pictures in PostgreSQL before it works on it.

A claim is an advisory lock of the worker's own connection, so it needs no table and no clock: a worker that dies,
however it dies, gives its claims back with its connection. (A pooler that hands connections on after every
transaction breaks that: connect to the server itself.) Batches are the same for everybody who has the same pictures;
workers begin at different places, and what is done is asked again after a batch was claimed. A lock that fails to
hold others off costs work and nothing else: the tables keep a picture from being recorded twice.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette.contracts.dataset import PictureRow
from silhouette.database.connection import try_lock, unlock
from silhouette.errors import ServiceError

if TYPE_CHECKING:
    import psycopg

Finished = Callable[[Collection[str]], set[str]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A batch that is ours: the advisory lock's number, and the pictures that nobody has done."""

    lock: int
    rows: tuple[PictureRow, ...]


class Claims:
    """The batches of one run that still have something to do.

    Args:
        connection: In autocommit mode; it holds the claims.
        model_digest: The segmenter's; another one's batches are others.
        rows: Pictures, each sha256 once.
        finished: Returns those of the given sha256s on which nothing is left to do.
        size: Pictures a batch.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        *,
        model_digest: str,
        rows: Sequence[PictureRow],
        finished: Finished,
        size: int,
    ) -> None:
        self._connection, self._finished = connection, finished
        ordered = sorted(rows, key=lambda row: row.sha256)
        done = finished([row.sha256 for row in ordered])
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        left = [(_lock_of(model_digest, batch), batch) for batch in batches if any(r.sha256 not in done for r in batch)]
        first = secrets.randbelow(len(left)) if left else 0
        self._left = left[first:] + left[:first]
        self._held: set[int] = set()
        self.already_done = len(done)
        self.missing = len(ordered) - len(done)

    @property
    def any_left(self) -> bool:
        """Tell whether there are batches that we had no claim to yet."""
        return bool(self._left)

    def free(self) -> Iterator[Claim]:
        """Claim one batch after the other; those of others stay left, and may come back in the next round.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        for lock, batch in list(self._left):
            if not self._locked(lock):
                continue
            self._left.remove((lock, batch))
            done = self._finished([row.sha256 for row in batch])
            rows = tuple(row for row in batch if row.sha256 not in done)
            if rows:
                yield Claim(lock=lock, rows=rows)
            else:
                self.give_back(lock)

    def give_back(self, lock: int) -> None:
        """Let others have the batch; they see by the records whether it is finished.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        self._held.discard(lock)
        unlock(self._connection, lock)

    def close(self) -> None:
        """Give back what is still claimed; a connection that is gone has done so already."""
        with suppress(ServiceError):
            for lock in list(self._held):
                self.give_back(lock)

    def _locked(self, lock: int) -> bool:
        if not try_lock(self._connection, lock):
            return False
        self._held.add(lock)
        return True


def _lock_of(model_digest: str, batch: Sequence[PictureRow]) -> int:
    """Return a 64-bit number that says which pictures and which model."""
    text = " ".join([model_digest, *(row.sha256 for row in batch)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
