"""Fill in how doubtful a group's segmentations are, in the background, while the page already shows what is ready.

Scores come first, for they put a segmentation into the queue; then, where other models have seen the picture, how far
they agree. Everything is kept in PostgreSQL (`silhouette.database.doubts`), so it is computed once for all reviewers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from silhouette.database import doubts
from silhouette.database.doubts import Compared
from silhouette.errors import ServiceError
from silhouette.review.connections import Connections
from silhouette.review.drawing import agreement

_AT_ONCE = 100  # pictures whose contours are held at the same time
_EVERY_S = 10.0  # new segmentations are looked for; one small query when there are none
_REST = 10  # times as long as looking through a large group took, so that segmenting it at the same time is not slowed
_STOP_S = 5.0


class Preparation:
    """A thread that keeps a group prepared for the models that reviewers look at.

    Attributes:
        problem: Why it cannot go on at the moment, one line; empty when it can.

    Args:
        connections: To PostgreSQL.
        group_id: The group.
    """

    def __init__(self, connections: Connections, *, group_id: int) -> None:
        self.problem = ""
        self._connections, self._group_id = connections, group_id
        self._wanted: dict[str, int] = {}  # by model, the last segmentation that was there when it was prepared
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="preparation", daemon=True)

    def start(self) -> None:
        """Begin; it is stopped by `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the part that it is at; a database that hangs is not waited for."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_S)

    def want(self, model_digest: str) -> None:
        """Have a model's segmentations prepared, from now on."""
        if model_digest not in self._wanted:
            self._wanted[model_digest] = -1
            self._wake.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                newest = self._connections.run(doubts.newest)
                for model_digest, seen in list(self._wanted.items()):
                    if seen != newest and self.prepare(model_digest):
                        self._wanted[model_digest] = newest
                self.problem = ""
            except ServiceError as error:
                self.problem = str(error)
            self._wake.wait(max(_EVERY_S, _REST * (time.monotonic() - began)))
            self._wake.clear()

    def prepare(self, model_digest: str) -> bool:
        """Prepare what a model has segmented by now; return whether it came to the end.

        Raises:
            ServiceError: PostgreSQL went away; what was prepared stays.
        """
        if not all(self._parts(lambda after: self._score(model_digest, after))):
            return False
        others = self._connections.run(lambda connection: doubts.has_others(connection, model_digest=model_digest))
        return not others or all(self._parts(lambda after: self._compare(model_digest, after)))

    def _parts(self, step: Callable[[str], str]) -> Iterator[bool]:
        """Take step after step, each from where the one before ended; yield whether nobody said stop meanwhile."""
        after = step("")
        while after:
            yield not self._stop.is_set()
            after = step(after)

    def _score(self, model_digest: str, after: str) -> str:
        return self._connections.run(
            lambda connection: doubts.fill_scores(
                connection, group_id=self._group_id, model_digest=model_digest, after=after
            )
        )

    def _compare(self, model_digest: str, after: str) -> str:
        last, found = self._connections.run(
            lambda connection: doubts.to_compare(
                connection, group_id=self._group_id, model_digest=model_digest, after=after
            )
        )
        for start in range(0, len(found), _AT_ONCE):
            self._keep_agreement(found[start : start + _AT_ONCE])
        return last

    def _keep_agreement(self, found: Sequence[Compared]) -> None:
        numbers = [number for item in found for number in (item.segmentation_id, *item.others)]
        people = self._connections.run(lambda connection: doubts.contours_of(connection, numbers))
        agreed = {
            item.segmentation_id: (
                min(
                    agreement(people[item.segmentation_id], people[other], width=item.width, height=item.height)
                    for other in item.others
                ),
                item.others[-1],
            )
            for item in found
        }
        self._connections.run(lambda connection: doubts.keep_agreement(connection, agreed))
