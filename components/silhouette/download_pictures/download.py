"""Bring pictures into the store, each once, and write the dataset that names them.

Reads a source (silhouette.picture_source) and what earlier runs recorded; writes store, database and dataset folder as
the door plate says. A picture that cannot be opened is a recorded row, not the end of the run; a source that fails is
loud, and a repeated run goes on where this one ended. What is on the badlist is not asked for and not in the dataset.
Nothing here grows with the number of pictures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silhouette.config import Config
from silhouette.contracts import dataset as dataset_contract
from silhouette.database import badlist, labels, pictures
from silhouette.database.pictures import PictureRecord
from silhouette.download_pictures.archive import Archive
from silhouette.download_pictures.bring import Bringer
from silhouette.download_pictures.duplicates import dropped, find_duplicates
from silhouette.download_pictures.quality import QualityFigures, write_quality_report
from silhouette.download_pictures.scratch import Scratch
from silhouette.errors import InputError, ServiceError
from silhouette.names import safe_key
from silhouette.picture_source.listing import Listing, require_enough
from silhouette.picture_source.source import Source, open_pixsets, open_source
from silhouette.progress import track
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store, as_they_end

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
PATIENCE_S = 60.0  # a store that is gone for so long is waited for, in a step of many hours
CONFLICT = "label_conflict"
_DOWN_FROM = 2  # so many pictures a worker unavailable in a row: it is the source that is down


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """What came in.

    Attributes:
        group: The group, raw; of pixsets, the name of their list.
        classes: In the order of the model's outputs; none for pixsets.
        pictures: Rows of the dataset.
        fetched: Pictures whose bytes were brought from the source in this run.
        reused: Pictures that were known already.
        size_bytes: Of what was fetched.
        refused: Pictures that did not come in, by reason.
        withdrawn: Pictures of earlier datasets that the source lists no more.
        unknown_labels: Pictures per label that is no class of the group.
        counts: Pictures per class, in class order.
        splits: Pictures per split that the source brought; empty when it brought none.
        quality: Duplicates, conflicts and sizes, as the quality report has them.
        digest: Of the dataset.
        where: The source in words.
        duration_s: Seconds.
    """

    group: str
    classes: tuple[str, ...]
    pictures: int
    fetched: int
    reused: int
    size_bytes: int
    refused: Mapping[str, int]
    withdrawn: int
    unknown_labels: Mapping[str, int]
    counts: Mapping[str, int]
    splits: Mapping[str, int]
    quality: QualityFigures
    digest: str
    where: str
    duration_s: float

    def metadata(self) -> dict[str, Any]:
        """Return what a KFP artifact may carry of it: no address, nothing that differs between equal runs."""
        return {
            "group": self.group,
            "classes": list(self.classes),
            "pictures": self.pictures,
            "counts": dict(self.counts),
            "refused": dict(self.refused),
            "digest": self.digest,
        }


def download_pictures(
    *,
    group: str,
    source: Path | str | None,
    out: Path,
    store: Store,
    connection: psycopg.Connection,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> DownloadReport:
    """Bring a group's pictures into the store and write its dataset folder.

    Args:
        group: Any text.
        source: A folder or ``s3://bucket/prefix``; None or empty: the picture service.
        out: The dataset folder to write, with the quality report in it.
        store: Where the bytes go.
        connection: To a migrated database; has the badlist, records what came in.
        config: Classes, limits, number of workers.
        picture_service: Where the service is; None: what the environment says.

    Raises:
        InputError: The source or the group does not exist, is empty, or a class has too few usable pictures.
        ServiceError: Store, database or picture service failed; run again, what is done stays.
    """
    opening = open_source(group=group, source=source, config=config, store=store, picture_service=picture_service)
    minimum = config.dataset.min_pictures_per_class
    return _download(opening, out, safe_key(group), store, connection, config, minimum=minimum)


def download_pixsets(
    *,
    pixsets: Path,
    out: Path,
    store: Store,
    connection: psycopg.Connection,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> DownloadReport:
    """Bring the pictures of a list of pixsets into the store, as a dataset without classes.

    Args:
        pixsets: A JSON file as `silhouette.picture_source.pixsets` reads it; its name without ending names the set.
        out: As in `download_pictures`.
        store: As in `download_pictures`.
        connection: As in `download_pictures`.
        config: As in `download_pictures`.
        picture_service: As in `download_pictures`.

    Raises:
        InputError: The list is malformed, or none of its pixsets has a picture that can be used.
        ServiceError: As in `download_pictures`.
    """
    opening = open_pixsets(pixsets=pixsets, config=config, picture_service=picture_service)
    return _download(opening, out, f"pixsets/{safe_key(pixsets.stem)}", store, connection, config, minimum=1)


def _download(
    opening: AbstractContextManager[tuple[Source, Listing]],
    out: Path,
    key: str,
    store: Store,
    connection: psycopg.Connection,
    config: Config,
    *,
    minimum: int,
) -> DownloadReport:
    started = time.monotonic()
    store.ensure_bucket()
    pictures.write_often(connection)
    with opening as (source, listing):
        scratch, archive, limits = Scratch(listing), Archive(store, key), config.pictures
        bringer = Bringer(source, listing, scratch, archive, store=store, connection=connection, limits=limits)
        fetched, size_bytes = _bring_all(bringer, source, scratch, len(listing), config)
        _leave_out_badlisted(scratch, connection)
        withdrawn = scratch.find_withdrawn(archive.earlier_ids(source.origin))
        find_duplicates(scratch.connection, near_distance=limits.near_distance)
        conflicts = dropped(scratch.connection, conflicts=limits.conflicts, near_conflicts=limits.near_conflicts)
        for picture_id, detail in conflicts:
            scratch.refuse(picture_id, CONFLICT, detail)
        _require_usable(listing, scratch, minimum, where=source.where)
        head = dataset_contract.write_rows(
            out, group=listing.group, classes=listing.classes, rows=scratch.rows(), refused=scratch.left_out()
        )
        if listing.classes:  # a set of pixsets has none, and might be called like a group
            labels.replace(connection, group=listing.group, dataset_digest=head.digest, pictures=scratch.rows())
        quality = write_quality_report(
            out / dataset_contract.QUALITY_NAME,
            scratch.connection,
            group=listing.group,
            classes=listing.classes,
            digest=head.digest,
            where=source.kind,
            thumbnail=store.get_bytes,
        )
        archive.write(out, scratch)
        report = DownloadReport(
            group=listing.group,
            classes=listing.classes,
            pictures=head.pictures,
            fetched=fetched,
            reused=len(listing) - fetched,
            size_bytes=size_bytes,
            refused=scratch.reasons(),
            withdrawn=withdrawn,
            unknown_labels=listing.unknown_labels(),
            counts=head.counts,
            splits=scratch.splits(),
            quality=quality,
            digest=head.digest,
            where=source.where,
            duration_s=time.monotonic() - started,
        )
    _log(report)
    return report


def _bring_all(bringer: Bringer, source: Source, scratch: Scratch, total: int, config: Config) -> tuple[int, int]:
    """Bring all pictures in; return how many were fetched, and their bytes."""
    fetched = size_bytes = in_a_row = unavailable = 0
    first: PictureRecord | None = None
    limits = config.pictures
    scratch.connection.execute("BEGIN")
    with closing(as_they_end(bringer.bring, bringer.tasks(), workers=limits.workers)) as outcomes:
        for outcome in track(outcomes, total=total, description="downloading"):
            scratch.take(outcome.picture, outcome.record)
            if outcome.fetched_bytes is not None:
                fetched, size_bytes = fetched + 1, size_bytes + outcome.fetched_bytes
            if outcome.record.reason != "unavailable":
                in_a_row = 0 if outcome.asked else in_a_row
                continue
            first = first or outcome.record
            unavailable, in_a_row = unavailable + 1, in_a_row + 1
            if in_a_row >= _DOWN_FROM * limits.workers:
                break
    scratch.connection.execute("COMMIT")
    if first and (unavailable > limits.max_unavailable or in_a_row >= _DOWN_FROM * limits.workers):
        raise ServiceError(
            f"{source.where} must send every picture that it lists, {unavailable} did not come, the first is"
            f" {first.picture_id!r}: {first.detail}; run again: what is done stays"
            " (pictures.max_unavailable says how many may be missing)"
        )
    return fetched, size_bytes


def _leave_out_badlisted(scratch: Scratch, connection: psycopg.Connection) -> None:
    """Leave out what is of the badlist now that all bytes are known; `Bringer` knew of some before it asked."""
    if listed := {entry.picture_id for entry in badlist.entries(connection)}:
        scratch.refuse_badlisted(picture_ids=listed, sha256s=badlist.contents(connection))


def _require_usable(listing: Listing, scratch: Scratch, minimum: int, *, where: str) -> None:
    refused = sum(scratch.reasons().values())
    if listing.classes:
        require_enough(listing.group, scratch.counts(), minimum, where=where, refused=refused)
    elif next(scratch.rows(), None) is None:
        raise InputError(
            f"a list of pixsets must name pictures that can be used, {listing.group!r} has none in {where}"
            f" ({refused} refused); correct the list"
        )


def _log(report: DownloadReport) -> None:
    _LOG.info(
        "%d pictures of %r from %s: %d fetched, %d known already, %d refused, %d withdrawn; %.1f s",
        report.pictures, report.group, report.where, report.fetched, report.reused, sum(report.refused.values()),
        report.withdrawn, report.duration_s,
    )  # fmt: skip
