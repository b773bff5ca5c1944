"""A frozen background set: its pictures, and by reason those that are left out, e.g. because somebody is on them.

`<digest>.json` (store key `backgrounds/<digest>.json`), the digest being that of the content, so that a step that
depends on a set takes the digest as a parameter. Pixels are never here. Before it is frozen, the dataset of a set that
was downloaded for a run lies at `backgrounds/versions/<version>/` (`silhouette.contracts.dataset`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from silhouette.contracts.dataset import CSV_NAME, JSON_NAME, QUARANTINE_NAME, PictureRow
from silhouette.errors import InputError

if TYPE_CHECKING:
    from silhouette.store import Store

_VERSIONS = "backgrounds/versions"
_DATASET_FILES = (CSV_NAME, QUARANTINE_NAME, JSON_NAME)


class BackgroundSet(BaseModel):
    """Pictures of places, to be put behind people.

    Attributes:
        name: Of the list of pixsets.
        model_digest: The segmenter that looked for people on them, with its settings.
        installations: Random ids of the store and the database, so that a wiped one gives another digest.
        pictures: All of the set but those on the badlist, sorted by `picture_id`; those that are left out say what the
            others are related to.
        left_out: By reason, sorted, the ids of those that must not be shown, e.g. because somebody is on them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model_digest: str
    installations: tuple[str, ...] = ()
    pictures: tuple[PictureRow, ...]
    left_out: dict[str, list[str]]

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return self.model_dump_json().encode()

    def digest(self) -> str:
        """Return the SHA-256 of the content."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def store_key(digest: str) -> str:
    """Return where the store has the frozen set of this digest."""
    return f"backgrounds/{digest}.json"


def keep_version(store: Store, version: str, folder: Path) -> None:
    """Put the dataset folder of a set into the store, for steps that know only what `source_version` called it."""
    for name in _DATASET_FILES:
        store.put_file(f"{_VERSIONS}/{version}/{name}", folder / name)


def fetch_version(store: Store, version: str, folder: Path) -> Path:
    """Get the dataset folder that `keep_version` put into the store; return `folder`.

    Raises:
        InputError: It is not there.
        ServiceError: The store went away.
    """
    for name in _DATASET_FILES:
        store.get_file(f"{_VERSIONS}/{version}/{name}", folder / name)
    return folder


def write(store: Store, content: BackgroundSet) -> str:
    """Put a set into the store unless it is there; return its digest."""
    digest = content.digest()
    if not store.exists(store_key(digest)):
        store.put_bytes(store_key(digest), content.to_bytes(), content_type="application/json")
    return digest


def read(store: Store, digest: str) -> BackgroundSet:
    """Read a set.

    Raises:
        InputError: It is not there, or damaged.
        ServiceError: The store went away.
    """
    data = store.get_bytes(store_key(digest))
    found = hashlib.sha256(data).hexdigest()
    try:
        if found == digest:
            return BackgroundSet.model_validate_json(data)
    except ValidationError as error:
        found = f"{error.error_count()} malformed fields"
    raise InputError(
        f"a background set must have the digest of its name, {store_key(digest)} has {found};"
        " remove that object and freeze the set again"
    )
