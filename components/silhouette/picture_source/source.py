"""Open the source that a run names, and settle the order of the group's classes.

The order is the order of the model's outputs: the configuration's if it knows the group, else the picture
service's if it is configured and knows the group, else (for a folder) the sorted names of the sub-folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from silhouette.config import Config
from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError
from silhouette.picture_source.folder import FolderSource
from silhouette.picture_source.listing import Listing, SourcePicture, require_enough, sort_out
from silhouette.picture_source.service import PictureService
from silhouette.settings import PictureServiceSettings, picture_service_settings


class Source(Protocol):
    """What `download_pictures` needs of a source."""

    where: str

    def fetch(self, picture: SourcePicture, *, max_bytes: int) -> bytes:
        """Return a picture's bytes."""


@contextmanager
def open_source(
    *,
    group: str,
    source: Path | str | None,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[tuple[Source, Listing]]:
    """List a group at its source and keep the source open for fetching.

    Args:
        group: Any text.
        source: A folder; None or empty: the picture service.
        config: For the classes and for `dataset.min_pictures_per_class`.
        picture_service: Where the service is; None: what the environment says.
        environ: That environment.

    Raises:
        InputError: The source or the group does not exist, is empty, or a class has too few pictures.
        ServiceError: The picture service does not answer.
        SettingError: The picture service is needed and not configured.
    """
    settings = picture_service
    if settings is None and (not source or environ.get("SILHOUETTE_PICTURE_SERVICE_URL")):
        settings = picture_service_settings(environ)
    service = PictureService(settings) if settings else None
    try:
        classes = list(config.groups[group].classes) if group in config.groups else None
        if not source:
            assert service is not None
            listing = _from_service(group, classes, service)
            opened: Source = service
        else:
            opened = folder = FolderSource(_local(source))
            listing = _from_folder(group, classes, folder, service)
        refused = len(listing.refused)
        minimum = config.dataset.min_pictures_per_class
        require_enough(group, listing.counts(), minimum, where=opened.where, refused=refused)
        yield opened, listing
    finally:
        if service is not None:
            service.close()


def _local(source: Path | str) -> Path:
    if "://" in str(source):
        raise InputError(
            f"SOURCE must be a folder on this machine, got {str(source)!r}; copy it here, or leave SOURCE out to use"
            " the picture service"
        )
    return Path(source).expanduser()


def _from_service(group: str, classes: list[str] | None, service: PictureService) -> Listing:
    known = service.classes(group)
    if known is None:
        groups = ", ".join(repr(name) for name in service.groups()) or "none"
        raise InputError(
            f"GROUP must be one that the picture service knows, got {group!r}; it knows {groups}."
            " Correct it, or pass SOURCE=<folder with one sub-folder per class>"
        )
    return sort_out(group, classes or known, service.pictures(group))


def _from_folder(
    group: str, classes: list[str] | None, folder: FolderSource, service: PictureService | None
) -> Listing:
    found, refused = folder.find()
    if classes is None and service is not None:
        classes = service.classes(group)
    if classes is None:
        classes = folder.labels(found)
    if len(classes) < 2:
        raise InputError(
            f"a group must have at least two classes, {folder.where} has {classes}; make one sub-folder per class"
        )
    return sort_out(group, classes, found, _named(refused))


def _named(refused: list[RefusedPicture]) -> list[RefusedPicture]:
    return sorted(refused, key=lambda item: item.picture_id)
