"""The ledger of a run: which pictures are done, so that each is classified once however often a run is killed.

Reads and writes ``<inference key>/parts/<run>/<number>.parquet`` in the store. A run's pictures are in a fixed order,
cut into chunks; a part is what became of one chunk, one object, there as a whole or not at all. The run's digest is
over everything that decides the answers, so parts of other pictures, models or badlists are never taken for these.
Shards share the ledger: shard i of n does every n-th chunk, and whoever finds all parts there merges them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from silhouette.contracts import predictions
from silhouette.contracts.predictions import Prediction
from silhouette.store import Store

CHUNK = 128  # pictures a part; what a kill can lose


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of one person, or of one picture without people.

    Attributes:
        row: The prediction; of a picture that was not classified only its id is meant.
        reason: Why it was not; empty: it was.
        detail: Of the reason.
        thumbnail: A JPEG for the gallery; empty: it is not among those that are shown.
    """

    row: Prediction
    reason: str = ""
    detail: str = ""
    thumbnail: bytes = b""


class Ledger:
    """The parts of one run.

    Args:
        store: Holds them.
        prefix: Where, without a slash at its end.
        run: Digest of all that decides the answers.
        pictures: How many the run has.
    """

    def __init__(self, store: Store, prefix: str, *, run: str, pictures: int) -> None:
        self._store, self._folder = store, f"{prefix}/parts/{run}/"
        self.chunks = -(-pictures // CHUNK)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Return those of the chunks that have no part yet."""
        there = set(self._store.list_keys(self._folder))
        return [number for number in numbers if self._key(number) not in there]

    def write(self, number: int, lines: Sequence[Line]) -> None:
        """Keep what became of a chunk."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = _schema()
        records = [{**asdict(line.row), **_besides(line)} for line in lines]
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records, schema=columns), stream)
        self._store.put_bytes(self._key(number), stream.getvalue())

    def read(self, numbers: Iterable[int]) -> Iterator[Line]:
        """Yield the lines of parts, a part in memory at a time."""
        import pyarrow.parquet as pq

        for number in numbers:
            table = pq.read_table(io.BytesIO(self._store.get_bytes(self._key(number))))
            for record in table.to_pylist():
                rest = {name: record.pop(name) for name in ("reason", "detail", "thumbnail")}
                yield Line(row=Prediction(**record), **rest)

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08d}.parquet"


def drop(store: Store, prefix: str, run: str) -> None:
    """Remove the parts of a run that nobody needs any more."""
    for key in list(store.list_keys(f"{prefix}/parts/{run}/")):
        store.remove(key)


def _besides(line: Line) -> dict[str, Any]:
    return {"reason": line.reason, "detail": line.detail, "thumbnail": line.thumbnail}


def _schema() -> Any:
    import pyarrow as pa

    texts = pa.schema([("reason", pa.string()), ("detail", pa.string()), ("thumbnail", pa.binary())])
    return pa.unify_schemas([predictions.schema(), texts])
