"""The pictures of several groups as their last download left them, each once, in the order of their ids.

Reads ``datasets/<group key>.csv`` in the store and the datasets' digests in PostgreSQL; writes the tables into a folder
of the caller. They are merged row by row, so that a million pictures take no memory.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import PictureRow
from silhouette.database import labels
from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.store import MissingObjectError, Store

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, kw_only=True)
class GroupPicture:
    """A picture, and which of the groups have it; `same` is false when they have different bytes under its id."""

    row: PictureRow
    groups: tuple[str, ...]
    same: bool


class GroupPictures:
    """The pictures of `groups`; `digests` are those of their datasets, `total` counts ids, twice if in two groups.

    Args:
        groups: Names, at least one; a repeated one counts once.
        folder: Gets the tables.
        store: Has them.
        connection: Knows the datasets.

    Raises:
        InputError: No group is named, or one of them was never downloaded or has no pictures.
        ServiceError: The store or PostgreSQL failed.
    """

    def __init__(self, groups: Sequence[str], *, folder: Path, store: Store, connection: psycopg.Connection) -> None:
        self.groups = tuple(dict.fromkeys(groups))
        if not self.groups:
            raise InputError("at least one group must be named, got none; say --groups NAME...")
        self.digests: dict[str, str] = {}
        self.total = 0
        self._tables: list[tuple[str, Path]] = []
        for group in self.groups:
            known = labels.latest_dataset(connection, group=group)
            path = folder / f"{safe_key(group)}.csv"
            try:
                store.get_file(f"datasets/{safe_key(group)}.csv", path)
            except MissingObjectError:
                known = None
            if known is None:
                raise InputError(
                    f"a group must have been downloaded, {group!r} was not; run `silhouette download --group ...` and"
                    " `silhouette segment --group ...` first, or correct the name (`silhouette db report` lists them)"
                )
            if not known.pictures:
                raise InputError(f"a group must have pictures, {group!r} has none; bring some and download it again")
            self.digests[group] = known.digest
            self.total += known.pictures
            self._tables.append((group, path))

    def __iter__(self) -> Iterator[GroupPicture]:
        """Yield every picture once, sorted by id."""
        merged = heapq.merge(*(_rows(*table) for table in self._tables), key=lambda found: found[0].picture_id)
        for _, same_id in itertools.groupby(merged, key=lambda found: found[0].picture_id):
            found = list(same_id)
            row = found[0][0]
            yield GroupPicture(
                row=row,
                groups=tuple(group for _, group in found),
                same=all(other.sha256 == row.sha256 for other, _ in found),
            )


def _rows(group: str, path: Path) -> Iterator[tuple[PictureRow, str]]:
    for row in datasets.read_rows(path, None):
        yield row, group
