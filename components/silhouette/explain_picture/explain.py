"""Gather what database and store know of one picture."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from silhouette.database import usable
from silhouette.database.picture_history import (
    Badlisted,
    Decided,
    Fetched,
    Labelled,
    PictureHistory,
    Posted,
    Seen,
    Twin,
    neighbours,
)
from silhouette.errors import InputError
from silhouette.explain_picture.found import Document, Found, Predicted, Quarantined, Trained
from silhouette.names import is_text

if TYPE_CHECKING:
    import psycopg

    from silhouette.store import Store

_NEAREST = 5


@dataclass(frozen=True, kw_only=True)
class Story:
    """One picture's whole way, step by step; every list is in the order of time where it has one."""

    picture_id: str
    fetched: list[Fetched]
    labelled: list[Labelled]
    quarantined: list[Quarantined]
    twins: list[Twin]
    badlisted: list[Badlisted]
    segmentations: list[Seen]
    decisions: list[Decided]
    trained: list[Trained]
    predicted: list[Predicted]
    document: Document | None
    posted: list[Posted]
    not_looked_at: list[str] = field(default_factory=list)


def explain(picture_id: str, *, store: Store, connection: psycopg.Connection) -> Story:
    """Gather a picture's way.

    Args:
        picture_id: Raw.
        store: Is read.
        connection: Is read; the rights of ``silhouette_read`` are enough.

    Raises:
        InputError: Nothing knows the picture.
        ServiceError: The store or PostgreSQL failed.
    """
    if not is_text(picture_id) or not picture_id:
        raise InputError(f"a picture id must be UTF-8 text, got {picture_id!r}; say it as the source does")
    history, found = PictureHistory(connection, picture_id), Found(store, picture_id)
    quarantined = found.quarantined(usable.groups(connection))
    predicted, document = found.predicted(), found.document()
    if not (history.is_known or quarantined or predicted or document):
        known = neighbours(connection, picture_id, count=_NEAREST)
        near = sorted(known, key=lambda one: -difflib.SequenceMatcher(None, picture_id, one).ratio())[:_NEAREST]
        raise InputError(
            f"a picture must be known, nothing knows {picture_id!r}; "
            + (
                f"nearest: {', '.join(map(repr, near))}"
                if near
                else "no picture has come in yet, run `silhouette download`"
            )
        )
    groups = {row.group for row in history.labelled}
    return Story(
        picture_id=picture_id, fetched=history.fetched, labelled=history.labelled, quarantined=quarantined,
        twins=history.twins, badlisted=history.badlisted, segmentations=history.seen, decisions=history.decided,
        trained=found.trained(groups), predicted=predicted, document=document, posted=history.posted,
        not_looked_at=found.not_looked_at,
    )  # fmt: skip
