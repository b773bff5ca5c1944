"""Files and folders of this machine mean nothing to a pod: they go to the store, and their address into the run.

Reads SOURCE, MODEL, lists of pixsets; writes ``inputs/<sha256>/...`` and, when all of it is there,
``inputs/<sha256>.json``. The same content has the same address and is sent once; what a killed run has sent stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.arguments import PATHS
from silhouette.errors import InputError, SettingError
from silhouette.file_digest import sha256_of
from silhouette.input_file import PREFIX, key_of
from silhouette.store import Store, in_parallel
from silhouette.wandb_artifacts.artifact import SCHEME

_READERS = 4


def upload_inputs(
    arguments: Mapping[str, Any], *, store: Callable[[], Store], base: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the arguments with addresses in the store in place of local paths.

    Args:
        arguments: All parameters of a run.
        store: Opens the store; called only when something is to be sent or looked for.
        base: Where relative paths begin.
        say: Told what is sent.

    Raises:
        InputError: A path is neither here nor a key of the store.
        SettingError: The environment names no store.
        ServiceError: The store failed.
    """
    sent = dict(arguments)
    for name in PATHS:
        given = arguments.get(name)
        if not given or "://" in given or given.startswith(SCHEME):
            continue
        path = base / Path(given).expanduser()
        opened = _opened(store, name, given)
        if path.is_dir():
            sent[name] = _upload_folder(path, opened, say=say)
        elif path.is_file():
            sent[name] = _upload_file(path, opened, say=say)
        elif Path(given).is_absolute() or not opened.exists(given):
            raise InputError(
                f"{name} must be a file or folder here, s3://bucket/key or a key of the store, got {given!r};"
                " correct the path"
            )
    return sent


def _opened(store: Callable[[], Store], name: str, given: str) -> Store:
    try:
        return store()
    except SettingError as error:
        rule = str(error).partition(";")[0]
        raise SettingError(
            f"the cluster's store must be named, {name} {given!r} is to be sent there: {rule}; docs/cluster_runs.md"
        ) from None


def _upload_file(path: Path, store: Store, *, say: Callable[[str], None]) -> str:
    key = key_of(path)
    if store.size(key) != path.stat().st_size:
        say(f"sending {path.name}, {path.stat().st_size / 1e6:.1f} MB")
        store.put_file(key, path)
    return key


def _upload_folder(folder: Path, store: Store, *, say: Callable[[str], None]) -> str:
    """Return the address of the folder's copy, ``s3://bucket/inputs/<sha256>``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InputError(f"SOURCE must hold pictures, {folder} holds no file; give another folder")
    names = [path.relative_to(folder).as_posix() for path in files]
    digests = list(in_parallel(sha256_of, files, workers=_READERS))
    digest = hashlib.sha256(json.dumps(list(zip(names, digests, strict=True))).encode()).hexdigest()
    prefix, marker = f"{PREFIX}/{digest}", f"{PREFIX}/{digest}.json"
    if not store.exists(marker):
        sizes = {path: path.stat().st_size for path in files}
        there = {item.key: item.size_bytes for item in store.list_objects(f"{prefix}/")}
        missing = [
            (f"{prefix}/{name}", path)
            for name, path in zip(names, files, strict=True)
            if there.get(f"{prefix}/{name}") != sizes[path]
        ]
        megabytes = sum(sizes[path] for _, path in missing) / 1e6
        say(f"sending {len(missing)} files of {folder}, {megabytes:.1f} MB")
        store.put_many(missing)
        store.put_bytes(marker, json.dumps({"files": len(files), "bytes": sum(sizes.values())}).encode())
    return f"s3://{store.bucket}/{prefix}"
