"""What a reviewer of a group sees and does; knows nothing of HTTP.

A verdict names the revision that its reviewer saw. One that comes too late is refused and told with who decided what
and when; one that is sent twice, because the answer got lost, is found to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from silhouette.database import groups, review_queue, reviews
from silhouette.database.groups import GroupModel
from silhouette.database.review_queue import Filters, Order, Place, QueueCount, Queued
from silhouette.database.reviews import Review, ReviewConflictError, Status, StatusChange, Verdict
from silhouette.errors import InputError, ServiceError
from silhouette.review import drawing

if TYPE_CHECKING:
    import psycopg

    from silhouette.database.people import PersonRow
    from silhouette.review.asking import SeenPicture, UndonePicture
    from silhouette.review.connections import Connections

    VerdictOf = Callable[[psycopg.Connection, SeenPicture], Verdict]

UNDONE = "undone by its reviewer"
MOST_LISTED = 5000  # pictures in one answer of `Desk.fitting`
REASONS = (
    "outline misses a part of the person",
    "outline covers what is not the person",
    "a person is missing",
    "two people in one outline",
    "what is outlined is no person",
    "the picture is of no use",
)


@dataclass(frozen=True, kw_only=True)
class Named:
    """An id of a picture in the group, with its label there."""

    picture_id: str
    label: str


@dataclass(frozen=True, kw_only=True)
class DrawnPerson:
    """A person as the page draws it: box and score, and the ``d`` of an SVG path; empty when contours are damaged."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    path: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture in the grid."""

    queued: Queued
    names: tuple[Named, ...]
    people: tuple[DrawnPerson, ...]


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A picture in the large view: every point of its contours, and every verdict on it."""

    card: Card
    changes: tuple[StatusChange, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the queue; `after` is where the next one begins, None at the end."""

    cards: tuple[Card, ...]
    after: Place | None


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """A picture that fits the filters: what a verdict on it has to name."""

    sha256: str
    revision: int
    status: Status


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one verdict.

    Attributes:
        sha256: The picture's.
        outcome: ``done``, ``conflict`` (another reviewer was quicker), ``refused`` (it breaks a rule) or ``unsaved``
            (PostgreSQL went away; it may be sent again).
        message: One line; empty when it is done.
        review: As it is now, where that is known.
    """

    sha256: str
    outcome: str
    message: str = ""
    review: Review | None = None


class Desk:
    """The reviews of one group; safe to share between threads.

    Args:
        connections: To PostgreSQL.
        group: Its name.
        group_id: Its number.
    """

    def __init__(self, connections: Connections, *, group: str, group_id: int) -> None:
        self.group = group
        self._connections, self._group_id = connections, group_id

    def models(self) -> list[GroupModel]:
        """Return the models that have seen pictures of the group, the latest first."""
        return self._connections.run(lambda connection: groups.models_of(connection, self._group_id))

    def labels(self) -> list[str]:
        """Return the labels of the group."""
        return self._connections.run(lambda connection: review_queue.labels_of(connection, self._group_id))

    def count(self, *, model_digest: str, filters: Filters) -> QueueCount:
        """Count what there is, by status."""
        return self._connections.run(
            lambda connection: review_queue.count(
                connection, group_id=self._group_id, model_digest=model_digest, filters=filters
            )
        )

    def page(self, *, model_digest: str, filters: Filters, order: Order, after: Place | None, limit: int) -> Page:
        """Return a page of the queue."""

        def look(connection: psycopg.Connection) -> Page:
            found = review_queue.page(
                connection, group_id=self._group_id, model_digest=model_digest, filters=filters, order=order,
                after=after, limit=limit + 1,
            )  # fmt: skip
            cards = self._cards(connection, found[:limit], exact=False)
            return Page(cards=tuple(cards), after=found[limit - 1].place if len(found) > limit else None)

        return self._connections.run(look)

    def fitting(
        self, *, model_digest: str, filters: Filters, after: Place | None
    ) -> tuple[list[Fitting], Place | None]:
        """Return the next `MOST_LISTED` pictures that fit, without what is drawn of them, and where the next begin."""
        found = self._connections.run(
            lambda connection: review_queue.page(
                connection, group_id=self._group_id, model_digest=model_digest, filters=filters, order="doubtful",
                after=after, limit=MOST_LISTED + 1,
            )
        )  # fmt: skip
        given = [item.review for item in found[:MOST_LISTED]]
        listed = [Fitting(sha256=one.picture_sha256, revision=one.revision, status=one.status) for one in given]
        return listed, found[MOST_LISTED - 1].place if len(found) > MOST_LISTED else None

    def detail(self, *, model_digest: str, sha256: str) -> Detail:
        """Return one picture with all that is known of its review.

        Raises:
            InputError: It is not in the group, not prepared, or on the badlist.
        """

        def look(connection: psycopg.Connection) -> Detail | None:
            found = review_queue.one(connection, group_id=self._group_id, model_digest=model_digest, sha256=sha256)
            if found is None:
                return None
            (card,) = self._cards(connection, [found], exact=True)
            return Detail(card=card, changes=tuple(_changes(connection, sha256, model_digest)))

        detail = self._connections.run(look)
        if detail is None:
            raise InputError(f"a picture must be in the queue of this group and model, {sha256[:12]} is not; go on")
        return detail

    def decide(
        self, *, model_digest: str, status: Status, reason: str, pictures: Sequence[SeenPicture], reviewer: str
    ) -> list[Outcome]:
        """Give one verdict on some pictures, each for itself: one that cannot be stops none of the others."""
        return self._each(
            pictures,
            lambda _, seen: Verdict(
                picture_sha256=seen.sha256, model_digest=model_digest, status=status, revision=seen.revision,
                reviewer=reviewer, reason=reason,
            ),
        )  # fmt: skip

    def undo(self, *, model_digest: str, pictures: Sequence[UndonePicture], reviewer: str) -> list[Outcome]:
        """Take a verdict of the reviewer's own back on some pictures, to the status and reason from before it.

        Whatever came after that verdict has to be the reviewer's own as well.
        """
        verdicts = {item.sha256: item.verdict or item.revision for item in pictures}

        def verdict(connection: psycopg.Connection, seen: SeenPicture) -> Verdict:
            # oldest first: where a picture was segmented again, the new verdicts take the place of the old ones
            changes = {change.revision: change for change in _changes(connection, seen.sha256, model_digest)}
            given = changes.get(verdicts[seen.sha256])
            since = [change for revision, change in changes.items() if revision <= seen.revision]
            others = [item.reviewer for item in since if given and item.at >= given.at and item.reviewer != reviewer]
            if given is None or others or given.revision > seen.revision:
                whose = f"that of {others[-1]!r}" if others else "none"
                raise InputError(
                    f"an undo must be of a verdict of your own, {seen.sha256[:12]} has {whose}; give a verdict instead"
                )
            before = changes.get(given.revision - 1)
            return Verdict(
                picture_sha256=seen.sha256, model_digest=model_digest, status=given.from_status,
                revision=seen.revision, reviewer=reviewer,
                reason=before.reason if before and given.from_status == "rejected" else UNDONE,
            )  # fmt: skip

        return self._each(pictures, verdict)

    def _each(self, pictures: Sequence[SeenPicture], verdict_of: VerdictOf) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            shown = self._connections.run(
                lambda connection: review_queue.shown(
                    connection, group_id=self._group_id, sha256s=[seen.sha256 for seen in pictures]
                )
            )
            for seen in pictures:
                if seen.sha256 in shown:
                    outcomes.append(self._connections.run(partial(_do, seen=seen, verdict_of=verdict_of)))
                else:
                    message = (
                        f"a picture must be of this group and not on the badlist, {seen.sha256[:12]} is not; go on"
                    )
                    outcomes.append(Outcome(sha256=seen.sha256, outcome="refused", message=message))
        except ServiceError as error:
            outcomes += [
                Outcome(sha256=seen.sha256, outcome="unsaved", message=str(error)) for seen in pictures[len(outcomes) :]
            ]
        return outcomes

    def _cards(self, connection: psycopg.Connection, found: Sequence[Queued], *, exact: bool) -> list[Card]:
        names = review_queue.names_of(
            connection, group_id=self._group_id, sha256s=[item.review.picture_sha256 for item in found]
        )
        people = review_queue.people_of(connection, [item.segmentation_id for item in found])
        return [
            Card(
                queued=item,
                names=tuple(Named(picture_id=name, label=label) for name, label in names[item.review.picture_sha256]),
                people=tuple(
                    _drawn(person, 0.0 if exact else drawing.grid_tolerance(item.width, item.height))
                    for person in people[item.segmentation_id]
                ),
            )
            for item in found
        ]


def _changes(connection: psycopg.Connection, sha256: str, model_digest: str) -> list[StatusChange]:
    return [
        change for change in reviews.history(connection, picture_sha256=sha256) if change.model_digest == model_digest
    ]


def _drawn(person: PersonRow, tolerance: float) -> DrawnPerson:
    outline = drawing.decoded(person.contours)
    d = drawing.path(outline, tolerance=tolerance) if outline else ""
    return DrawnPerson(box_xyxy=person.box_xyxy, score=person.score, path=d)


def _do(connection: psycopg.Connection, seen: SeenPicture, verdict_of: VerdictOf) -> Outcome:
    verdict: Verdict | None = None
    try:
        verdict = verdict_of(connection, seen)
        (review,) = reviews.decide(connection, [verdict])
        return Outcome(sha256=seen.sha256, outcome="done", review=review)
    except ReviewConflictError as error:
        assert verdict is not None, "only what was to be decided can be in conflict"
        now = reviews.read(connection, model_digest=verdict.model_digest, sha256s=[seen.sha256])[seen.sha256]
        if _is_it(now, verdict):  # sent again, because the first answer got lost
            return Outcome(sha256=seen.sha256, outcome="done", review=now)
        return Outcome(sha256=seen.sha256, outcome="conflict", message=str(error), review=now)
    except InputError as error:
        return Outcome(sha256=seen.sha256, outcome="refused", message=str(error))


def _is_it(now: Review, verdict: Verdict) -> bool:
    there = (now.revision, now.status, now.reviewer, now.reason)
    return there == (verdict.revision + 1, verdict.status, verdict.reviewer, verdict.reason)
