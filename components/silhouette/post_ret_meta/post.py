"""Post the documents of the groups' pictures: what the ledger knows to be there is not sent again.

Killed at any moment, a run leaves a ledger that says what has arrived and of what nobody knows; the next one asks for
that and goes on. A few documents are held at a time.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.database.connection import try_lock, unlock
from silhouette.database.pictures import write_often
from silhouette.errors import InputError, ServiceError
from silhouette.group_pictures import GroupPictures
from silhouette.picture_source.returned import RetMetaService
from silhouette.post_ret_meta.candidates import Candidate, Ready, candidates, left_out, read_document
from silhouette.post_ret_meta.deliver import Failure, Outgoing, deliver
from silhouette.post_ret_meta.difference import differences
from silhouette.post_ret_meta.ledger import Ledger
from silhouette.post_ret_meta.outcomes import (
    BADLISTED,
    CHANGED,
    KNOWN,
    POSTED,
    WITHOUT,
    Outcome,
    PostRetMetaReport,
    Tally,
)
from silhouette.progress import track
from silhouette.store import Store, as_they_end, in_parallel

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
WORKERS = 8
_READERS = 4
_LOCK_WAIT_S = 10.0


def post_ret_meta(
    *,
    groups: Sequence[str],
    store: Store,
    connection: psycopg.Connection,
    service: RetMetaService,
    workers: int = WORKERS,
    accept_refused: Collection[str] = (),
    ask: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], object] = _LOG.info,
) -> PostRetMetaReport:
    """Send the documents of the groups' pictures that the service does not have.

    Args:
        groups: Whose pictures; the service must know all of them.
        store: Has the documents.
        connection: Has the ledger and the badlist.
        service: Gets them.
        workers: Documents on their way at the same time.
        accept_refused: Groups whose model need not have passed its gate.
        ask: Ask the service for every document instead of believing the ledger.
        dry_run: Send nothing; tell what would change.
        tell: Gets the lines of a dry run.

    Raises:
        InputError: A group is unknown here or to the service, or none of its pictures has a document; or a document
            is of a newer Silhouette, or none.
        GateRefusedError: A document has answers of a model that did not pass its gate.
        SettingError: The service refuses the token.
        ServiceError: Another run posts to this service, or the service, the store or PostgreSQL is down.
    """
    started = time.monotonic()
    write_often(connection)
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix="silhouette-ret-meta-") as scratch,
        _alone(connection, service),
        Ledger(connection, service=service.address) as ledger,
    ):
        pictures = GroupPictures(groups, folder=Path(scratch), store=store, connection=connection)
        _require_known(service, pictures.groups)

        def read(candidate: Candidate) -> Ready | Outcome:
            return read_document(candidate, store=store, accepted=accept_refused)

        def compare(ready: Ready | Outcome) -> Outcome:
            return ready if isinstance(ready, Outcome) else _compare(ready, service)

        def post(begun: tuple[Ready | Outcome, int]) -> Outcome:
            ready, post_id = begun
            return ready if isinstance(ready, Outcome) else _post(ready, post_id, ledger, service, ask=ask)

        found = candidates(pictures, service.address, connection)
        shown = track(found, total=pictures.total, description="comparing" if dry_run else "posting ret_meta")
        with (  # nobody reads or sends any more when the ledger is closed
            closing(in_parallel(read, shown, workers=_READERS)) as ready,
            closing(
                as_they_end(compare, ready, workers=workers)
                if dry_run
                else as_they_end(post, ledger.begun(ready), workers=workers)  # who sends waits for the service alone
            ) as outcomes,
        ):
            for outcome in outcomes:
                ledger.write()
                tally.add(outcome, tell=tell, where=service.where)
        for outcome in left_out(pictures.groups, service.address, connection):
            tally.add(outcome, tell=tell, where=service.where)
    counts = tally.outcomes
    if counts.total() == counts[WITHOUT] + counts[BADLISTED]:
        raise InputError(
            f"pictures of {', '.join(map(repr, pictures.groups))} must have documents, none has; run"
            " `silhouette ret-meta build` with the same --groups first"
        )
    duration_s = time.monotonic() - started
    report = PostRetMetaReport(
        service=service.address,
        groups=list(pictures.groups),
        dry_run=dry_run,
        pictures=counts.total(),
        posted=counts[POSTED] + counts[CHANGED],
        known=counts[KNOWN],
        without_document=counts[WITHOUT],
        badlisted=counts[BADLISTED],
        still_there=tally.still_there,
        failed=dict(tally.failed),
        duration_s=duration_s,
        documents_per_s=counts[POSTED] / max(duration_s, 1e-9),
    )
    _LOG.info(
        "ret_meta: %d %s, %d known, %d failed, %.1f/s",
        report.posted, "to post" if dry_run else "posted", report.known, sum(report.failed.values()),
        report.documents_per_s,
    )  # fmt: skip
    return report


@contextmanager
def _alone(connection: psycopg.Connection, service: RetMetaService) -> Iterator[None]:
    """Hold the lock of a service: two runs would send the same documents side by side."""
    digest = hashlib.sha256(f"ret_meta {service.address}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    deadline = time.monotonic() + _LOCK_WAIT_S  # PostgreSQL may not have noticed yet that a run was killed
    while not try_lock(connection, number):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"one run at a time must post to {service.where}, another does; wait for its end, then run again"
            )
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed:
            unlock(connection, number)


def _require_known(service: RetMetaService, groups: Sequence[str]) -> None:
    for group in groups:
        if service.classes(group) is None:
            raise InputError(
                f"a group must be one of the service's, {service.where} does not know {group!r} (it has"
                f" {', '.join(map(repr, service.groups())) or 'none'}); correct the name"
            )


def _compare(ready: Ready, service: RetMetaService) -> Outcome:
    name = ready.document.picture.picture_id
    lines = differences(ready.document, service.received(name))
    return Outcome(picture_id=name, what=CHANGED if lines else KNOWN, lines=lines)


def _post(ready: Ready, post_id: int, ledger: Ledger, service: RetMetaService, *, ask: bool) -> Outcome:
    """Deliver a document unless it is there, and keep the ledger."""
    name, digest = ready.document.picture.picture_id, ready.document.content_digest
    if ready.is_known:
        there = service.received(name) if ask else None
        if not ask or (there and there.content_digest == digest):
            return Outcome(picture_id=name, what=KNOWN)
        post_id = ledger.begin([ready])[name]  # the service lost it
    ledger.sending(post_id)
    outgoing = Outgoing(picture_id=name, content_digest=digest, data=ready.data)
    answer = deliver(service, outgoing, doubtful=ready.in_doubt)
    if not isinstance(answer, Failure):
        ledger.end(post_id, receipt=answer.receipt)
        return Outcome(picture_id=name, what=POSTED)
    if answer.reason != "in_doubt":
        ledger.end(post_id, failure=f"{answer.reason}: {answer.detail}")
    return Outcome(picture_id=name, what=answer.reason, lines=[answer.detail])
