"""Segment the pictures that a model has not seen yet, alone or beside other workers on the same group.

Reads the dataset folder, the store and the model; writes `segmentations` and `people` in PostgreSQL, and what serves
the model into the store (`silhouette.served_segmenter`). A killed
run loses at most the batch that it worked on, and running it again, or several at once, duplicates nothing. A worker
returns when every batch is done, its own and those of the others.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.config import SegmentationConfig
from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import PictureRow
from silhouette.database.pictures import write_often
from silhouette.database.segmentations import Segmentation
from silhouette.detection import Detector
from silhouette.detector import load_detector, model_digest_of
from silhouette.detector_export import publish_segmenter
from silhouette.errors import InputError
from silhouette.model_source import resolve_model
from silhouette.progress import track
from silhouette.segment_people.claims import Claim, Claims
from silhouette.segment_people.flow import Outcome, by_claim, outcomes
from silhouette.segment_people.records import Orders, Records
from silhouette.store import Store

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
WRITE_AT_ONCE = 128  # pictures a claim and a transaction; what a kill can lose
ASK_AGAIN_S = 0.5  # for batches of other workers, who may finish them or die


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """What one run did.

    Attributes:
        model_digest: The segmenter's, with its settings; the key of its records.
        pictures: Segmented by this run.
        already_done: Seen by this model before; not those that were done again.
        people: Found by this run.
        without_people: Pictures of this run on which nobody was found.
        unreadable: Pictures that could not be opened, by reason.
        duration_s: Of the whole run.
    """

    model_digest: str
    pictures: int
    already_done: int
    people: int
    without_people: int
    unreadable: Mapping[str, int]
    duration_s: float

    @property
    def pictures_per_s(self) -> float:
        """Pictures of this run in a second, everything included."""
        return self.pictures / self.duration_s if self.duration_s else 0.0


@dataclass(kw_only=True)
class _Tally:
    """What was counted so far; the fields are those of the report."""

    pictures: int = 0
    people: int = 0
    without_people: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)


def segment_people(
    *,
    dataset: Path,
    model: str,
    store: Store,
    connection: psycopg.Connection,
    config: SegmentationConfig,
    orders: Orders | None = None,
) -> SegmentReport:
    """Segment every picture of `dataset` that this model has not seen.

    Args:
        dataset: A dataset folder.
        model: FILE, ``s3://bucket/key`` or a key of the store.
        store: Where the pictures are, and exports of models.
        connection: To a migrated database; it holds this worker's claims.
        config: The class that is a person, the size that the model sees, the least score, what runs it.
        orders: What is done again, and marked as what; None: nothing again, all unchecked.

    Raises:
        InputError: The model cannot be used, a picture's bytes are gone from the store, or a named one is unknown.
        ServiceError: PostgreSQL or the store went away; finished batches are kept.
    """
    start, orders = time.monotonic(), orders or Orders()
    write_often(connection)  # a batch that a crash of the server forgets is segmented again, whole
    tally = _Tally()
    every = datasets.read(dataset).rows
    rows = {row.sha256: row for row in every}
    with tempfile.TemporaryDirectory(prefix="silhouette-model-") as folder:
        path = resolve_model(model, folder=Path(folder), store=store)
        digest = model_digest_of(
            path,
            person_class=config.person_class,
            image_size=config.image_size,
            min_score=config.min_score,
            half=config.half,
        )
        records = Records(
            connection, model_digest=digest, orders=orders, named=_sha256s_of(orders.redo_reviewed, every)
        )
        claims = Claims(
            connection,
            model_digest=digest,
            rows=list(rows.values()),
            finished=records.finished,
            size=WRITE_AT_ONCE,
        )
        if claims.missing:
            detector = load_detector(path, store=store, **config.for_detector())
            _work(claims, records, tally, store=store, detector=detector)
        if config.runtime != "torch":  # who insists on torch has been told why
            publish_segmenter(
                path,
                model_digest=digest,
                person_class=config.person_class,
                image_size=config.image_size,
                min_score=config.min_score,
                store=store,
            )
    report = SegmentReport(
        model_digest=digest,
        pictures=tally.pictures,
        already_done=claims.already_done,
        people=tally.people,
        without_people=tally.without_people,
        unreadable=dict(sorted(tally.unreadable.items())),
        duration_s=time.monotonic() - start,
    )
    _log(report)
    return report


def _sha256s_of(picture_ids: Collection[str], rows: Sequence[PictureRow]) -> set[str]:
    wanted = set(picture_ids)
    found = {row.picture_id: row.sha256 for row in rows if row.picture_id in wanted}
    if unknown := sorted(wanted - found.keys()):
        raise InputError(
            f"a picture that is done again must be one of the group, {unknown[0]!r} is not; correct --redo-reviewed"
        )
    return set(found.values())


def _work(claims: Claims, records: Records, tally: _Tally, *, store: Store, detector: Detector) -> None:
    """Do batches until none is left; what others claimed is waited for, and done here when they die."""

    def finish(claim: Claim, found: list[Outcome]) -> None:
        _write(found, records, tally)
        claims.give_back(claim.lock)

    def rounds() -> Generator[Outcome, None, None]:
        while claims.any_left:
            begun = False
            with closing(outcomes(claims.free(), store=store, detector=detector)) as found:
                for outcome in by_claim(found, finish=finish):
                    begun = True
                    yield outcome
            # everything of ours is written and given back by now: who waits holds nothing that another waits for
            if claims.any_left and not begun:
                time.sleep(ASK_AGAIN_S)

    with closing(claims), closing(rounds()) as found:
        for _ in track(found, total=claims.missing, description="segmenting"):
            pass


def _write(found: list[Outcome], records: Records, tally: _Tally) -> None:
    seen = []
    for outcome in found:
        if isinstance(outcome.result, Segmentation):
            seen.append(outcome.result)
        else:
            tally.unreadable[outcome.result.reason] += 1
            _LOG.warning("picture %s cannot be opened and is skipped: %s", outcome.row.picture_id, outcome.result)
    if not seen:
        return
    tally.pictures += records.write(seen)
    tally.people += sum(len(item.people) for item in seen)
    tally.without_people += sum(not item.people for item in seen)


def _log(report: SegmentReport) -> None:
    _LOG.info(
        "segmented %d pictures (%.1f/s): %d people, %d pictures without; %d were done before, %d cannot be opened",
        report.pictures,
        report.pictures_per_s,
        report.people,
        report.without_people,
        report.already_done,
        sum(report.unreadable.values()),
    )
