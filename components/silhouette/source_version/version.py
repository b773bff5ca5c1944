"""Digest what a run would work on, so that the cached steps behind it run again exactly when they must.

Reads a source's listing; writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from silhouette.config import Config
from silhouette.picture_source.listing import Listing
from silhouette.picture_source.source import Source, open_pixsets, open_source
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """What there is.

    Attributes:
        digest: SHA-256 over the listing with its content stamps, the classes, the limits on pictures, and the id that
            the store got at its creation. A wiped database is noticed behind it, by `snapshot_contours`.
        group: The group, raw.
        classes: In the order of the model's outputs.
        pictures: How many the source lists with a usable label.
        counts: Of them per class, in class order.
        where: The source in words.
    """

    digest: str
    group: str
    classes: tuple[str, ...]
    pictures: int
    counts: Mapping[str, int]
    where: str


def source_version(
    *,
    group: str,
    source: Path | str | None,
    store: Store,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> SourceVersion:
    """List a group at its source and digest all that decides what comes of it.

    Args:
        group: Any text.
        source: A folder or ``s3://bucket/prefix``; None or empty: the picture service.
        store: Its installation id enters: a wiped bucket must fetch again.
        config: The classes, and the limits of `pictures`.
        picture_service: Where the service is; None: what the environment says.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_source`.
    """
    opening = open_source(group=group, source=source, config=config, store=store, picture_service=picture_service)
    return _version(opening, store, config)


def pixsets_version(
    *, pixsets: Path, store: Store, config: Config, picture_service: PictureServiceSettings | None = None
) -> SourceVersion:
    """List the pictures of pixsets and digest all that decides what comes of them.

    Args:
        pixsets: A list as `silhouette.picture_source.pixsets` reads it.
        store: As in `source_version`.
        config: As in `source_version`.
        picture_service: As in `source_version`.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_pixsets`.
    """
    return _version(open_pixsets(pixsets=pixsets, config=config, picture_service=picture_service), store, config)


def _version(opening: AbstractContextManager[tuple[Source, Listing]], store: Store, config: Config) -> SourceVersion:
    with opening as (opened, listing):
        limits = config.pictures.model_dump(exclude={"workers", "max_unavailable"})
        content = json.dumps([listing.digest(), limits, store.installation_id()], sort_keys=True)
        return SourceVersion(
            digest=hashlib.sha256(content.encode()).hexdigest(),
            group=listing.group,
            classes=listing.classes,
            pictures=len(listing),
            counts=listing.counts(),
            where=opened.where,
        )
