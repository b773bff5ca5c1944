"""Rows of one picture out of large Arrow and Parquet objects: a few ranges of bytes are read, never the whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silhouette.store import Store, StoredObject


class StoredFile(io.RawIOBase):
    """An object as a file that can be sought and read."""

    def __init__(self, store: Store, item: StoredObject) -> None:
        super().__init__()
        self._store, self._item, self._at = store, item, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._item.size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        """Say at which byte it is."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read from here on, to the end without a size."""
        left = max(0, self._item.size_bytes - self._at)
        data = self._store.get_range(self._item.key, start=self._at, size_bytes=left if size < 0 else min(size, left))
        self._at += len(data)
        return data


def parquet_rows(store: Store, item: StoredObject, *, picture_id: str) -> list[dict[str, Any]]:
    """Return a picture's rows of a Parquet object; row groups whose ids are all others are not read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    with pa.PythonFile(StoredFile(store, item), mode="r") as file, pq.ParquetFile(file) as parquet:
        column = parquet.schema_arrow.names.index("picture_id")
        for number in range(parquet.num_row_groups):
            bounds = parquet.metadata.row_group(number).column(column).statistics
            if bounds is not None and bounds.has_min_max and not bounds.min <= picture_id <= bounds.max:
                continue
            table = parquet.read_row_group(number)
            rows += table.filter(pc.equal(table["picture_id"], picture_id)).to_pylist()
    return rows


def arrow_rows(
    store: Store, shards: Sequence[StoredObject], *, picture_id: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a picture's rows of Arrow objects whose rows are sorted by id, by halving: shards, then their batches.

    Args:
        store: Has them.
        shards: In order.
        picture_id: Which rows.
        columns: Which of their columns; ``picture_id`` first.
    """
    batches = _Batches(store, shards, columns)
    rows: list[dict[str, Any]] = []
    shard = _last_not_after(picture_id, len(shards), lambda number: batches.first_id(number, 0))
    while shard < len(shards):
        count = batches.count(shard)
        number = _last_not_after(picture_id, count, lambda one, shard=shard: batches.first_id(shard, one))
        while number < count:
            ids = batches.column(shard, number)
            if ids[0] > picture_id:
                return rows
            rows += [row for row in batches.rows(shard, number) if row["picture_id"] == picture_id]
            if ids[-1] > picture_id:
                return rows
            number += 1
        shard += 1
        if shard < len(shards) and batches.first_id(shard, 0) > picture_id:
            break
    return rows


def _last_not_after(picture_id: str, count: int, first_id: Any) -> int:
    """Return the last part that may begin the picture's rows: the one before the first that starts at or after it."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if first_id(middle) < picture_id:
            low = middle + 1
        else:
            high = middle
    return max(0, low - 1)


class _Batches:
    """The record batches of shards; each is read once, and of it the columns alone."""

    def __init__(self, store: Store, shards: Sequence[StoredObject], columns: Sequence[str]) -> None:
        self._store, self._shards, self._columns = store, shards, columns
        self._readers: dict[int, Any] = {}
        self._read: dict[tuple[int, int], list[dict[str, Any]]] = {}

    def count(self, shard: int) -> int:
        return int(self._reader(shard).num_record_batches)

    def rows(self, shard: int, number: int) -> list[dict[str, Any]]:
        if (shard, number) not in self._read:
            self._read[shard, number] = self._reader(shard).get_batch(number).to_pylist()
        return self._read[shard, number]

    def column(self, shard: int, number: int) -> list[str]:
        return [row["picture_id"] for row in self.rows(shard, number)]

    def first_id(self, shard: int, number: int) -> str:
        return self.column(shard, number)[0]

    def _reader(self, shard: int) -> Any:
        import pyarrow as pa

        if shard not in self._readers:
            file = pa.PythonFile(StoredFile(self._store, self._shards[shard]), mode="r")
            names = pa.ipc.open_file(file).schema.names
            wanted = [names.index(name) for name in self._columns]
            self._readers[shard] = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
        return self._readers[shard]
