"""Resolve where a file is that a run names to a file on this disk: a path, an object of the store, an address.

Reads the local disk, the store and, of ``wandb:`` addresses, Weights & Biases; writes the fetched file into a folder of
the caller, or what a run is to find again under `inputs/<sha256>/` in the store. When the source carries a SHA-256 (64
hexadecimal digits as one of its parts, as `inputs/<sha256>/<name>` does) the bytes must have it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePosixPath

from silhouette.errors import InputError
from silhouette.file_digest import sha256_of
from silhouette.store import Store
from silhouette.wandb_artifacts.artifact import SCHEME
from silhouette.wandb_artifacts.fetch import fetch_file

_SHA256 = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{64}(?![0-9A-Za-z])")
PREFIX = "inputs"
WAYS = "give a FILE, s3://bucket/key, a key of the store, or wandb:ENTITY/PROJECT/ARTIFACT:ALIAS"


def resolve_file(source: str, *, what: str, folder: Path, store: Store) -> Path:
    """Return a local file with the bytes.

    Args:
        source: FILE, ``s3://bucket/key`` (any bucket of the store's server), a key of the store's own bucket, or
            ``wandb:ENTITY/PROJECT/ARTIFACT:ALIAS``, with ``/path`` behind it where the artifact has several files.
        what: What it is, for messages: ``the model``.
        folder: Where a fetched file goes; made when it is missing.
        store: The store.

    Raises:
        InputError: There is no such file, or its bytes are not those that its name promises.
        SettingError: It is at Weights & Biases, and there is no key.
        ServiceError: The store or Weights & Biases cannot be reached.
    """
    if not source.strip():
        raise InputError(f"{what} must be named, got an empty text; {WAYS}")
    if source.startswith(SCHEME):
        return fetch_file(source, what=what, folder=folder)
    local = Path(source)
    if local.is_file():
        return _checked(local, source, what)
    if source.startswith("s3://"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise InputError(f"an address in S3 must be s3://bucket/key, got {source}; {WAYS}")
        holder = store.of_bucket(bucket)
    else:
        holder, key = store, source
    if source.startswith(("/", ".")) or local.is_dir() or not holder.exists(key):
        raise InputError(
            f"{what} must exist, there is neither a file nor an object {source!r}; {WAYS}"
            " (a local path means nothing on a cluster: `make submit` uploads it)"
        )
    path = folder / PurePosixPath(key).name
    holder.get_file(key, path)
    return _checked(path, source, what)


def key_of(path: Path) -> str:
    """Return the key under which the store keeps a file that a run was given; `resolve_file` holds the bytes to it."""
    return f"{PREFIX}/{sha256_of(path)}/{path.name}"


def pin_file(source: str, *, what: str, store: Store) -> str:
    """Keep a file in the store under its digest and return that key, so that what a run was given stays what it was.

    Args:
        source: As in `resolve_file`.
        what: What it is, for messages.
        store: The store.

    Raises:
        SilhouetteError: As `resolve_file`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = resolve_file(source, what=what, folder=Path(folder), store=store)
        key = key_of(path)
        if not store.exists(key):
            store.put_file(key, path)
    return key


def _checked(path: Path, source: str, what: str) -> Path:
    promised = _SHA256.findall(source)
    if promised:
        found = sha256_of(path)
        if found != promised[-1]:
            raise InputError(
                f"{what} {source} must have the SHA-256 that its name carries, it has {found}; upload it again"
            )
    return path
