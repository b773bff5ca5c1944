"""A folder of pictures of the user's own: one sub-folder per class.

    SOURCE/<class>/**                      labels are the names of the sub-folders
    SOURCE/{train,val,test}/<class>/**     the same with splits, when nothing else stands beside them
    SOURCE/pictures.csv or pictures.jsonl  says it in columns: file, and if wanted picture_id, label, split, pixset_id

Only what is below SOURCE counts: with SOURCE=.../train a sibling ``test`` is not looked at. Hidden files and folders
are passed over, links are followed, every file below a class counts as a picture (one that is none is refused by the
decoder and recorded). A picture's id is its path below SOURCE.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, PictureError
from silhouette.picture_source.listing import SourcePicture, split_of
from silhouette.store import in_parallel

MANIFESTS = ("pictures.csv", "pictures.jsonl")
_READERS = 4
_WAY_OUT = "make one sub-folder per class and put its pictures in, e.g. SOURCE/dress/1.jpg"


class FolderSource:
    """Pictures below a folder.

    Args:
        root: SOURCE.

    Raises:
        InputError: It is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            state = "a file" if root.exists() else "missing"
            raise InputError(f"SOURCE must be a folder, {root} is {state}; {_WAY_OUT}")
        self.root = root
        self.where = str(root)

    def find(self) -> tuple[list[SourcePicture], list[RefusedPicture]]:
        """Return all pictures with their labels, and what cannot even be named or read.

        Raises:
            InputError: There are no sub-folders, or a manifest is malformed.
        """
        manifest = next((self.root / name for name in MANIFESTS if (self.root / name).is_file()), None)
        found = list(self._listed(manifest)) if manifest else list(self._walked())
        pictures: list[SourcePicture] = []
        refused: list[RefusedPicture] = []
        for entry in in_parallel(_stamped, found, workers=_READERS):
            (pictures if isinstance(entry, SourcePicture) else refused).append(entry)  # type: ignore[arg-type]
        return pictures, refused

    def labels(self, pictures: list[SourcePicture]) -> list[str]:
        """Return the classes when nobody else names their order: sorted."""
        folders = [] if any((self.root / name).is_file() for name in MANIFESTS) else self._class_folders()
        return sorted({label for _, label, _ in folders} | {picture.label for picture in pictures if picture.label})

    def fetch(self, picture: SourcePicture, *, max_bytes: int) -> bytes:
        """Read a picture.

        Raises:
            PictureError: It is larger than `max_bytes` (``too_many_bytes``) or cannot be read (``unreadable``).
        """
        path = Path(picture.locator)
        try:
            if (size := path.stat().st_size) > max_bytes:
                raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the file has {size}")
            return path.read_bytes()
        except OSError as error:
            raise PictureError("unreadable", error.strerror or str(error)) from None

    def close(self) -> None:
        """Nothing is held open."""

    # ---- inside

    def _class_folders(self) -> list[tuple[Path, str, str]]:
        """Return (folder, label, split) of every class."""
        top = _folders(self.root)
        splits = {folder: split_of(folder.name) for folder in top}
        if top and all(splits.values()):
            below = [
                (inner, _name(inner), split or "") for folder, split in splits.items() for inner in _folders(folder)
            ]
            if below:
                return below
        return [(folder, _name(folder), "") for folder in top]

    def _walked(self) -> Iterator[SourcePicture]:
        folders = self._class_folders()
        if not folders:
            raise InputError(f"SOURCE must hold one sub-folder per class, {self.root} holds none; {_WAY_OUT}")
        for folder, label, split in folders:
            for path in _files(folder, set()):
                name = path.relative_to(self.root).as_posix()
                yield SourcePicture(picture_id=name, label=label, split=split, stamp="", locator=str(path))

    def _listed(self, manifest: Path) -> Iterator[SourcePicture]:
        root = self.root.resolve()
        for number, record in _records(manifest):
            file = str(record.get("file") or "")
            path = self.root / file
            if not file or not path.resolve().is_relative_to(root):
                raise InputError(
                    f"{manifest}:{number}: file must be a path below {self.root}, got {file!r}; correct it"
                )
            split = split_of(str(record.get("split") or ""))
            if split is None:
                raise InputError(
                    f"{manifest}:{number}: split must be train, val, test or empty, got {record['split']!r}; correct it"
                )
            parts = Path(file).parts
            yield SourcePicture(
                picture_id=str(record.get("picture_id") or file),
                label=str(record.get("label") or (parts[0] if len(parts) > 1 and "label" not in record else "")),
                pixset_id=str(record.get("pixset_id") or ""),
                split=split,
                stamp="",
                locator=str(path),
            )


def _name(folder: Path) -> str:
    return unicodedata.normalize("NFC", folder.name)  # macOS stores é as two characters


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Yield what is below, sorted, following links but never in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path, above | {here})
        else:
            yield path


def _records(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, columns) of a manifest."""
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        if manifest.suffix == ".csv":
            table = csv.DictReader(file)
            for row in table:
                yield table.line_num, row
            return
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{manifest}:{number}: every line must be JSON, {error.msg}; correct it") from None
            if not isinstance(record, dict):
                raise InputError(
                    f"{manifest}:{number}: every line must be an object, got {line.strip()[:40]}; correct it"
                )
            yield number, record


def _stamped(picture: SourcePicture) -> SourcePicture | RefusedPicture:
    """Hash the content: a changed byte under the same path must be noticed."""
    try:
        picture.picture_id.encode()
    except UnicodeEncodeError:
        name = picture.picture_id.encode("utf-8", "backslashreplace").decode()
        return RefusedPicture(picture_id=name, reason="bad_name", detail="the file's name is not UTF-8; rename it")
    path = Path(picture.locator)
    if not path.is_file():  # a dangling link, a pipe, a device, a manifest's missing file
        reason = "not_a_file" if os.path.lexists(path) and path.exists() else "missing"
        return RefusedPicture(
            picture_id=picture.picture_id, reason=reason, detail=f"{path} is no file that can be read"
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return RefusedPicture(
            picture_id=picture.picture_id, reason="unreadable", detail=error.strerror or type(error).__name__
        )
    return SourcePicture(**{**vars(picture), "stamp": digest, "sha256": digest})
