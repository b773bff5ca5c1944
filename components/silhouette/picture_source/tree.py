"""The rules for pictures below one place, one sub-folder per class: they know relative paths and a manifest's text.

    SOURCE/<class>/**                      labels are the names of the sub-folders
    SOURCE/{train,val,test}/<class>/**     the same with splits, when nothing else stands beside them
    SOURCE/pictures.csv or pictures.jsonl  says it in columns: file, and if wanted picture_id, label, split, pixset_id

Only what is below SOURCE counts: with SOURCE=.../train a sibling ``test`` is not looked at. What has a name that
begins with a dot is passed over; every file below a class counts as a picture (one that is none is refused by the
decoder and recorded). A picture's id is its path below SOURCE, with ``/``.

Reads the lines of a manifest; `folder.py` holds the rules on a local disk, `prefix.py` in S3.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from silhouette.errors import InputError
from silhouette.names import is_text
from silhouette.picture_source.listing import split_of

MANIFESTS = ("pictures.csv", "pictures.jsonl")
WAY_OUT = "make one sub-folder per class and put its pictures in, e.g. SOURCE/dress/1.jpg"
_COLUMNS = ("file", "label", "picture_id", "pixset_id")


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """A sub-folder with the pictures of a class: its path below SOURCE, the label and the split (empty: none)."""

    path: str
    label: str
    split: str


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A picture as a manifest has it; `file` is its path below SOURCE as it is written there."""

    file: str
    picture_id: str
    label: str
    pixset_id: str
    split: str


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is passed over."""
    return name.startswith(".")


def class_folders(top: Iterable[str], below: Callable[[str], Iterable[str]]) -> list[ClassFolder]:
    """Return the folder of every class, sorted by path; none is no error.

    Args:
        top: Names of the folders in SOURCE.
        below: Gives the names of the folders in one of those.

    Raises:
        InputError: A class would have a name that is no text.
    """
    splits = {name: split_of(name) for name in _seen(top)}
    if splits and all(splits.values()):
        inner = [
            ClassFolder(path=f"{name}/{label}", label=_label(label), split=split or "")
            for name, split in splits.items()
            for label in _seen(below(name))
        ]
        if inner:
            return inner
    return [ClassFolder(path=name, label=_label(name), split="") for name in splits]


def no_folders(where: str) -> InputError:
    """Return the error for a place without classes."""
    return InputError(f"SOURCE must hold one sub-folder per class, {where} holds none; {WAY_OUT}")


def read_manifest(
    lines: Iterable[bytes], *, manifest: str, where: str, is_below: Callable[[str], bool]
) -> Iterator[ManifestRow]:
    """Yield the rows of a manifest.

    Args:
        lines: Its content; holding one line at a time is enough.
        manifest: Its path or address; the ending says its format, messages begin with it.
        where: SOURCE, for messages.
        is_below: Tells whether a non-empty path stays below SOURCE.

    Raises:
        InputError: It is malformed; manifest, line and value are named.
    """
    for number, record in _records(lines, manifest):
        file, label, picture_id, pixset_id = (_text(record, name) for name in _COLUMNS)
        if not is_text(file + label + picture_id + pixset_id):
            raise InputError(f"{manifest}:{number}: columns must be without NUL and lone surrogates; correct them")
        if not file or not is_below(file):
            raise InputError(f"{manifest}:{number}: file must be a path below {where}, got {file!r}; correct it")
        split = split_of(_text(record, "split"))
        if split is None:
            raise InputError(
                f"{manifest}:{number}: split must be train, val, test or empty, got {record['split']!r}; correct it"
            )
        parts = [part for part in file.split("/") if part not in ("", ".")]
        of_folder = _label(parts[0]) if len(parts) > 1 and "label" not in record else ""
        yield ManifestRow(
            file=file,
            picture_id=picture_id or file,
            label=label or of_folder,
            pixset_id=pixset_id,
            split=split,
        )


def _seen(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not is_hidden(name))


def _label(folder: str) -> str:
    if not is_text(folder):
        raise InputError(f"a class's folder must have a name in UTF-8, got {folder!r}; rename it")
    return unicodedata.normalize("NFC", folder)  # macOS stores é as two characters


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value)


def _records(lines: Iterable[bytes], manifest: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, columns) of a manifest."""
    if manifest.endswith(".csv"):
        table = csv.DictReader(_decoded(lines, manifest), strict=True)
        try:
            for row in table:
                yield table.line_num, row
        except csv.Error as error:
            number = table.reader.line_num  # the table's own stops at the last good line
            raise InputError(f"{manifest}:{number}: every line must be CSV, {error}; correct it") from None
        return
    for number, line in enumerate(_decoded(lines, manifest), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # malformed, a number too long, nested too deep
            says = getattr(error, "msg", str(error))
            raise InputError(f"{manifest}:{number}: every line must be JSON, {says}; correct it") from None
        if not isinstance(record, dict):
            raise InputError(f"{manifest}:{number}: every line must be an object, got {line.strip()[:40]}; correct it")
        yield number, record


def _decoded(lines: Iterable[bytes], manifest: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(
                f"{manifest}:{number}: a manifest must be UTF-8, got the byte 0x{byte:02x}; save it as UTF-8"
            ) from None
