"""Export a group's masks: every picture's version that counts, a few pictures at a time.

Reads PostgreSQL and the pictures in the store; writes the places that the door plate names. The COCO files and the
table are made in a scratch folder and put there last, so that what they name is there. A killed export goes on where
it ended: what is there is not made again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts.contour_formats import CocoAnnotation
from silhouette.contracts.markup import (
    INSTANCES_NAME,
    LABEL_STUDIO_NAME,
    MASKS,
    OVERLAYS,
    PICTURES,
    TABLE_NAME,
    store_prefix,
)
from silhouette.database.connection import try_lock, unlock
from silhouette.database.corrections import people_of
from silhouette.database.group_versions import counting_pictures, resolve_model
from silhouette.database.reviews import STATUSES
from silhouette.errors import InputError, PictureError, ServiceError
from silhouette.export_masks.coco_file import CocoFile
from silhouette.export_masks.places import FolderPlace, StorePlace
from silhouette.export_masks.render import Item, Marked, image_entry, mark, overlay, people_entries, upright_copy
from silhouette.store import MissingObjectError, Store, in_parallel

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
LAYOUT = 1  # moves when the same picture would be drawn otherwise
DEFAULT_STATES = ("unchecked", "approved")
_WORKERS = 3  # pictures drawn at the same time; each may take 400 MB
_COLUMNS = (
    "name", "picture_id", "other_ids", "sha256", "width", "height", "people", "shared_pixels", "status",
    "author", "reviewer", "model_digest", "segmentation_id", "revision", "mask_sha256",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export holds.

    Attributes:
        group: Raw.
        model_digest: Whose contours, where no correction counts.
        key: Where it is in the store.
        pictures: In it.
        people: On them.
        corrected: Pictures of it whose contours a person drew.
        without_people: Pictures of it on which nobody is.
        shared_pixels: Pixels that belong to several people, in all.
        drawn: Pictures whose overlay was made now; the others were there.
        removed: Files of an earlier export that were removed.
        unreadable: Pictures that are left out, by id: why they cannot be opened.
        duration_s: Seconds.
    """

    group: str
    model_digest: str
    key: str
    pictures: int
    people: int
    corrected: int
    without_people: int
    shared_pixels: int
    drawn: int
    removed: int
    unreadable: Mapping[str, str]
    duration_s: float


@dataclass(kw_only=True)
class _Tally:
    names: set[str] = field(default_factory=set)
    people: int = 0
    corrected: int = 0
    without_people: int = 0
    shared_pixels: int = 0
    drawn: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Done:
    item: Item
    marked: Marked | None
    drawn: bool = False
    entries: tuple[list[CocoAnnotation], ...] = ([], [])
    refusal: str = ""


def export_masks(
    *,
    group: str,
    store: Store,
    connection: psycopg.Connection,
    states: Collection[str] = DEFAULT_STATES,
    model: str = "",
    longest_side: int = 1600,
    limit: int = 0,
    folder: Path | None = None,
    with_pictures: bool = True,
) -> ExportReport:
    """Write the masks of a group.

    Args:
        group: Raw.
        store: Has the pictures; gets the export.
        connection: To a migrated database.
        states: Which pictures, by the status of the version that counts.
        model: How the model's digest begins; empty: the only one that has seen the group.
        longest_side: Of the overlays, pixels; masks are always of the original's size.
        limit: At most so many pictures, the most doubtful first; 0: all.
        folder: Where a copy of the export goes; None: nowhere.
        with_pictures: Whether the folder gets the pictures too, upright, under the names of the COCO files; without
            them it is no dataset that datumaro, CVAT's reader, would open.

    Raises:
        InputError: There is no such group, model, state or picture, or the folder cannot be used.
        ServiceError: PostgreSQL, the store or the disk failed; run again, what is there stays.
    """
    started = time.monotonic()
    _check(states, longest_side, limit)
    digest = resolve_model(connection, group=group, model=model)
    layout = json.dumps({"group": group, "layout": LAYOUT, "longest_side": longest_side}, sort_keys=True).encode()
    prefix, lock = store_prefix(group), _lock_of(group)
    if not try_lock(connection, lock):
        raise ServiceError(f"one export of group {group!r} may go on at a time, another does; wait for it")
    try:
        place = StorePlace(store, prefix, layout=layout)
        copy = FolderPlace(folder, layout=layout) if folder else None
        tally = _Tally()

        def finish(item: Item) -> _Done:
            return _finish(item, place, copy, store=store, longest_side=longest_side, with_pictures=with_pictures)

        with tempfile.TemporaryDirectory(prefix="silhouette-masks-") as scratch:
            items = _items(connection, group, digest, states, limit)
            with closing(items), closing(in_parallel(finish, items, workers=_WORKERS)) as done:
                _write_tables(Path(scratch), group, done, tally)
            if not tally.names:
                raise InputError(
                    f"group {group!r} must have pictures that are {' or '.join(states)}, by model {digest[:12]} none is"
                    f" ({len(tally.unreadable)} cannot be opened); see `silhouette db report`, say --states"
                )
            removed = place.remove_others(tally.names) + (copy.remove_others(tally.names) if copy else 0)
            for name in (INSTANCES_NAME, LABEL_STUDIO_NAME, TABLE_NAME):
                place.write_file(name, Path(scratch) / name)
                if copy:
                    copy.write_file(name, Path(scratch) / name)
    finally:
        unlock(connection, lock)
    report = ExportReport(
        group=group,
        model_digest=digest,
        key=prefix,
        pictures=len(tally.names),
        people=tally.people,
        corrected=tally.corrected,
        without_people=tally.without_people,
        shared_pixels=tally.shared_pixels,
        drawn=tally.drawn,
        removed=removed,
        unreadable=tally.unreadable,
        duration_s=time.monotonic() - started,
    )
    _LOG.info(
        "masks of %d pictures with %d people of group %r: %d drawn now, %d files removed, %d pictures left out; %.1f s",
        report.pictures, report.people, group, report.drawn, removed, len(report.unreadable), report.duration_s,
    )  # fmt: skip
    return report


def _check(states: Collection[str], longest_side: int, limit: int) -> None:
    unknown = [state for state in states if state not in STATUSES]
    if unknown or not states:
        raise InputError(f"--states must be of {', '.join(STATUSES)}, got {', '.join(unknown) or 'none'}; correct it")
    if longest_side < 64:
        raise InputError(f"--longest-side must be at least 64 pixels, got {longest_side}; correct it")
    if limit < 0:
        raise InputError(f"--limit must be at least 0, got {limit}; 0 is no limit")


def _lock_of(group: str) -> int:
    return int.from_bytes(hashlib.sha256(f"export masks {group}".encode()).digest()[:8], "big", signed=True)


def _items(
    connection: psycopg.Connection, group: str, digest: str, states: Collection[str], limit: int
) -> Generator[Item, None, None]:
    begun = 0
    pages = counting_pictures(connection, group=group, model_digest=digest, statuses=states, limit=limit)
    with closing(pages):
        for page in pages:
            people = people_of(connection, segmentation_ids=[picture.segmentation_id for picture in page])
            for picture in page:
                there = picture.status != "nobody"
                yield Item(picture=picture, people=tuple(people.get(picture.segmentation_id, ())) if there else ())
            begun += len(page)
            _LOG.info("masks of %d pictures", begun)


def _finish(
    item: Item,
    place: StorePlace,
    copy: FolderPlace | None,
    *,
    store: Store,
    longest_side: int,
    with_pictures: bool,
) -> _Done:
    """Make what is missing of one picture, and put it where it belongs."""
    marked, mask = mark(item), f"{MASKS}/{item.name}.png"
    shown, original = f"{OVERLAYS}/{item.name}.jpg", f"{PICTURES}/{item.name}.jpg"
    try:
        drawn = b"" if place.has(shown) else overlay(item, marked, store=store, longest_side=longest_side)
        if copy and with_pictures and not copy.has(original):
            copy.write(original, upright_copy(item, store=store))
    except (PictureError, MissingObjectError) as error:
        return _Done(item=item, marked=None, refusal=str(error))
    if drawn:
        place.write(shown, drawn)
    if not place.has(mask):
        place.write(mask, marked.png)
    if copy:
        copy.keep_or_write(mask, marked.png)
        if not copy.has(shown):
            copy.write(shown, drawn or place.read(shown))
    entries = tuple(people_entries(item, marked, one_polygon=as_one) for as_one in (False, True))
    return _Done(item=item, marked=marked, drawn=bool(drawn), entries=entries)


def _write_tables(scratch: Path, group: str, done: Iterator[_Done], tally: _Tally) -> None:
    """Write both COCO files and the table while the pictures pass by."""
    with ExitStack() as stack:
        instances = stack.enter_context(CocoFile(scratch / INSTANCES_NAME, group=group))
        one_polygon = stack.enter_context(CocoFile(scratch / LABEL_STUDIO_NAME, group=group))
        file = stack.enter_context((scratch / TABLE_NAME).open("w", newline="", encoding="utf-8"))
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for outcome in done:
            item, marked = outcome.item, outcome.marked
            if marked is None:
                tally.unreadable[item.picture.picture_id] = outcome.refusal
                _LOG.warning("picture %r is left out: %s", item.picture.picture_id, outcome.refusal)
                continue
            tally.names.add(item.name)
            image_id = len(tally.names)
            for target, entries in zip((instances, one_polygon), outcome.entries, strict=True):
                for number, entry in enumerate(entries, start=tally.people + 1):
                    entry["id"], entry["image_id"] = number, image_id
                target.add(image_entry(item, marked, image_id=image_id), entries)
            table.writerow(_row(item, marked))
            tally.people += len(outcome.entries[0])
            tally.corrected += bool(item.picture.author)
            tally.without_people += not marked.people
            tally.shared_pixels += marked.shared_pixels
            tally.drawn += outcome.drawn


def _row(item: Item, marked: Marked) -> tuple[object, ...]:
    picture = item.picture
    return (
        item.name, picture.picture_id, json.dumps(picture.other_ids, ensure_ascii=False), picture.picture_sha256,
        picture.width, picture.height, len(marked.people), marked.shared_pixels, picture.status, picture.author,
        picture.reviewer, picture.model_digest, picture.segmentation_id, picture.revision,
        hashlib.sha256(marked.png).hexdigest(),
    )  # fmt: skip
