"""What a run does to the records of pictures that were segmented before, and how it writes: all of a batch, or none.

Without further orders a picture that the model has seen is finished. `process_all` has those done again on which
nobody decided; a contour with a verdict is only done again when its picture is named, and then the verdict is taken
back first, by the reviewer, for everybody to see (`silhouette.database.reviews`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from silhouette.database import corrections, reviews, segmentations
from silhouette.database.connection import guarded, now
from silhouette.database.reviews import Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.errors import InputError

if TYPE_CHECKING:
    import psycopg

REDONE = "segmented again, as ordered"
APPROVED = "approved unseen, as ordered"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a run was told.

    Attributes:
        process_all: Do pictures again that the model has seen.
        mark_approved: Mark what this run finds as approved.
        redo_reviewed: Pictures, by id, that are done again whatever was decided about them.
        reviewer: Who gives these orders; needed for the last two.
    """

    process_all: bool = False
    mark_approved: bool = False
    redo_reviewed: Collection[str] = ()
    reviewer: str = ""

    def __post_init__(self) -> None:
        if (self.mark_approved or self.redo_reviewed) and not self.reviewer.strip():
            raise InputError("a verdict must have a reviewer, got none; say --reviewer NAME")


class Records:
    """The records of one model, as this run may change them.

    Args:
        connection: To a migrated database.
        model_digest: The segmenter's.
        orders: What may be done again.
        named: SHA-256 of the pictures of `Orders.redo_reviewed`.

    Raises:
        ServiceError: PostgreSQL went away.
    """

    def __init__(
        self, connection: psycopg.Connection, *, model_digest: str, orders: Orders, named: Collection[str] = ()
    ) -> None:
        self._connection, self._digest, self._orders, self._named = connection, model_digest, orders, frozenset(named)
        # what another worker of the same order did since then need not be done again
        self._began: datetime | None = None
        if orders.process_all or named:
            self._began = now(connection)

    def finished(self, sha256s: Collection[str]) -> set[str]:
        """Return those of the pictures on which nothing is left to do."""
        if self._began is None:
            return self._seen(sha256s)
        return segmentations.not_to_redo(
            self._connection,
            model_digest=self._digest,
            sha256s=sha256s,
            before=self._began,
            unchecked=self._orders.process_all,
            named=self._named,
        )

    def write(self, found: Sequence[Segmentation]) -> int:
        """Write a batch in one transaction and return how many of its pictures are ours.

        Raises:
            ReviewConflictError: Somebody changed a verdict at the same moment.
            ServiceError: PostgreSQL went away; nothing of the batch was kept.
        """
        sha256s = [item.picture_sha256 for item in found]
        with guarded(self._connection):
            if self._began is not None:
                self._make_room(sha256s, self._began)
            before = self._seen(sha256s) if self._orders.mark_approved else set()
            written = segmentations.add(self._connection, model_digest=self._digest, found=found)
            if self._orders.mark_approved:
                self._decide([sha256 for sha256 in sha256s if sha256 not in before], "approved", APPROVED)
        return written

    def _seen(self, sha256s: Collection[str]) -> set[str]:
        return segmentations.segmented(self._connection, model_digest=self._digest, sha256s=sha256s)

    def _make_room(self, sha256s: Sequence[str], began: datetime) -> None:
        """Remove what is to be done again; a verdict that came while we worked stays, unless its picture was named."""
        if named := [sha256 for sha256 in sha256s if sha256 in self._named]:
            self._decide(named, "unchecked", REDONE)
            corrections.take_back(
                self._connection, sha256s=named, before=began, reviewer=self._orders.reviewer, reason=REDONE
            )
        segmentations.remove_unchecked(self._connection, model_digest=self._digest, sha256s=sha256s, before=began)

    def _decide(self, sha256s: Sequence[str], status: reviews.Status, reason: str) -> None:
        current = reviews.read(self._connection, model_digest=self._digest, sha256s=sha256s)
        verdicts = [
            Verdict(
                picture_sha256=sha256,
                model_digest=self._digest,
                status=status,
                revision=review.revision,
                reviewer=self._orders.reviewer,
                reason=reason,
            )
            for sha256, review in sorted(current.items())
            if (review.status == "unchecked") != (status == "unchecked")  # give a verdict, or take one back
        ]
        reviews.decide(self._connection, verdicts)
