"""Reviewed contours frozen in one file: what a step that depends on them reads instead of the database.

`<digest>.arrow` (Arrow IPC; store key `snapshots/<digest>.arrow`), one row a person in the order of sha256 and
person, a single row with `person_index` -1 for a picture on which nobody was found, and in the file's metadata
the `SnapshotHead`. Rejected segmentations and badlisted pictures have no rows. The digest is over the content
in canonical order, so that the same contours, review states and badlist always give the same address.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from silhouette.errors import InputError

NOBODY = -1  # person_index of a picture without people
_HEAD = b"silhouette"


class SnapshotHead(BaseModel):
    """What a snapshot was made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_digest: str
    """The segmenter's, with its settings."""
    installations: tuple[str, ...] = ()
    """Random ids of the store and the database, so that a wiped one gives another digest."""
    badlisted: tuple[str, ...] = ()
    """Ids of the dataset's pictures that must not be used, sorted."""
    rejected: tuple[str, ...] = ()
    """SHA-256 of the pictures whose segmentation a marker rejected, sorted."""


@dataclass(frozen=True, kw_only=True)
class SnapshotRow:
    """One person of one picture.

    Attributes:
        sha256: Of the picture's bytes.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        person_index: The person's number on the picture, from 0; -1: nobody was found.
        box_xyxy: In pixels of the upright picture (32-bit floats).
        score: The segmenter's, 0 to 1.
        status: ``unchecked``, ``approved``, or ``nobody`` (verified: no person here).
        contours: `silhouette.contracts.contours`; empty where nobody was found.
    """

    sha256: str
    width: int
    height: int
    person_index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    status: str
    contours: bytes


def store_key(digest: str) -> str:
    """Return where the store has the snapshot of this digest."""
    return f"snapshots/{digest}.arrow"


def _schema() -> Any:
    import pyarrow as pa

    whole = pa.int32()
    types = {
        "width": whole,
        "height": whole,
        "person_index": whole,
        "box_xyxy": pa.list_(pa.float32(), 4),
        "score": pa.float32(),
        "contours": pa.binary(),
    }
    return pa.schema([(item.name, types.get(item.name, pa.string())) for item in fields(SnapshotRow)])


def _in_order(rows: Iterable[SnapshotRow]) -> list[SnapshotRow]:
    return sorted(rows, key=lambda row: (row.sha256, row.person_index))


def _canonical(row: SnapshotRow) -> bytes:
    texts = f"{row.sha256} {row.status} ".encode()
    numbers = struct.pack("<3i5f", row.width, row.height, row.person_index, *row.box_xyxy, row.score)
    return texts + numbers + struct.pack("<i", len(row.contours)) + row.contours


def digest_of(head: SnapshotHead, rows: Iterable[SnapshotRow]) -> str:
    """Return the SHA-256 of the canonical content, whatever the order of the rows."""
    digest = hashlib.sha256(head.model_dump_json().encode() + b"\n")
    for row in _in_order(rows):
        digest.update(_canonical(row))
    return digest.hexdigest()


def write(path: Path, rows: Iterable[SnapshotRow], *, head: SnapshotHead) -> str:
    """Write the snapshot to `path` and return its digest."""
    import pyarrow as pa

    ordered = _in_order(rows)
    schema = _schema().with_metadata({_HEAD: head.model_dump_json().encode()})
    with pa.ipc.new_file(str(path), schema) as file:
        for start in range(0, len(ordered), 4096):
            part = [asdict(row) for row in ordered[start : start + 4096]]
            file.write_batch(pa.RecordBatch.from_pylist(part, schema=schema))
    return digest_of(head, ordered)


def _open(path: Path) -> Any:
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise InputError(
            f"{path} must be a snapshot of contours: {error}; make one with `silhouette snapshot`"
        ) from None
    if not reader.schema.equals(_schema()) or _HEAD not in (reader.schema.metadata or {}):
        raise InputError(f"{path} must have the columns {_schema().names}, got {reader.schema.names}")
    return reader


def read_head(path: Path) -> SnapshotHead:
    """Read what the snapshot was made of.

    Raises:
        InputError: The file is no snapshot.
    """
    return SnapshotHead.model_validate_json(_open(path).schema.metadata[_HEAD])


def read(path: Path) -> list[SnapshotRow]:
    """Read the rows, in the order of sha256 and person.

    Raises:
        InputError: The file is no snapshot.
    """
    records = _open(path).read_all().to_pylist()
    return [SnapshotRow(**{**record, "box_xyxy": tuple(record["box_xyxy"])}) for record in records]
