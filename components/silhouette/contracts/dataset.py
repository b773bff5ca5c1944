"""The pictures and labels of a group: what `download_pictures` writes and every later step reads.

A folder with two files: `dataset.csv`, one row a picture, and `dataset.json`, the group, its classes in order
and what was refused. Pixels are never here; `object_key` says where in the store the bytes are.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from silhouette.contracts import table
from silhouette.errors import InputError

CSV_NAME = "dataset.csv"
JSON_NAME = "dataset.json"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One picture of the group.

    Attributes:
        picture_id: The id at the source, raw.
        object_key: Where the bytes are in the store, ``pictures/<sha256[:2]>/<sha256>.<ext>``.
        sha256: Of the bytes, lower-case hexadecimal.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        label: One of the group's classes.
        pixset_id: The shoot it belongs to, or empty.
        split: ``train``, ``val`` or ``test`` when the source brought it, else empty.
    """

    picture_id: str
    object_key: str
    sha256: str
    width: int
    height: int
    label: str
    pixset_id: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class RefusedPicture:
    """A picture that did not come in: its id, a short stable reason and the detail."""

    picture_id: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A group as it was found at its source; rows are sorted by `picture_id`."""

    group: str
    classes: tuple[str, ...]
    rows: tuple[PictureRow, ...]
    refused: tuple[RefusedPicture, ...] = field(default=())

    def digest(self) -> str:
        """Return the SHA-256 of group, classes and rows; it says exactly what the dataset contains."""
        content = json.dumps(
            [self.group, self.classes, [list(asdict(row).values()) for row in self.rows]], ensure_ascii=False
        )
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def counts(self) -> dict[str, int]:
        """Return the number of pictures per class, in class order."""
        found = Counter(row.label for row in self.rows)
        return {name: found[name] for name in self.classes}


def write(folder: Path, dataset: Dataset) -> None:
    """Write `dataset` into `folder`, which is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [item.name for item in fields(PictureRow)]
    table.write(folder / CSV_NAME, names, (asdict(row) for row in dataset.rows))
    head = {
        "group": dataset.group,
        "classes": list(dataset.classes),
        "digest": dataset.digest(),
        "counts": dataset.counts(),
        "refused": [asdict(item) for item in dataset.refused],
    }
    (folder / JSON_NAME).write_text(json.dumps(head, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Dataset:
    """Read a dataset folder.

    Raises:
        InputError: A file or column is missing, or a row is malformed (file, line and value are named).
    """
    head = _read_head(folder / JSON_NAME)
    classes = tuple(head["classes"])
    refused = tuple(RefusedPicture(**item) for item in head["refused"])
    return Dataset(
        group=head["group"], classes=classes, rows=tuple(_read_rows(folder / CSV_NAME, classes)), refused=refused
    )


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"a dataset must have a readable {path}, got {error}; run download_pictures again") from None
    if missing := {"group", "classes", "refused"} - set(head):
        raise InputError(f"{path} must have {', '.join(sorted(missing))}; run download_pictures again")
    return head


def _read_rows(path: Path, classes: tuple[str, ...]) -> Iterator[PictureRow]:
    names = [item.name for item in fields(PictureRow)]
    if not path.is_file():
        raise InputError(f"a dataset must have {path}, it does not exist; run download_pictures again")
    with path.open(newline="", encoding="utf-8") as file:
        records = csv.DictReader(file, strict=True)
        if records.fieldnames != names:
            raise InputError(f"{path} must have the columns {','.join(names)}, got {records.fieldnames}")
        for record in records:
            yield _read_row(record, classes, where=f"{path}:{records.line_num}")


def _read_row(record: dict[str, Any], classes: tuple[str, ...], *, where: str) -> PictureRow:
    if None in record or None in record.values():
        cells = [cell for cell in record.values() if isinstance(cell, str)] + record.get(None, [])  # type: ignore[call-overload]
        raise InputError(f"{where}: a row must have {len(fields(PictureRow))} cells, got {len(cells)}")
    if record["label"] not in classes:
        raise InputError(f"{where}: label must be one of {list(classes)}, got {record['label']!r}")
    if record["split"] not in ("", *SPLITS):
        raise InputError(f"{where}: split must be one of {list(SPLITS)} or empty, got {record['split']!r}")
    try:
        size = {name: int(record[name]) for name in ("width", "height")}
    except ValueError:
        raise InputError(
            f"{where}: width and height must be whole numbers, got {record['width']!r}, {record['height']!r}"
        ) from None
    return PictureRow(**{**record, **size})
