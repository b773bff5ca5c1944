"""Open the source that a run names, and settle the order of the group's classes.

The order is the order of the model's outputs: the configuration's if it knows the group, else the picture
service's if it is configured and knows the group, else (for a folder or an S3 prefix) the sorted names of the classes.
Listings are scratch files on the local disk, removed when the source is closed.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from silhouette.config import Config
from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, ServiceError
from silhouette.picture_source.fetcher import Fetched
from silhouette.picture_source.folder import FolderSource
from silhouette.picture_source.listing import Listing, SourcePicture, require_enough
from silhouette.picture_source.pixsets import PixsetRequest, read_pixsets
from silhouette.picture_source.prefix import PrefixSource
from silhouette.picture_source.service import PictureService
from silhouette.settings import PictureServiceSettings, picture_service_settings
from silhouette.store import Store

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
Found = Iterable[SourcePicture | RefusedPicture]


class Source(Protocol):
    """What `download_pictures` needs of a source.

    Attributes:
        where: The source in words, with its address.
        kind: The source in words that may be stored anywhere: no address.
        origin: Whose names the pictures' ids are; what is known of a picture is kept under it.
        by_content: Pictures are known by their content instead, `SourcePicture.sha256`.
    """

    where: str
    kind: str
    origin: str
    by_content: bool

    def fetch(self, picture: SourcePicture, *, max_bytes: int, etag: str = "") -> Fetched:
        """Return a picture's bytes, or none if they still have the ETag."""


@contextmanager
def open_source(
    *,
    group: str,
    source: Path | str | None,
    config: Config,
    store: Store,
    picture_service: PictureServiceSettings | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[tuple[Source, Listing]]:
    """List a group at its source and keep the source open for fetching.

    Args:
        group: Any text.
        source: A folder or ``s3://bucket/prefix``; None or empty: the picture service.
        config: For the classes and for `dataset.min_pictures_per_class`.
        store: On whose server an S3 prefix is.
        picture_service: Where the service is; None: what the environment says.
        environ: That environment.

    Raises:
        InputError: The source or the group does not exist, is empty, or a class has too few pictures.
        ServiceError: The picture service or the store does not answer.
        SettingError: The picture service is needed and not configured.
    """
    settings = picture_service
    if settings is None and (not source or environ.get("SILHOUETTE_PICTURE_SERVICE_URL")):
        settings = picture_service_settings(environ)
    with ExitStack() as stack:
        service: PictureService | None = None
        if settings:
            service = stack.enter_context(closing(PictureService(settings, workers=config.pictures.workers)))
        classes = list(config.groups[group].classes) if group in config.groups else None
        if not source:
            assert service is not None
            opened: Source = service
            known = _known_classes(group, service)
            listing = stack.enter_context(_listing(group, classes or known, service.pictures(group)))
        else:
            opened = files = stack.enter_context(closing(_files(source, store)))
            if classes is None and service is not None:
                classes = service.classes(group)
            listing = stack.enter_context(_listing(group, classes or _labels(files), files.find()))
        minimum = config.dataset.min_pictures_per_class
        require_enough(group, listing.counts(), minimum, where=opened.where, refused=listing.refused_count())
        yield opened, listing


@contextmanager
def open_pixsets(
    *,
    pixsets: Path,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[tuple[Source, Listing]]:
    """List the pictures of pixsets, without labels, and keep the service open for fetching.

    Args:
        pixsets: A list as `silhouette.picture_source.pixsets` reads it; its name without ending names the listing.
        config: For the number of connections.
        picture_service: As in `open_source`.
        environ: As in `open_source`.

    Raises:
        InputError: The list is malformed, or the service knows none of its pixsets.
        ServiceError: The picture service does not answer.
        SettingError: The picture service is not configured.
    """
    requests = read_pixsets(pixsets)
    settings = picture_service or picture_service_settings(environ)
    with closing(PictureService(settings, workers=config.pictures.workers)) as service:
        found = (item for request in requests for item in _of_pixset(request, service))
        with _listing(pixsets.stem, [], found) as listed:
            if not len(listed):
                raise InputError(
                    f"a list of pixsets must name pixsets with pictures, {service.where} has none for {pixsets};"
                    " correct the ids"
                )
            yield service, listed


@contextmanager
def _listing(group: str, classes: Sequence[str], found: Found) -> Iterator[Listing]:
    with tempfile.TemporaryDirectory(prefix="silhouette-listing-") as folder:
        try:
            listing = Listing(Path(folder) / "listing.sqlite", group=group, classes=classes, found=found)
            with closing(listing):
                yield listing
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _NO_ROOM:
                raise
            raise ServiceError(
                f"the folder for temporary files must have room for the run's listing, {folder} has none ({error});"
                " free some or point TMPDIR elsewhere, then run again: what is done stays"
            ) from error


def _known_classes(group: str, service: PictureService) -> list[str]:
    known = service.classes(group)
    if known is None:
        groups = ", ".join(repr(name) for name in service.groups()) or "none"
        raise InputError(
            f"GROUP must be one that the picture service knows, got {group!r}; it knows {groups}."
            " Correct it, or pass SOURCE=<folder with one sub-folder per class>"
        )
    return known


def _files(source: Path | str, store: Store) -> FolderSource | PrefixSource:
    if str(source).startswith("s3://"):
        return PrefixSource(str(source), store)
    if "://" in str(source):
        raise InputError(
            f"SOURCE must be a folder on this machine or s3://bucket/prefix, got {str(source)!r}; copy it to one of"
            " them, or leave SOURCE out to use the picture service"
        )
    return FolderSource(Path(source).expanduser())


def _labels(files: FolderSource | PrefixSource) -> list[str]:
    classes = files.labels()
    if len(classes) < 2:
        raise InputError(
            f"a group must have at least two classes, {files.where} has {classes}; make one sub-folder per class"
        )
    return classes


def _of_pixset(request: PixsetRequest, service: PictureService) -> Found:
    pictures = service.pixset_pictures(request.pixset_id)
    if pictures is None:
        name = f"pixset {request.pixset_id}"
        return [RefusedPicture(picture_id=name, reason="unknown_pixset", detail="the service does not know it")]
    unlabelled = (
        replace(item, label="", split="", pixset_id=request.pixset_id) if isinstance(item, SourcePicture) else item
        for item in pictures
    )
    if request.limit is None:
        return unlabelled
    return heapq.nsmallest(request.limit, unlabelled, key=lambda item: item.picture_id)
