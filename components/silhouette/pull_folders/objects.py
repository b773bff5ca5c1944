"""Models, masks and inference: what lies below a prefix of the store, laid out as it is, but nothing of the badlist."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import markup, predictions
from silhouette.contracts.training import FILE_NAME as RECORD_NAME
from silhouette.database.usable import Usable
from silhouette.errors import InputError
from silhouette.names import file_name, safe_key
from silhouette.picture_source.listing import in_batches
from silhouette.progress import track
from silhouette.pull_folders.pictures import Tally
from silhouette.pull_folders.place import COLUMNS, TABLE_NAME, clear_partial, disk_errors, fetch, write_table
from silhouette.store import DEFAULT_WORKERS, MissingObjectError, Store, StoredObject, in_parallel

if TYPE_CHECKING:
    import psycopg

EXPERIMENT_FOLDERS = ("checkpoints", "csv_logs", "torchscripts", "train_batches", "onnx")
_LEDGER = "parts/"  # of `classify_pictures`: what was merged into the results
_AT_ONCE = 1000


def pull_models(folder: Path, name: str, *, store: Store, limit: int, tally: Tally) -> list[Path]:
    """Lay out ``<group>/<experiment>/`` of a group, or of the experiment of that name; return these folders.

    Raises:
        InputError: There is neither, or several groups have such an experiment.
        ServiceError: The store or the disk failed.
    """
    prefixes = experiments(name, store)
    if len({prefix.split("/")[1] for prefix in prefixes}) > 1:
        raise InputError(f"an experiment must be of one group, {len(prefixes)} have {name!r}; name the group")
    folders = []
    for prefix in prefixes[: limit or None]:
        group, experiment = _named(prefix, store)
        target = folder / file_name(group) / file_name(experiment)
        with disk_errors(target):
            for one in EXPERIMENT_FOLDERS:
                (target / one).mkdir(parents=True, exist_ok=True)
            clear_partial(target)
        pull_prefix(target, f"{prefix}/", name=experiment, label=group, store=store, limit=0, tally=tally)
        folders.append(target)
    return folders


def experiments(name: str, store: Store) -> list[str]:
    """Return the prefixes of a group's experiments, or else of those of that name; a store may keep empty folders."""
    key = safe_key(name)
    of_group = [f"models/{key}/{one}" for one in store.list_folders(f"models/{key}/")]
    found = [prefix for prefix in of_group if has_any(f"{prefix}/", store)]
    named = (f"models/{one}/{key}" for one in store.list_folders("models/"))
    return found or [prefix for prefix in named if has_any(f"{prefix}/", store)]


def has_any(prefix: str, store: Store) -> bool:
    """Tell whether there is any object below a prefix."""
    return next(store.list_keys(prefix), None) is not None


def pull_masks(
    folder: Path, group: str, *, store: Store, connection: psycopg.Connection, limit: int, tally: Tally
) -> None:
    """Lay out a group's mask export as it is.

    Raises:
        InputError: There is none, or it shows pictures that must not be shown any more.
        ServiceError: The store, the database or the disk failed.
    """
    prefix = f"{markup.store_prefix(group)}/"
    usable = Usable(connection, group=group)
    _check_shown(f"{prefix}{markup.TABLE_NAME}", store, usable, what="masks", command="silhouette masks export")
    pull_prefix(folder, prefix, name=group, label="", store=store, limit=limit, tally=tally)


def pull_inference(
    folder: Path, name: str, *, store: Store, connection: psycopg.Connection, limit: int, tally: Tally
) -> None:
    """Lay out what a group's or a folder's pictures were classified as.

    Raises:
        InputError: There is nothing, or it shows pictures that must not be shown any more.
        ServiceError: The store, the database or the disk failed.
    """
    prefix = f"inference/{safe_key(name)}/"
    usable = Usable(connection, group=name)
    _check_shown(f"{prefix}{predictions.FILE_NAME}", store, usable, what="inference", command="silhouette infer")
    pull_prefix(folder, prefix, name=name, label="", store=store, limit=limit, tally=tally)


def pull_prefix(folder: Path, prefix: str, *, name: str, label: str, store: Store, limit: int, tally: Tally) -> None:
    """Bring what lies below a prefix, and write `files.csv`: which file is which object."""

    def lay_out(item: StoredObject) -> tuple[dict[str, str], bool]:
        file = item.key.removeprefix(prefix)
        if ".." in Path(file).parts or file.startswith("/"):
            raise InputError(f"an object's name must stay inside its folder, got {item.key!r}; remove that object")
        is_new = fetch(store, item.key, folder / file, seen=item)
        return {"file": file, "name": name, "label": label, "object_key": item.key}, is_new

    def lines() -> Iterator[dict[str, str]]:
        found = (item for item in store.list_objects(prefix) if not item.key.startswith(f"{prefix}{_LEDGER}"))
        meant = (item for number, item in enumerate(found) if not limit or number < limit)
        total = sum(1 for key in store.list_keys(prefix) if not key.startswith(f"{prefix}{_LEDGER}"))
        with closing(in_parallel(lay_out, meant, workers=DEFAULT_WORKERS)) as work:
            for line, is_new in track(work, total=min(total, limit or total), description=f"pulling {prefix}"):
                tally.files += 1
                tally.fetched += is_new
                yield line

    write_table(folder / TABLE_NAME, COLUMNS, lines())


def _check_shown(key: str, store: Store, usable: Usable, *, what: str, command: str) -> None:
    """Refuse results that are older than the badlist: their tables and pages show what must not be shown."""
    with tempfile.TemporaryDirectory(prefix="silhouette-pull-") as scratch:
        path = Path(scratch) / "table.csv"
        try:
            store.get_file(key, path)
        except MissingObjectError:
            raise InputError(
                f"there must be {what} of {usable.group!r} in the store, there is nothing yet; run `{command}` first"
            ) from None
        with path.open(newline="", encoding="utf-8") as file:
            ids = (line["picture_id"] for line in csv.DictReader(file))
            bad = sum(len(usable.refused(part)) for part in in_batches(ids, _AT_ONCE))
    if bad:
        raise InputError(
            f"{what} must not show pictures that are badlisted or withdrawn, those of {usable.group!r} show {bad};"
            f" make them again with `{command}`, then pull"
        )


def _named(prefix: str, store: Store) -> tuple[str, str]:
    """Return group and experiment by name; of a training that is not finished, by key."""
    try:
        record = json.loads(store.get_bytes(f"{prefix}/{RECORD_NAME}"))
        return str(record["group"]), str(record["experiment"])
    except (MissingObjectError, ValueError, KeyError):
        _, group, experiment = prefix.split("/")
        return group, experiment
