"""A group's pictures in a folder for each class, and its tables, as far as they may still be shown."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import BADLISTED, PictureRow, RefusedPicture
from silhouette.database.usable import WITHDRAWN, Usable
from silhouette.errors import InputError
from silhouette.names import file_name, safe_key
from silhouette.picture_source.listing import in_batches
from silhouette.progress import track
from silhouette.pull_folders.place import COLUMNS, TABLE_NAME, disk_errors, fetch, listed, write_table
from silhouette.store import DEFAULT_WORKERS, MissingObjectError, Store, in_parallel

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 1000


@dataclass(kw_only=True)
class Tally:
    """What a pull did."""

    pictures: int = 0
    files: int = 0
    fetched: int = 0
    removed: int = 0
    missing: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class GroupTables:
    """A group's `dataset.csv` and `quarantine.csv` as the store has them, for as long as `folder` is there.

    Raises:
        InputError: The group was never downloaded.
        ServiceError: The store failed.
    """

    def __init__(self, group: str, *, store: Store, connection: psycopg.Connection, folder: Path) -> None:
        self.usable = Usable(connection, group=group)
        self._dataset, self._quarantine = folder / datasets.CSV_NAME, folder / datasets.QUARANTINE_NAME
        try:
            store.get_file(f"datasets/{safe_key(group)}.csv", self._dataset)
            store.get_file(f"quarantine/{safe_key(group)}.csv", self._quarantine)
        except MissingObjectError:
            raise InputError(
                f"group {group!r} must be in the store, its tables are not; run `silhouette download --group ...` first"
            ) from None

    def rows(self, tally: Tally | None = None) -> Iterator[PictureRow]:
        """Yield the pictures that may be shown; the others are counted."""
        for part in in_batches(datasets.read_rows(self._dataset, None), _AT_ONCE):
            refused = self.usable.refused([row.picture_id for row in part])
            for row in part:
                reason = BADLISTED if self.usable.has_bad_bytes(row.sha256) else refused.get(row.picture_id, "")
                if not reason:
                    yield row
                elif tally:
                    tally.left_out[reason] += 1

    def quarantined(self) -> Iterator[RefusedPicture]:
        """Yield what did not come in, without what is on the badlist."""
        for part in in_batches(datasets.read_refused(self._quarantine), _AT_ONCE):
            refused = self.usable.refused([item.picture_id for item in part])
            yield from (item for item in part if refused.get(item.picture_id) != BADLISTED)

    def count(self) -> int:
        """Count the pictures of the table."""
        with self._dataset.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.reader(file)) - 1


def pull_tables(folder: Path, *, group: str, store: Store, connection: psycopg.Connection, tally: Tally) -> None:
    """Write a group's two tables without what must not be shown."""
    with tempfile.TemporaryDirectory(prefix="silhouette-pull-") as scratch:
        _write_tables(folder, GroupTables(group, store=store, connection=connection, folder=Path(scratch)), tally)


def _write_tables(folder: Path, tables: GroupTables, tally: Tally) -> None:
    """Write the group's two tables; quarantined pictures that were withdrawn are counted."""
    write_table(folder / datasets.CSV_NAME, [item.name for item in fields(PictureRow)], map(vars, tables.rows(tally)))

    def kept() -> Iterator[dict[str, Any]]:
        for item in tables.quarantined():
            tally.left_out[WITHDRAWN] += item.reason == WITHDRAWN
            yield vars(item)

    write_table(folder / datasets.QUARANTINE_NAME, [item.name for item in fields(RefusedPicture)], kept())
    tally.files += 2


def pull_pictures(
    folder: Path, *, group: str, store: Store, connection: psycopg.Connection, limit: int, tally: Tally
) -> None:
    """Lay out ``<class>/<picture id>.<ext>`` with the tables, and `files.csv`, which says which file is which.

    What an earlier pull laid out and what must not be shown any more, or has another label or other bytes, is removed.

    Args:
        folder: Of the group.
        group: Raw.
        store: Has tables and pictures.
        connection: Has labels and badlist.
        limit: At most so many pictures; 0: all.
        tally: Counts.
    """
    with tempfile.TemporaryDirectory(prefix="silhouette-pull-") as scratch:
        tables = GroupTables(group, store=store, connection=connection, folder=Path(scratch))
        _write_tables(folder, tables, tally)
        _remove_outdated(folder, tables, tally)

        def lay_out(item: tuple[int, PictureRow]) -> _LaidOut:
            number, row = item
            path = folder / _class_folder(row.label) / f"{file_name(row.picture_id)}{Path(row.object_key).suffix}"
            if limit and number >= limit:
                return _LaidOut(row=row, path=path, is_there=path.is_file(), is_new=False, is_meant=False)
            try:
                is_new = fetch(store, row.object_key, path, sha256=row.sha256)
            except MissingObjectError:
                return _LaidOut(row=row, path=path, is_there=False, is_new=False)
            return _LaidOut(row=row, path=path, is_there=True, is_new=is_new)

        def lines() -> Iterator[dict[str, str]]:
            work = in_parallel(lay_out, enumerate(tables.rows()), workers=DEFAULT_WORKERS)
            with closing(work):
                for done in track(work, total=tables.count(), description="pulling pictures"):
                    tally.pictures += done.is_there
                    tally.fetched += done.is_new
                    tally.missing += done.is_meant and not done.is_there
                    if done.is_there:
                        row, file = done.row, done.path.relative_to(folder).as_posix()
                        yield {"file": file, "name": row.picture_id, "label": row.label, "object_key": row.object_key}

        write_table(folder / TABLE_NAME, COLUMNS, lines())


@dataclass(frozen=True, kw_only=True)
class _LaidOut:
    row: PictureRow
    path: Path
    is_there: bool
    is_new: bool
    is_meant: bool = True


def _class_folder(label: str) -> str:
    """Return a class's folder, which must not have the name of a table beside it."""
    taken = (datasets.CSV_NAME, datasets.QUARANTINE_NAME, TABLE_NAME)
    return safe_key(label) if label in taken else file_name(label)


def _remove_outdated(folder: Path, tables: GroupTables, tally: Tally) -> None:
    """Remove the files of an earlier pull that are not what the group has now."""
    for part in in_batches(listed(folder), _AT_ONCE):
        ids = [line["name"] for line in part]
        refused, now = tables.usable.refused(ids), tables.usable.labels(ids)
        for line in part:
            sha256, label = now.get(line["name"], ("", ""))
            is_bad = line["name"] in refused or tables.usable.has_bad_bytes(sha256)
            path = folder / line["file"]
            if (is_bad or label != line["label"] or Path(line["object_key"]).stem != sha256) and path.is_file():
                with disk_errors(path):
                    path.unlink()
                tally.removed += 1
