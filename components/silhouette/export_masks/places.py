"""Where an export goes: the store, and a folder of the user's. What is there already, and the same, stays.

A file's name says what it shows (`silhouette.contracts.markup`), so one that is there need not be made again, as long
as the export is made in the same way: `layout.json` says how. In the folder a marker may have worked: what was changed
there is never overwritten or removed, but told.
"""

from __future__ import annotations

import csv
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from silhouette.contracts.markup import LAYOUT_NAME, MASKS, OVERLAYS, PICTURES, TABLE_NAME
from silhouette.errors import InputError, ServiceError
from silhouette.file_digest import md5_of
from silhouette.store import Store

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".json": "application/json", ".csv": "text/csv"}
_FOLDERS = (MASKS, OVERLAYS, PICTURES)
_PARTIAL = ".partial"  # what a killed export leaves


class StorePlace:
    """A prefix of the store.

    Args:
        store: The store.
        prefix: Without a slash at the end.
        layout: How the export is made; when what is there was made otherwise, it is removed.
    """

    def __init__(self, store: Store, prefix: str, *, layout: bytes) -> None:
        self._store, self._prefix = store, prefix
        if not self._same(LAYOUT_NAME, hashlib.md5(layout, usedforsecurity=False).hexdigest()):
            for key in list(store.list_keys(f"{prefix}/")):
                store.remove(key)
            store.put_bytes(self._key(LAYOUT_NAME), layout, content_type=TYPES[".json"])

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return self._store.exists(self._key(name))

    def read(self, name: str) -> bytes:
        """Read a file."""
        return self._store.get_bytes(self._key(name))

    def write(self, name: str, data: bytes) -> None:
        """Write a file, over the old one."""
        self._store.put_bytes(self._key(name), data, content_type=TYPES[Path(name).suffix])

    def write_file(self, name: str, path: Path) -> None:
        """Write a file of any size, unless the same is there."""
        if not self._same(name, md5_of(path)):
            self._store.put_file(self._key(name), path, content_type=TYPES[path.suffix])

    def remove_others(self, kept: Collection[str]) -> int:
        """Remove the pictures that are not of this export; return how many files that were.

        Args:
            kept: The names that stay, without folder and ending.
        """
        removed = 0
        for folder in _FOLDERS:
            for key in self._store.list_keys(f"{self._prefix}/{folder}/"):
                if key.rpartition("/")[2].rpartition(".")[0] not in kept:
                    self._store.remove(key)
                    removed += 1
        return removed

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _same(self, name: str, md5: str) -> bool:
        found = self._store.find(self._key(name))
        return found is not None and found.etag == md5  # S3: the ETag of what was put in one piece is its MD5


class FolderPlace:
    """A folder of the user's: empty, or with an earlier export of the same group that was made in the same way.

    Args:
        folder: Made when it is missing.
        layout: How the export is made.

    Raises:
        InputError: There is something else in it.
    """

    def __init__(self, folder: Path, *, layout: bytes) -> None:
        self.folder = folder
        said = folder / LAYOUT_NAME
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--to must be a folder, {folder} is a file; name another")
        if folder.is_dir() and any(folder.iterdir()) and not (said.is_file() and said.read_bytes() == layout):
            raise InputError(
                "--to must be an empty folder, or hold an export of the same group with the same --longest-side,"
                f" {folder} does not; name another"
            )
        self._before = dict(_digests(folder / TABLE_NAME))
        self.write(LAYOUT_NAME, layout)

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return (self.folder / name).is_file()

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        with self._partial(name) as partial:
            partial.write_bytes(data)

    def write_file(self, name: str, path: Path) -> None:
        """Copy a file of any size, whole or not at all."""
        with self._partial(name) as partial:
            shutil.copyfile(path, partial)

    @contextmanager
    def _partial(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(path)
        except OSError as error:
            raise ServiceError(
                f"{path} must be writable, got: {error.strerror or error}; free space or correct the rights, then run"
                " again"
            ) from None
        finally:
            with suppress(OSError):  # what went wrong is said above
                partial.unlink()

    def keep_or_write(self, name: str, data: bytes) -> None:
        """Write a mask unless the same is there.

        Raises:
            InputError: Another is there: somebody changed it.
        """
        path = self.folder / name
        if not path.is_file():
            self.write(name, data)
        elif path.read_bytes() != data:
            raise self._changed(path)

    def remove_others(self, kept: Collection[str]) -> int:
        """Remove the pictures of the earlier export that are not of this one; return how many files that were.

        Args:
            kept: The names that stay, without folder and ending.

        Raises:
            InputError: A mask among them was changed, or is not of the earlier export.
        """
        gone = [path for folder in _FOLDERS for path in _files(self.folder / folder) if path.stem not in kept]
        for path in gone:
            if path.parent.name != MASKS or path.suffix == _PARTIAL:
                continue
            if self._before.get(path.stem) != hashlib.sha256(path.read_bytes()).hexdigest():
                raise self._changed(path)
        for path in gone:
            path.unlink()
        return len(gone)

    def _changed(self, path: Path) -> InputError:
        return InputError(
            f"{path} must be as it was exported to be written anew, somebody changed it; hand it in by"
            " `silhouette masks import` first, or name another folder"
        )


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (Path(entry.path) for entry in os.scandir(folder) if entry.is_file())


def _digests(table: Path) -> Iterator[tuple[str, str]]:
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row.get("name") or "", row.get("mask_sha256") or ""
