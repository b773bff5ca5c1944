"""Digest what a run would work on, so that the cached steps behind it run again exactly when they must.

Reads a source's listing; writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from silhouette.config import Config
from silhouette.picture_source.source import open_source
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
        source: A folder; None or empty: the picture service.
        store: Its installation id enters: a wiped bucket must fetch again.
        config: The classes, and the limits of `pictures`.
        picture_service: Where the service is; None: what the environment says.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_source`.
    """
    with open_source(group=group, source=source, config=config, picture_service=picture_service) as (opened, listing):
        where = opened.where
    limits = config.pictures.model_dump(exclude={"workers"})
    content = json.dumps([listing.digest(), limits, store.installation_id()], sort_keys=True)
    return SourceVersion(
        digest=hashlib.sha256(content.encode()).hexdigest(),
        group=group,
        classes=listing.classes,
        pictures=len(listing.pictures),
        counts=listing.counts(),
        where=where,
    )
