"""The user's folder: every file appears whole or not at all, and one that is the same is not fetched again."""

from __future__ import annotations

import csv
import fcntl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from silhouette.contracts import table
from silhouette.errors import InputError, ServiceError
from silhouette.file_digest import md5, md5_of, sha256_of
from silhouette.store import Store, StoredObject

TABLE_NAME = "files.csv"
COLUMNS = ("file", "name", "label", "object_key")
_LOCK, _PARTIAL = ".silhouette-pull.lock", ".partial"
_PART_BYTES = 5 << 20  # in multiples of which the SDK cuts what it sends in parts
_MOST_PARTS = 10_000


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says into one line.

    Raises:
        ServiceError: It is full, or must not be written.
    """
    try:
        yield
    except OSError as error:
        raise ServiceError(
            f"{path} must be writable, got: {error.strerror or error}; free space or correct the rights, then run"
            " again: what is there stays"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep a second pull out of it.

    Raises:
        InputError: It is a file, or another pull works in it.
        ServiceError: It cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--to must be a folder, {folder} is a file; name another")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"one pull at a time may work in a folder, another works in {folder}; wait for it"
            ) from None
        yield


def clear_partial(folder: Path) -> None:
    """Remove what a killed pull left below `folder`; the caller holds the lock."""
    for path in folder.rglob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


def fetch(store: Store, key: str, path: Path, *, sha256: str = "", seen: StoredObject | None = None) -> bool:
    """Bring an object into a file unless the same is there; return whether it was fetched.

    Args:
        store: Has it.
        key: Of it.
        path: Of the file.
        sha256: Of its bytes, where it is known.
        seen: How the store lists it, where no SHA-256 is known.

    Raises:
        MissingObjectError: There is no such object.
        ServiceError: The bytes are others than the SHA-256 says, or the store or the disk failed.
    """
    with disk_errors(path):
        if path.is_file() and _is_same(path, sha256, seen):
            return False
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        store.get_file(key, partial)
        with disk_errors(path):
            if sha256 and sha256_of(partial) != sha256:
                raise ServiceError(
                    f"{store.bucket}/{key} must have the SHA-256 of its name, its bytes are others; remove that object"
                    " and run `silhouette download` again"
                )
            partial.replace(path)
    finally:
        with suppress(OSError):  # what went wrong is said above
            partial.unlink()
    return True


def write_table(path: Path, names: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a CSV file, whole or not at all.

    Raises:
        ServiceError: The disk failed.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            table.write(partial, names, rows)
            partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink()


def listed(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the table that an earlier pull wrote; a file that leads out of the folder is none of its."""
    path = folder / TABLE_NAME
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if set(row) == set(COLUMNS) and ".." not in Path(row["file"]).parts and not row["file"].startswith("/"):
                    yield row


def _is_same(path: Path, sha256: str, seen: StoredObject | None) -> bool:
    if sha256:
        return sha256_of(path) == sha256
    return seen is not None and path.stat().st_size == seen.size_bytes and _etag(path, seen) == seen.etag


def _etag(path: Path, seen: StoredObject) -> str:
    """Return the ETag that S3 gives these bytes: their MD5, or that of the MD5s of the parts in which they came."""
    if "-" not in seen.etag:
        return md5_of(path)
    with path.open("rb") as file:
        part = -(-seen.size_bytes // _MOST_PARTS // _PART_BYTES) * _PART_BYTES or _PART_BYTES
        digests = [md5(data).digest() for data in iter(lambda: file.read(part), b"")]
    return f"{md5(b''.join(digests)).hexdigest()}-{len(digests)}"
