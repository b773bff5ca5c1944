"""What became of documents: one by one, counted, told, and the end of a run when the service is down."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from silhouette.errors import ServiceError

_LOG = logging.getLogger(__name__)
_UNAVAILABLE_AT_MOST = 8  # in succession: then the service is down, and the rest would wait as long for nothing

POSTED, KNOWN, CHANGED, WITHOUT, BADLISTED, STALE = "posted", "known", "changed", "without", "badlisted", "stale"
_FINE = (POSTED, KNOWN, CHANGED, WITHOUT, BADLISTED)
_DOWN = ("unavailable", "in_doubt")


@dataclass(frozen=True, kw_only=True)
class PostRetMetaReport:
    """What a run did.

    Attributes:
        service: Where the documents went.
        groups: Whose pictures.
        dry_run: Nothing was sent.
        pictures: Of the groups.
        posted: Documents that arrived in this run, or would be sent.
        known: Documents that had arrived before.
        without_document: Pictures of which there is none.
        badlisted: Pictures that must not be used: nothing was sent of them.
        still_there: Of them, how many have a document at the service from before.
        failed: Documents that did not arrive, by reason.
        duration_s: Of the whole.
        documents_per_s: Posted.
    """

    service: str
    groups: list[str]
    dry_run: bool
    pictures: int
    posted: int
    known: int
    without_document: int
    badlisted: int
    still_there: int
    failed: dict[str, int]
    duration_s: float
    documents_per_s: float

    def require_all(self) -> None:
        """Raise when a document did not arrive.

        Raises:
            ServiceError: With how many and why.
        """
        if self.failed:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.failed.items()))
            raise ServiceError(
                f"every document must arrive, {sum(self.failed.values())} did not ({reasons}); each is named above, put"
                " right what is said there and run again: what has arrived is not sent again"
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a picture's document, in a word, and what is to be told of it."""

    picture_id: str
    what: str
    lines: Sequence[str] = ()


class Tally:
    """Counts outcomes, tells them, and gives up when the service is down."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.still_there = 0
        self._in_succession = 0

    def add(self, outcome: Outcome, *, tell: Callable[[str], object], where: str) -> None:
        """Count an outcome and tell it.

        Args:
            outcome: The next one.
            tell: Gets what would change at the service.
            where: The service in words.

        Raises:
            ServiceError: So many documents in succession did not get an answer that the service must be down.
        """
        what, name = outcome.what, outcome.picture_id
        self.outcomes[what] += 1
        shown = [text if text.isprintable() else repr(text) for text in (name, *outcome.lines)]  # of strangers
        if what == CHANGED:
            tell("\n    ".join(shown))
        elif outcome.lines:
            _LOG.warning("%s: %s", shown[0], "; ".join(shown[1:]))
        self.still_there += what == BADLISTED and bool(outcome.lines)
        if what not in _FINE:
            self.failed[what] += 1
        self._in_succession = self._in_succession + 1 if what in _DOWN else 0
        if self._in_succession >= _UNAVAILABLE_AT_MOST:
            raise ServiceError(
                f"{where} must answer, it did not for {self._in_succession} documents in succession; start it or"
                " correct SILHOUETTE_PICTURE_SERVICE_URL, then run again: what has arrived is not sent again"
            )
