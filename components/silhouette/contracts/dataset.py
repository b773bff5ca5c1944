"""The pictures and labels of a group: what `download_pictures` writes and every later step reads.

A folder with three files: `dataset.csv`, one row a picture; `quarantine.csv`, one row for each that did not come in,
with its reason; `dataset.json`, the group, its classes in order, counts and digest. Pixels are never here;
`object_key` says where in the store the bytes are. Without classes it is a set of unlabelled pictures (of pixsets).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from silhouette.contracts import table
from silhouette.errors import InputError

CSV_NAME = "dataset.csv"
QUARANTINE_NAME = "quarantine.csv"
JSON_NAME = "dataset.json"
QUALITY_NAME = "quality.html"  # a page for people beside them
SPLITS = ("train", "val", "test")
BADLISTED = "badlisted"  # why a picture is left out, here and in every later step
_NUMBERS = ("width", "height", "working_width", "working_height")


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One picture of the group.

    Attributes:
        picture_id: The id at the source, raw.
        object_key: Where the bytes are in the store, ``pictures/<sha256[:2]>/<sha256>.<ext>``.
        sha256: Of the bytes, lower-case hexadecimal.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        label: One of the group's classes; empty in a set without classes.
        pixset_id: The shoot it belongs to, or empty.
        split: ``train``, ``val`` or ``test`` when the source brought it, else empty.
        near_group: Equal for pictures that are duplicates or look alike; empty when none was found.
        working_key: Where the working copy is, an upright RGB JPEG smaller than the original; empty when there is
            none, and the original is worked with.
        working_width: Of the working copy, pixels; 0 without one.
        working_height: Of the working copy, pixels; 0 without one.
    """

    picture_id: str
    object_key: str
    sha256: str
    width: int
    height: int
    label: str
    pixset_id: str = ""
    split: str = ""
    near_group: str = ""
    working_key: str = ""
    working_width: int = 0
    working_height: int = 0


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
        digest = _Digest(self.group, self.classes)
        for row in self.rows:
            digest.add(row)
        return digest.hexdigest()

    def counts(self) -> dict[str, int]:
        """Return the number of pictures per class, in class order."""
        found = Counter(row.label for row in self.rows)
        return {name: found[name] for name in self.classes}


@dataclass(frozen=True, kw_only=True)
class DatasetHead:
    """What `dataset.json` says.

    Attributes:
        group: Raw.
        classes: In the order of the model's outputs.
        digest: Of `Dataset.digest`.
        pictures: Rows of `dataset.csv`.
        counts: Of them per class, in class order.
        refused: Pictures that did not come in, by reason.
    """

    group: str
    classes: list[str]
    digest: str
    pictures: int
    counts: dict[str, int]
    refused: dict[str, int]


class _Digest:
    def __init__(self, group: str, classes: Sequence[str]) -> None:
        self._sha256 = hashlib.sha256()
        self._line([group, list(classes)])

    def add(self, row: PictureRow) -> None:
        self._line(list(vars(row).values()))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()

    def _line(self, content: Any) -> None:
        self._sha256.update(json.dumps(content).encode() + b"\n")


def write(folder: Path, dataset: Dataset) -> DatasetHead:
    """Write `dataset` into `folder`, which is made when it is missing."""
    return write_rows(folder, group=dataset.group, classes=dataset.classes, rows=dataset.rows, refused=dataset.refused)


def write_rows(
    folder: Path,
    *,
    group: str,
    classes: Sequence[str],
    rows: Iterable[PictureRow],
    refused: Iterable[RefusedPicture],
) -> DatasetHead:
    """Write a dataset row by row, so that it never has to fit into memory.

    Args:
        folder: Made when it is missing.
        group: Any text.
        classes: In the order of the model's outputs.
        rows: Sorted by `picture_id`.
        refused: Sorted by `picture_id`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).unlink(missing_ok=True)  # written last: without it nobody takes half a table for a dataset
    digest, counts, reasons = _Digest(group, classes), Counter[str](), Counter[str]()

    def written() -> Iterator[dict[str, Any]]:
        for row in rows:
            digest.add(row)
            counts[row.label] += 1
            yield vars(row)

    def left_out() -> Iterator[dict[str, Any]]:
        for item in refused:
            reasons[item.reason] += 1
            yield vars(item)

    table.write(folder / CSV_NAME, [item.name for item in fields(PictureRow)], written())
    table.write(folder / QUARANTINE_NAME, [item.name for item in fields(RefusedPicture)], left_out())
    head = DatasetHead(
        group=group,
        classes=list(classes),
        digest=digest.hexdigest(),
        pictures=counts.total(),
        counts={name: counts[name] for name in classes},
        refused=dict(sorted(reasons.items())),
    )
    (folder / JSON_NAME).write_text(json.dumps(asdict(head), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return head


def read(folder: Path) -> Dataset:
    """Read a dataset folder.

    Raises:
        InputError: A file or column is missing, or a row is malformed (file, line and value are named).
    """
    head = _read_head(folder / JSON_NAME)
    classes = tuple(head["classes"])
    return Dataset(
        group=head["group"],
        classes=classes,
        rows=tuple(read_rows(folder / CSV_NAME, classes)),
        refused=tuple(read_refused(folder / QUARANTINE_NAME)),
    )


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"a dataset must have a readable {path}, got {error}; run download_pictures again") from None
    if missing := {"group", "classes", "refused"} - set(head):
        raise InputError(f"{path} must have {', '.join(sorted(missing))}; run download_pictures again")
    return head


def read_refused(path: Path) -> Iterator[RefusedPicture]:
    """Yield the rows of a `quarantine.csv`.

    Raises:
        InputError: It is missing or malformed.
    """
    for record, _ in _records(path, RefusedPicture):
        yield RefusedPicture(**record)


def read_rows(path: Path, classes: Sequence[str] | None) -> Iterator[PictureRow]:
    """Yield the rows of a `dataset.csv`.

    Args:
        path: The file.
        classes: What a label may be; None: the table alone is there, so its labels are taken as they are.

    Raises:
        InputError: It is missing or malformed (line and value are named).
    """
    for record, where in _records(path, PictureRow):
        yield _read_row(record, classes, where=where)


def _records(path: Path, kind: type) -> Iterator[tuple[dict[str, Any], str]]:
    names = [item.name for item in fields(kind)]
    if not path.is_file():
        raise InputError(f"a dataset must have {path}, it does not exist; run download_pictures again")
    with path.open(newline="", encoding="utf-8") as file:
        records = csv.DictReader(file, strict=True)
        if records.fieldnames != names:
            raise InputError(
                f"{path} must have the columns {','.join(names)}, got {records.fieldnames}; run download_pictures again"
            )
        for record in records:
            where = f"{path}:{records.line_num}"
            if None in record or None in record.values():
                extra: Any = record.get(None) or []  # csv's key of what is too much
                cells = sum(isinstance(cell, str) for cell in record.values()) + len(extra)
                raise InputError(f"{where}: a row must have {len(names)} cells, got {cells}")
            yield record, where


def _read_row(record: dict[str, Any], classes: Sequence[str] | None, *, where: str) -> PictureRow:
    if classes is not None and record["label"] not in (classes or ("",)):
        raise InputError(f"{where}: label must be one of {list(classes)}, got {record['label']!r}")
    if record["split"] not in ("", *SPLITS):
        raise InputError(f"{where}: split must be one of {list(SPLITS)} or empty, got {record['split']!r}")
    try:
        size = {name: int(record[name]) for name in _NUMBERS}
    except ValueError:
        raise InputError(
            f"{where}: width and height must be whole numbers, got {', '.join(repr(record[name]) for name in _NUMBERS)}"
        ) from None
    return PictureRow(**{**record, **size})
