"""The ledger's rows of the documents on their way, many in a statement: one each would take as long as the service.

Reads and writes `silhouette.database.posts`. What makes a document arrive once is the order, and it is kept: its row is
there before it is sent. Receipts that were not written yet when a run is killed are asked for by the next one; of a run
that ends by itself early, the rows whose documents had no turn are ended as such.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from silhouette.database import posts
from silhouette.database.posts import End
from silhouette.picture_source.listing import in_batches
from silhouette.post_ret_meta.candidates import Ready
from silhouette.post_ret_meta.outcomes import Outcome

if TYPE_CHECKING:
    import psycopg

ROWS = 16
_LATEST_S = 1.0


class Ledger:
    """Begins rows before their documents are sent, and ends them some at a time; the last ones when it is left.

    Args:
        connection: To PostgreSQL.
        service: The address that the documents go to.
    """

    def __init__(self, connection: psycopg.Connection, *, service: str) -> None:
        self._connection, self._service = connection, service
        self._ended: deque[End] = deque()  # senders append, and one thread takes
        self._unsent: set[int] = set()
        self._written = time.monotonic()

    def begun(self, documents: Iterable[Ready | Outcome]) -> Iterator[tuple[Ready | Outcome, int]]:
        """Yield documents with the numbers of their rows, when these are committed; 0 where nothing is to be sent.

        A document that was on its way when an earlier run ended goes on in that run's row.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        for part in in_batches(documents, ROWS):
            new = [item for item in part if isinstance(item, Ready) and not item.is_known and not item.in_doubt]
            numbers = self.begin(new)
            self._unsent.update(numbers.values())
            for item in part:
                if isinstance(item, Outcome) or item.is_known:
                    yield item, 0
                else:
                    before = item.before.post_id if item.before and item.in_doubt else 0
                    yield item, before or numbers[item.document.picture.picture_id]

    def begin(self, documents: Iterable[Ready]) -> dict[str, int]:
        """Write that documents are about to be sent; return the numbers of the rows by picture.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        digests = {item.document.picture.picture_id: item.document.content_digest for item in documents}
        return posts.begin(self._connection, service=self._service, content_digests=digests) if digests else {}

    def sending(self, post_id: int) -> None:
        """Remember that a document has its turn: from now on nobody knows; threads may call it."""
        self._unsent.discard(post_id)

    def end(self, post_id: int, *, receipt: str = "", failure: str = "") -> None:
        """Remember what became of a document; threads may call it."""
        self._ended.append(End(post_id=post_id, receipt=receipt, failure=failure))

    def write(self, *, all_of_it: bool = False) -> None:
        """Write what became of documents, when it is enough for a statement or old enough.

        Raises:
            ServiceError: PostgreSQL went away.
        """
        if all_of_it or len(self._ended) >= ROWS or time.monotonic() - self._written > _LATEST_S:
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            if ended:
                posts.end(self._connection, ended)
            self._written = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._connection.closed:
            for post_id in self._unsent:
                self.end(post_id, failure="unsent: the run ended before its turn")
            self.write(all_of_it=True)
