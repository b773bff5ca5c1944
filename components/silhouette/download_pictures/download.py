"""Bring a group's pictures into the store, each once, and write the dataset that names them.

Reads a source (silhouette.picture_source); writes store and dataset folder as the door plate says. A picture that
cannot be opened is a recorded row, not the end of the run; a source that fails is loud, and a repeated run goes on
where this one ended.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silhouette.config import Config, PicturesConfig
from silhouette.contracts import dataset as dataset_contract
from silhouette.contracts.dataset import Dataset, PictureRow, RefusedPicture
from silhouette.download_pictures.record import PictureRecord, read_record, record_key, write_record
from silhouette.errors import PictureError
from silhouette.imaging import open_picture
from silhouette.names import safe_key
from silhouette.picture_source.folder import FolderSource
from silhouette.picture_source.listing import Listing, SourcePicture, require_enough
from silhouette.picture_source.source import Source, open_source
from silhouette.progress import track
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store, in_parallel

_LOG = logging.getLogger(__name__)
_PROBE_SIDE = 512  # pixels: decoding a JPEG to an eighth still reads all of it, so damage is found at half the cost


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """What came in.

    Attributes:
        group: The group, raw.
        classes: In the order of the model's outputs.
        pictures: Rows of the dataset.
        fetched: Pictures whose bytes were brought from the source in this run.
        reused: Pictures that the store held already.
        size_bytes: Of what was fetched.
        refused: Pictures that did not come in, by reason.
        unknown_labels: Pictures per label that is no class of the group.
        counts: Pictures per class, in class order.
        splits: Pictures per split that the source brought; empty when it brought none.
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
    unknown_labels: Mapping[str, int]
    counts: Mapping[str, int]
    splits: Mapping[str, int]
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


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    picture: SourcePicture
    record: PictureRecord
    fetched_bytes: int | None
    """None: the store held it."""


def download_pictures(
    *,
    group: str,
    source: Path | str | None,
    out: Path,
    store: Store,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> DownloadReport:
    """Bring a group's pictures into the store and write its dataset folder.

    Args:
        group: Any text.
        source: A folder; None or empty: the picture service.
        out: The dataset folder to write.
        store: Where the bytes go.
        config: Classes, limits, number of workers.
        picture_service: Where the service is; None: what the environment says.

    Raises:
        InputError: The source or the group does not exist, is empty, or a class has too few usable pictures.
        ServiceError: The store or the picture service failed; run again, what is done stays.
    """
    started = time.monotonic()
    store.ensure_bucket()
    with open_source(group=group, source=source, config=config, picture_service=picture_service) as (opened, listing):
        outcomes = _bring_all(opened, listing, store, config.pictures)
        where = opened.where
    dataset = _dataset(listing, outcomes)
    minimum = config.dataset.min_pictures_per_class
    require_enough(group, dataset.counts(), minimum, where=where, refused=len(dataset.refused))
    dataset_contract.write(out, dataset)
    store.put_file(f"datasets/{safe_key(group)}.csv", out / dataset_contract.CSV_NAME, content_type="text/csv")
    report = _report(dataset, listing, outcomes, where, time.monotonic() - started)
    _LOG.info(
        "%d pictures of %r from %s: %d fetched, %d already in the store, %d refused; %.1f s",
        report.pictures, group, where, report.fetched, report.reused, len(dataset.refused), report.duration_s,
    )  # fmt: skip
    return report


def _bring_all(source: Source, listing: Listing, store: Store, limits: PicturesConfig) -> list[_Outcome]:
    def bring(picture: SourcePicture) -> _Outcome:
        return _bring(source, picture, store, limits)

    return list(
        track(
            in_parallel(bring, listing.pictures, workers=limits.workers),
            total=len(listing.pictures),
            description="downloading",
        )
    )


def _bring(source: Source, picture: SourcePicture, store: Store, limits: PicturesConfig) -> _Outcome:
    """Bring one picture in, unless the store holds all of it."""
    key = record_key(picture, by_content=isinstance(source, FolderSource))
    known = read_record(store, key)
    if known is not None and known.holds_for(picture, limits) and (known.reason or store.exists(known.object_key)):
        return _Outcome(picture=picture, record=known, fetched_bytes=None)
    judged = {
        "picture_id": picture.picture_id,
        "stamp": picture.stamp,
        "max_megapixels": limits.max_megapixels,
        "max_megabytes": limits.max_megabytes,
    }
    size = 0
    try:
        data = source.fetch(picture, max_bytes=int(limits.max_megabytes * 1e6))
        size = len(data)
        record = PictureRecord.model_validate({**judged, **_keep(picture, data, store, limits)})
    except PictureError as refusal:
        record = PictureRecord.model_validate({**judged, "reason": refusal.reason, "detail": refusal.detail})
        if refusal.reason in ("missing", "forbidden", "unreadable", "not_what_was_listed"):  # may be better tomorrow
            return _Outcome(picture=picture, record=record, fetched_bytes=size)
    write_record(store, key, record)
    return _Outcome(picture=picture, record=record, fetched_bytes=size)


def _keep(picture: SourcePicture, data: bytes, store: Store, limits: PicturesConfig) -> dict[str, str | int]:
    """Open the picture once, put its bytes into the store and return what is to be remembered."""
    sha256 = hashlib.sha256(data).hexdigest()
    if picture.sha256 and picture.sha256 != sha256:
        raise PictureError("not_what_was_listed", f"the listing promised {picture.sha256}, the bytes are {sha256}")
    opened = open_picture(data, max_megapixels=limits.max_megapixels, longest_side=_PROBE_SIDE)
    object_key = f"pictures/{sha256[:2]}/{sha256}.{opened.extension}"
    if store.size(object_key) != len(data):
        store.put_bytes(object_key, data)
    return {
        "sha256": sha256,
        "size_bytes": len(data),
        "width": opened.width,
        "height": opened.height,
        "object_key": object_key,
    }


def _dataset(listing: Listing, outcomes: list[_Outcome]) -> Dataset:
    rows = [
        PictureRow(
            picture_id=item.picture.picture_id,
            object_key=item.record.object_key,
            sha256=item.record.sha256,
            width=item.record.width,
            height=item.record.height,
            label=item.picture.label,
            pixset_id=item.picture.pixset_id,
            split=item.picture.split,
        )
        for item in outcomes
        if not item.record.reason
    ]
    refused = [
        RefusedPicture(picture_id=item.picture.picture_id, reason=item.record.reason, detail=item.record.detail)
        for item in outcomes
        if item.record.reason
    ]
    everything = sorted([*listing.refused, *refused], key=lambda item: item.picture_id)
    return Dataset(group=listing.group, classes=listing.classes, rows=tuple(rows), refused=tuple(everything))


def _report(
    dataset: Dataset, listing: Listing, outcomes: list[_Outcome], where: str, duration_s: float
) -> DownloadReport:
    fetched = [item.fetched_bytes for item in outcomes if item.fetched_bytes is not None]
    return DownloadReport(
        group=dataset.group,
        classes=dataset.classes,
        pictures=len(dataset.rows),
        fetched=len(fetched),
        reused=len(outcomes) - len(fetched),
        size_bytes=sum(fetched),
        refused=dict(Counter(item.reason for item in dataset.refused)),
        unknown_labels=dict(listing.unknown_labels),
        counts=dataset.counts(),
        splits=dict(Counter(row.split for row in dataset.rows if row.split)),
        digest=dataset.digest(),
        where=where,
        duration_s=duration_s,
    )
