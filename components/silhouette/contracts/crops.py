"""Person crops to train and judge on: few big Arrow files that are mapped into memory, never loose pictures.

A folder: `crops-<split>-<number>.arrow` (Arrow IPC, uncompressed around the JPEGs, so that any row is read at
random without reading the file) and `crops.json` (`CropsHead`).

Beside train, val and test there are two splits without people, where a background set was named: views of places, to be
put behind people in training (`BACKGROUND_TRAIN`) and in evaluation (`BACKGROUND_TEST`). No picture of either is, looks
like or was taken with one of val or test, and none of the two with one of the other.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from silhouette.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.store import Store

JSON_NAME = "crops.json"
BACKGROUND_TRAIN, BACKGROUND_TEST = "background_train", "background_test"
BACKGROUND_SPLITS = (BACKGROUND_TRAIN, BACKGROUND_TEST)
ROWS_PER_SHARD = 4096  # about 100 MB of crops of 224 pixels


class CropsHead(BaseModel):
    """What a folder of crops holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str
    classes: list[str]
    crop_size: int
    crop_margin: float
    background: str
    """``keep``, or ``grey``: what is not the person is grey 127 in the crops themselves."""
    seed: int
    dataset_digest: str
    snapshot_digest: str
    counts: dict[str, dict[str, int]]
    """Crops per split and class."""
    skipped: dict[str, list[str]]
    """Picture ids that gave no crop, by reason."""
    background_digest: str = ""
    """Of the frozen background set (`silhouette.contracts.backgrounds`); empty without one."""
    background_counts: dict[str, int] = {}
    """Crops of places per split; empty without a set."""
    background_left_out: dict[str, list[str]] = {}
    """Ids of the set's pictures that must not be shown, by reason: ``person``, ``shared_with_val_or_test``, ..."""
    digest: str = ""
    """SHA-256 over all rows in order; `write` fills it in."""


@dataclass(frozen=True, kw_only=True)
class CropRow:
    """One person, cut out and scaled to a square; or a view of a place, on which nobody is.

    Attributes:
        picture_id: The id at the source, raw.
        pixset_id: The shoot, or empty.
        sha256: Of the picture's bytes.
        person_index: The person's number on the picture, from 0; -1: a place.
        box_xyxy: In pixels of the upright picture.
        score: The segmenter's, 0 to 1.
        label: One of the group's classes; empty: a place.
        split: ``train``, ``val`` or ``test``; of places ``background_train`` or ``background_test``.
        jpeg: The crop, RGB JPEG, `crop_size` x `crop_size`.
        mask_png: The person's mask on the crop, 8-bit PNG, 0 or 255, of the same size; empty: a place.
    """

    picture_id: str
    pixset_id: str
    sha256: str
    person_index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    label: str
    split: str
    jpeg: bytes
    mask_png: bytes


def _schema() -> Any:
    import pyarrow as pa

    text, binary = pa.string(), pa.binary()
    types = {
        "person_index": pa.int32(),
        "box_xyxy": pa.list_(pa.float32(), 4),
        "score": pa.float32(),
        "jpeg": binary,
        "mask_png": binary,
    }
    return pa.schema([(item.name, types.get(item.name, text)) for item in fields(CropRow)])


def write(folder: Path, head: CropsHead, rows: Iterable[CropRow], *, rows_per_shard: int = ROWS_PER_SHARD) -> CropsHead:
    """Write the crops into `folder` and return the head with its digest.

    Rows are streamed: memory holds one record batch per split, whatever their number.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    schema, digest = _schema(), hashlib.sha256()
    writers: dict[str, Any] = {}
    pending: dict[str, list[dict[str, Any]]] = {}
    written: dict[str, int] = {}

    def flush(split: str) -> None:
        batch = pa.RecordBatch.from_pylist(pending[split], schema=schema)
        number, offset = divmod(written.get(split, 0), rows_per_shard)
        if offset == 0:
            if split in writers:
                writers.pop(split).close()
            writers[split] = pa.ipc.new_file(str(folder / f"crops-{split}-{number:05d}.arrow"), schema)
        writers[split].write_batch(batch)
        written[split] = written.get(split, 0) + len(pending[split])
        pending[split] = []

    batch_rows = min(256, rows_per_shard)
    if rows_per_shard % batch_rows:
        raise InputError(f"rows_per_shard must be a multiple of {batch_rows}, got {rows_per_shard}")
    for row in rows:
        digest.update(repr([*asdict(row).values()]).encode("utf-8", "surrogatepass"))
        pending.setdefault(row.split, []).append(asdict(row))
        if len(pending[row.split]) == batch_rows:
            flush(row.split)
    for split, rest in list(pending.items()):
        if rest:
            flush(split)
    for writer in writers.values():
        writer.close()
    head = head.model_copy(update={"digest": digest.hexdigest()})
    (folder / JSON_NAME).write_text(head.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return head


def read_head(folder: Path) -> CropsHead:
    """Read `crops.json` of `folder`."""
    return CropsHead.model_validate_json((folder / JSON_NAME).read_text(encoding="utf-8"))


def store_prefix(digest: str) -> str:
    """Return where the store keeps the crops of this digest."""
    return f"crops/{digest}"


def keep(folder: Path, head: CropsHead, store: Store) -> None:
    """Put a folder of crops into the store under its digest, the head last, so that what is half is not there."""
    prefix = store_prefix(head.digest)
    if not store.exists(f"{prefix}/{JSON_NAME}"):
        store.put_many((f"{prefix}/{path.name}", path) for path in sorted(folder.glob("crops-*.arrow")))
        store.put_file(f"{prefix}/{JSON_NAME}", folder / JSON_NAME)


def fetch(digest: str, folder: Path, store: Store) -> CropsHead:
    """Get the crops of this digest from the store.

    Raises:
        InputError: The store does not have them.
        ServiceError: The store cannot be reached.
    """
    prefix = store_prefix(digest)
    if not store.exists(f"{prefix}/{JSON_NAME}"):
        raise InputError(f"the store must have the crops {digest[:12]}, it has none; build the dataset and train again")
    folder.mkdir(parents=True, exist_ok=True)
    store.get_tree(prefix, folder)
    return read_head(folder)


class CropTable:
    """The crops of one split, mapped into memory: cheap to open, safe to share with forked workers.

    Args:
        folder: What `write` wrote.
        split: One of those of `CropRow`; a split without crops is an empty table.
    """

    def __init__(self, folder: Path, split: str) -> None:
        import pyarrow as pa

        schema = _schema()
        batches = []
        for path in sorted(folder.glob(f"crops-{split}-*.arrow")):
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            if reader.schema != schema:
                raise InputError(f"{path} must have the columns {schema.names}, got {reader.schema.names}")
            batches += [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._table = pa.Table.from_batches(batches, schema=schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> CropRow:
        if not 0 <= index < len(self):
            raise IndexError(index)
        record = self._table.slice(index, 1).to_pylist()[0]
        return CropRow(**{**record, "box_xyxy": tuple(record["box_xyxy"])})

    def __iter__(self) -> Iterator[CropRow]:
        return (self[index] for index in range(len(self)))

    def column(self, name: str) -> list[Any]:
        """Return one column without touching the others, e.g. ``label`` or ``picture_id``."""
        return list(self._table.column(name).to_pylist())


def decode_jpeg(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """Decode a crop to uint8 RGB [size, size, 3]."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"))


def decode_mask(mask_png: bytes) -> npt.NDArray[np.uint8]:
    """Decode a crop's mask to uint8 [size, size], 0 or 255."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(mask_png)) as mask:
        return np.asarray(mask.convert("L"))
