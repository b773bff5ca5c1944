"""Digest what a run would work on, so that the cached steps behind it run again exactly when they must.

Reads a source's listing, the badlist, and what the last download left out for it; writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.config import Config
from silhouette.contracts import dataset as datasets
from silhouette.names import safe_key
from silhouette.picture_source.badlisted import find_barred
from silhouette.picture_source.listing import Listing
from silhouette.picture_source.source import Source, open_pixsets, open_source
from silhouette.settings import PictureServiceSettings
from silhouette.store import MissingObjectError, Store

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """What there is.

    Attributes:
        digest: SHA-256 over the listing with its content stamps, the classes, the limits on pictures, the id that the
            store got at its creation, and which listed pictures are on the badlist, since when. A wiped database is
            noticed behind it, by `snapshot_contours`.
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
    connection: psycopg.Connection,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> SourceVersion:
    """List a group at its source and digest all that decides what comes of it.

    Args:
        group: Any text.
        source: A folder or ``s3://bucket/prefix``; None or empty: the picture service.
        store: Its installation id enters: a wiped bucket must fetch again.
        connection: To a migrated database; has the badlist.
        config: The classes, and the limits of `pictures`.
        picture_service: Where the service is; None: what the environment says.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_source`.
    """
    opening = open_source(group=group, source=source, config=config, store=store, picture_service=picture_service)
    return _version(opening, safe_key(group), store, connection, config)


def pixsets_version(
    *,
    pixsets: Path,
    store: Store,
    connection: psycopg.Connection,
    config: Config,
    picture_service: PictureServiceSettings | None = None,
) -> SourceVersion:
    """List the pictures of pixsets and digest all that decides what comes of them.

    Args:
        pixsets: A list as `silhouette.picture_source.pixsets` reads it.
        store: As in `source_version`.
        connection: As in `source_version`.
        config: As in `source_version`.
        picture_service: As in `source_version`.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_pixsets`.
    """
    opening = open_pixsets(pixsets=pixsets, config=config, picture_service=picture_service)
    return _version(opening, f"pixsets/{safe_key(pixsets.stem)}", store, connection, config)


def _version(
    opening: AbstractContextManager[tuple[Source, Listing]],
    key: str,
    store: Store,
    connection: psycopg.Connection,
    config: Config,
) -> SourceVersion:
    with opening as (opened, listing):
        limits = config.pictures.model_dump(exclude={"workers", "max_unavailable"})
        barred = find_barred(listing, opened, connection)
        badlist = [[name, item.since.astimezone(UTC).isoformat()] for name, item in barred.items()]
        back = sorted(_back_again(listing, store, key, barred))
        content = json.dumps([listing.digest(), limits, store.installation_id(), badlist, back], sort_keys=True)
        return SourceVersion(
            digest=hashlib.sha256(content.encode()).hexdigest(),
            group=listing.group,
            classes=listing.classes,
            pictures=len(listing),
            counts=listing.counts(),
            where=opened.where,
        )


def _back_again(listing: Listing, store: Store, key: str, barred: Collection[str]) -> Iterator[str]:
    """Yield the listed pictures that the last download left out for the badlist, and that are not on it any more.

    Without them the digest would be the one from before they came on it, and the download step would not run to bring
    them into labels and store again.
    """
    with tempfile.TemporaryDirectory(prefix="silhouette-version-") as folder:
        path = Path(folder) / datasets.QUARANTINE_NAME
        try:
            store.get_file(f"quarantine/{key}.csv", path)
        except MissingObjectError:  # nothing was downloaded yet
            return
        for item in datasets.read_refused(path):
            if item.reason == datasets.BADLISTED and item.picture_id not in barred and item.picture_id in listing:
                yield item.picture_id
