"""What a run leaves in the store for the next one, and for people who look there.

Writes   ``datasets/<key>.csv``      the dataset's rows
         ``quarantine/<key>.csv``    what is not in it, and why
         ``meta/<key>.jsonl.gz``     a line a picture: the service's metadata and all that was found out about it
Reads    the same of the run before: whose pictures are gone now, and what a wiped database knew.

One object a group and not one a picture: a small put costs the store half as much as a whole photograph.
"""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import dataset as dataset_contract
from silhouette.database import pictures
from silhouette.database.pictures import PictureRecord
from silhouette.download_pictures.scratch import WITHDRAWN, Scratch
from silhouette.errors import InputError
from silhouette.picture_source.listing import in_batches
from silhouette.store import Store

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 2000
_GONE = (WITHDRAWN, "missing")  # a service may stop to send a picture before it stops to list it


class Archive:
    """The three objects of one group or set of pixsets.

    Args:
        store: Where they are.
        key: `silhouette.names.safe_key` of the group, below ``pixsets/`` for a set of pixsets.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._dataset, self._quarantine = f"datasets/{key}.csv", f"quarantine/{key}.csv"
        self._meta = f"meta/{key}.jsonl.gz"

    def write(self, folder: Path, scratch: Scratch) -> None:
        """Write all three; the dataset last, so that a killed run forgets no withdrawn picture.

        Args:
            folder: The dataset folder.
            scratch: Has the records.
        """
        with tempfile.TemporaryDirectory(prefix="silhouette-meta-") as scratch_folder:
            path = Path(scratch_folder) / "meta.jsonl.gz"
            with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as file:
                for line in scratch.records():
                    file.write(line.encode() + b"\n")
            self._store.put_file(self._meta, path, content_type="application/gzip")
        for key, name in (
            (self._quarantine, dataset_contract.QUARANTINE_NAME),
            (self._dataset, dataset_contract.CSV_NAME),
        ):
            self._store.put_file(key, folder / name, content_type="text/csv")

    def earlier_ids(self, origin: str) -> Iterator[str]:
        """Yield the ids of the last dataset, and of those that were withdrawn before it.

        Args:
            origin: Of the pictures; a dataset of another origin has nothing to say about them.
        """
        first = next(self._lines(), "{}")
        if json.loads(first).get("origin") != origin:
            return
        yield from (row["picture_id"] for row in self._table(self._dataset))
        yield from (row["picture_id"] for row in self._table(self._quarantine) if row.get("reason") in _GONE)

    def restore(self, connection: psycopg.Connection, *, store_id: str) -> int:
        """Tell a database that was wiped what the last run knew; return of how many pictures.

        Args:
            connection: To that database.
            store_id: Of the store as it is: what was kept in an earlier one is gone.
        """
        names = [item.name for item in fields(PictureRecord)]
        number = 0
        for lines in in_batches(self._lines(), _AT_ONCE):
            found = [line for line in map(json.loads, lines) if line.keys() >= set(names)]  # else of another version
            records = [PictureRecord(**{name: line[name] for name in names}) for line in found]
            kept = [record for record in records if record.store_id == store_id]
            pictures.restore(connection, kept)
            number += len(kept)
        return number

    def _lines(self) -> Iterator[str]:
        with self._fetched(self._meta) as path:
            if path is not None:
                with gzip.open(path, "rt", encoding="utf-8") as file:
                    yield from file

    def _table(self, key: str) -> Iterator[dict[str, str]]:
        with self._fetched(key) as path:
            if path is not None:
                with path.open(newline="", encoding="utf-8") as file:
                    yield from csv.DictReader(file)

    @contextmanager
    def _fetched(self, key: str) -> Iterator[Path | None]:
        with tempfile.TemporaryDirectory(prefix="silhouette-meta-") as folder:
            path = Path(folder) / "object"
            try:
                self._store.get_file(key, path)
            except InputError:  # no run has written it yet
                yield None
            else:
                yield path
