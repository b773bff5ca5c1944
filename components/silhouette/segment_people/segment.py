"""Segment the pictures that a model has not seen yet: read ahead and decode in threads, detect, write in batches.

Reads the dataset folder, the store and the model; writes `segmentations` and `people` in PostgreSQL. A killed
run loses at most one batch, and running it again, or twice at once, duplicates nothing.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.config import SegmentationConfig
from silhouette.contracts import contours as contour_bytes
from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import PictureRow
from silhouette.database import segmentations
from silhouette.database.people import PersonRow
from silhouette.database.segmentations import Segmentation
from silhouette.detector import DetectedPerson, Detector, load_detector, model_digest_of
from silhouette.errors import PictureError
from silhouette.model_source import resolve_model
from silhouette.progress import track
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, read_picture

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
DETECT_AT_ONCE = 16
WRITE_AT_ONCE = 128  # pictures a transaction; what a kill can lose


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """What one run did.

    Attributes:
        model_digest: The segmenter's, with its settings; the key of its records.
        pictures: Segmented by this run.
        already_done: Seen by this model before.
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
    *, dataset: Path, model: str, store: Store, connection: psycopg.Connection, config: SegmentationConfig
) -> SegmentReport:
    """Segment every picture of `dataset` that this model has not seen.

    Args:
        dataset: A dataset folder.
        model: FILE, ``s3://bucket/key`` or a key of the store.
        store: Where the pictures are.
        connection: To a migrated database.
        config: The class that is a person, the size that the model sees, the least score.

    Raises:
        InputError: The model cannot be used, or a picture's bytes are gone from the store.
        ServiceError: PostgreSQL or the store went away; finished batches are kept.
    """
    start = time.monotonic()
    tally = _Tally()
    rows = {row.sha256: row for row in datasets.read(dataset).rows}
    with tempfile.TemporaryDirectory(prefix="silhouette-model-") as folder:
        path = resolve_model(model, folder=Path(folder), store=store)
        digest = model_digest_of(
            path, person_class=config.person_class, image_size=config.image_size, min_score=config.min_score
        )
        done = segmentations.segmented(connection, model_digest=digest, sha256s=rows)
        missing = [row for sha256, row in sorted(rows.items()) if sha256 not in done]
        if missing:
            detector = load_detector(
                path, person_class=config.person_class, image_size=config.image_size, min_score=config.min_score
            )
            _segment(missing, tally, store=store, connection=connection, detector=detector)
    report = SegmentReport(
        model_digest=digest,
        pictures=tally.pictures,
        already_done=len(done),
        people=tally.people,
        without_people=tally.without_people,
        unreadable=dict(sorted(tally.unreadable.items())),
        duration_s=time.monotonic() - start,
    )
    _log(report)
    return report


def _segment(
    rows: list[PictureRow], tally: _Tally, *, store: Store, connection: psycopg.Connection, detector: Detector
) -> None:
    def read(row: PictureRow) -> tuple[PictureRow, WorkingPicture | PictureError]:
        try:
            return row, read_picture(store, row)
        except PictureError as error:
            return row, error

    found: list[Segmentation] = []
    opened = in_parallel(read, rows, workers=min(4, os.cpu_count() or 1))
    shown = track(opened, total=len(rows), description="segmenting")
    while chunk := list(islice(shown, DETECT_AT_ONCE)):
        found += _detect(chunk, detector, tally)
        if len(found) >= WRITE_AT_ONCE:
            segmentations.add(connection, model_digest=detector.model_digest, found=found)
            found = []
    segmentations.add(connection, model_digest=detector.model_digest, found=found)


def _detect(
    chunk: list[tuple[PictureRow, WorkingPicture | PictureError]], detector: Detector, tally: _Tally
) -> Iterator[Segmentation]:
    pictures = [(row, item) for row, item in chunk if isinstance(item, WorkingPicture)]
    for row, item in chunk:
        if isinstance(item, PictureError):
            tally.unreadable[item.reason] += 1
            _LOG.warning("picture %s cannot be opened and is skipped: %s", row.picture_id, item)
    people = detector.detect([picture.pixels for _, picture in pictures])
    for (row, picture), persons in zip(pictures, people, strict=True):
        tally.pictures += 1
        tally.people += len(persons)
        tally.without_people += not persons
        yield Segmentation(
            picture_sha256=row.sha256,
            width=picture.width,
            height=picture.height,
            people=tuple(_packed(person, picture) for person in persons),
        )


def _packed(person: DetectedPerson, picture: WorkingPicture) -> PersonRow:
    contours, box_xyxy = picture.to_original(person.contours, person.box_xyxy)
    return PersonRow(box_xyxy=box_xyxy, score=person.score, contours=contour_bytes.encode(contours))


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
