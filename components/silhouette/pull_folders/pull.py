"""Lay out one kind of what is known under a name, in the folders that people know."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts.dataset import BADLISTED
from silhouette.database import usable
from silhouette.errors import InputError
from silhouette.names import file_name, safe_key
from silhouette.pull_folders import objects, place
from silhouette.pull_folders.kind import Kind
from silhouette.pull_folders.pictures import Tally, pull_pictures, pull_tables

if TYPE_CHECKING:
    import psycopg

    from silhouette.store import Store

_NEAREST = 3


@dataclass(frozen=True, kw_only=True)
class PullReport:
    """What a pull did.

    Attributes:
        kind: What was laid out.
        name: Under which name it is known.
        folders: Where it is.
        pictures: Of the group that are in the folder now.
        files: Of anything else that are in the folder now.
        fetched: Pictures and files that were not there before, or were others.
        badlisted: Pictures left out because they must not be used.
        withdrawn: Pictures left out because the source took them back.
        removed: Files of an earlier pull that are not what the group has now.
        missing: Pictures that the store has lost.
        duration_s: Of the work.
    """

    kind: str
    name: str
    folders: list[str]
    pictures: int
    files: int
    fetched: int
    badlisted: int
    withdrawn: int
    removed: int
    missing: int
    duration_s: float


def pull(
    *, kind: Kind, name: str, to: Path, store: Store, connection: psycopg.Connection, limit: int = 0
) -> PullReport:
    """Lay out what is known under a name; what is there and the same is not fetched again.

    Args:
        kind: What.
        name: A group, raw; of models also an experiment, of inference also the folder that was classified.
        to: Gets `DATA/`, `MODELS/`, `MARKUP/` or `TEST/`.
        store: Has it.
        connection: Has groups, labels and badlist.
        limit: At most so many pictures, experiments or files; 0: all.

    Raises:
        InputError: Nothing is known under that name, there is nothing of the kind yet, or `to` is a file.
        ServiceError: The store, PostgreSQL or the disk failed; run again, what is there stays.
    """
    started, tally = time.monotonic(), Tally()
    if limit < 0:
        raise InputError(f"--limit must be at least 0, got {limit}; 0 is no limit")
    _check_known(kind, name, store, connection)
    folder = to / _ROOTS[kind] / file_name(name)
    with place.locked(to):
        folders = [folder]
        with place.disk_errors(folder):
            place.clear_partial(folder)
        if kind is Kind.PICTURES:
            pull_pictures(folder, group=name, store=store, connection=connection, limit=limit, tally=tally)
        elif kind is Kind.DATASETS:
            pull_tables(folder, group=name, store=store, connection=connection, tally=tally)
        elif kind is Kind.MODELS:
            folders = objects.pull_models(to / _ROOTS[kind], name, store=store, limit=limit, tally=tally)
        elif kind is Kind.MASKS:
            objects.pull_masks(folder, name, store=store, connection=connection, limit=limit, tally=tally)
        else:
            objects.pull_inference(folder, name, store=store, connection=connection, limit=limit, tally=tally)
    return PullReport(
        kind=str(kind), name=name, folders=[str(one) for one in folders], pictures=tally.pictures, files=tally.files,
        fetched=tally.fetched, badlisted=tally.left_out[BADLISTED],
        withdrawn=tally.left_out[usable.WITHDRAWN], removed=tally.removed, missing=tally.missing,
        duration_s=round(time.monotonic() - started, 2),
    )  # fmt: skip


_ROOTS = {
    Kind.PICTURES: Path("DATA"),
    Kind.DATASETS: Path("DATA"),
    Kind.MODELS: Path("MODELS"),
    Kind.MASKS: Path("MARKUP/masks"),
    Kind.INFERENCE: Path("TEST/inference"),
}


def _check_known(kind: Kind, name: str, store: Store, connection: psycopg.Connection) -> None:
    """Refuse a name under which nothing is known, and say those that are nearest."""
    groups, keys = usable.groups(connection), list[str]()
    if kind is Kind.MODELS:
        if objects.experiments(name, store):
            return
        if name in groups:
            raise InputError(
                f"group {name!r} must have models, it has none yet; run `silhouette train --group ...` first"
            )
        keys = [one for group in store.list_folders("models/") for one in store.list_folders(f"models/{group}/")]
    elif kind is Kind.INFERENCE:
        if objects.has_any(f"inference/{safe_key(name)}/", store):
            return
        keys = [one for one in store.list_folders("inference/") if not one.startswith(".")]
    if name in groups:
        return
    known = sorted({*groups, *keys} - {safe_key(group) for group in groups if safe_key(group) != group})
    near = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.4)
    there = f"nearest: {', '.join(map(repr, near))}" if near else f"there are: {', '.join(known[:8]) or 'none'}"
    raise InputError(
        f"there must be {kind} of that name, got {name!r}; {there}; `silhouette db report` lists the groups"
    )
