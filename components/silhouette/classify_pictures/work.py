"""What there is to classify, in a fixed order: a group's pictures with reviewed people or found ones, or a folder's.

Reads a dataset with its snapshot or exported masks, or a folder's listing, and the badlist; writes nothing but a
passing file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silhouette import cut_people
from silhouette.contracts import dataset as datasets
from silhouette.contracts import exported_masks, snapshot
from silhouette.contracts.dataset import BADLISTED, RefusedPicture
from silhouette.cut_people import NO_MASK, REJECTED, Badlist, CropShape, CutPicture
from silhouette.database import badlist as badlists
from silhouette.errors import InputError

if TYPE_CHECKING:
    import psycopg

    from silhouette.detection import Detector
    from silhouette.store import Store

Found = Iterator[CutPicture | RefusedPicture]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Pictures to classify.

    Attributes:
        title: The group, or the folder's name.
        items: Pictures in their order; what they are only `cut` knows.
        cut: Turns items into pictures with people, one for each, in order.
        digest: Over the items and all that decides which people are on them.
        left_out: Picture ids by reason, of those that are not among the items.
    """

    title: str
    items: Sequence[Any]
    cut: Callable[[Sequence[Any]], Found]
    digest: str
    left_out: dict[str, list[str]]


def of_snapshot(folder: Path, digest: str, *, store: Store, scratch: Path, shape: CropShape, everyone: bool) -> Work:
    """Take a group's pictures with the people of a snapshot."""
    content = datasets.read(folder)
    path = scratch / "snapshot.arrow"
    store.get_file(snapshot.store_key(digest), path)
    head, rows = snapshot.read_head(path), snapshot.read(path)
    path.unlink()
    out = cut_people.left_out(content, head, rows)
    by_reason: dict[str, list[str]] = {}
    for picture_id, reason in out.items():
        by_reason.setdefault(reason, []).append(picture_id)
    used = [row for row in content.rows if row.picture_id not in out]
    return Work(
        title=content.group,
        items=used,
        cut=lambda part: cut_people.of_dataset(part, rows, store=store, shape=shape, everyone=everyone),
        digest=_digest("snapshot", [content.digest(), digest, shape, everyone]),
        left_out=by_reason,
    )


def of_masks(
    folder: Path, masks: Path, *, store: Store, connection: psycopg.Connection, shape: CropShape, everyone: bool
) -> Work:
    """Take a group's pictures with the people of exported masks; the badlist is asked now.

    Raises:
        InputError: The folder is no export's, or has no picture of the group.
    """
    content, badlist, exported = datasets.read(folder), read_badlist(connection), exported_masks.read(masks)
    used, by_reason = [], dict[str, list[str]]()
    for row in content.rows:
        mask = exported.rows.get(row.sha256)
        if badlist.has_picture(row):
            by_reason.setdefault(BADLISTED, []).append(row.picture_id)
        elif mask is None:
            by_reason.setdefault(NO_MASK, []).append(row.picture_id)
        elif mask.status == "rejected":
            by_reason.setdefault(REJECTED, []).append(row.picture_id)
        else:
            used.append(row)
    if not used and content.rows:
        raise InputError(
            f"masks must be of pictures of the group {content.group!r} that may be used, of its {len(content.rows)}"
            f" {masks} has none; name another folder, or export them again"
        )
    return Work(
        title=content.group,
        items=used,
        cut=partial(cut_people.of_masks, masks=exported, store=store, shape=shape, everyone=everyone),
        digest=_digest("masks", [content.digest(), exported.digest, sorted(by_reason.items()), shape, everyone]),
        left_out=by_reason,
    )


def of_detector(
    folder: Path, *, store: Store, connection: psycopg.Connection, detector: Detector, shape: CropShape, everyone: bool
) -> Work:
    """Take a group's pictures with the people that a segmenter finds; the badlist is asked now."""
    content, badlist = datasets.read(folder), read_badlist(connection)
    bad = [row.picture_id for row in content.rows if badlist.has_picture(row)]
    gone = set(bad)
    return Work(
        title=content.group,
        items=[row for row in content.rows if row.picture_id not in gone],
        cut=partial(cut_people.of_pictures, store=store, detector=detector, shape=shape, everyone=everyone),
        digest=_digest("detector", [content.digest(), sorted(bad), detector.model_digest, shape, everyone]),
        left_out={BADLISTED: bad} if bad else {},
    )


def of_folder(
    source: Path,
    *,
    connection: psycopg.Connection,
    detector: Detector,
    classes: Sequence[str],
    shape: CropShape,
    everyone: bool,
) -> Work:
    """Take a folder's pictures; what is on the badlist is found out when a file is read."""
    files, badlist = cut_people.files_of(source), read_badlist(connection)
    listing = ((path.relative_to(source).as_posix(), path.stat()) for path in files)
    seen = [(name, found.st_size, found.st_mtime_ns) for name, found in listing]
    known = [sorted(badlist.picture_ids), sorted(badlist.sha256s), detector.model_digest, list(classes)]
    return Work(
        title=source.resolve().name,
        items=files,
        cut=partial(
            cut_people.of_folder, source=source, classes=classes, detector=detector, badlist=badlist, shape=shape,
            everyone=everyone,
        ),
        digest=_digest("folder", [str(source.resolve()), seen, known, shape, everyone]),
        left_out={},
    )  # fmt: skip


def read_badlist(connection: psycopg.Connection) -> Badlist:
    """Read what must not be used, by id and by content."""
    ids = frozenset(entry.picture_id for entry in badlists.entries(connection))
    return Badlist(picture_ids=ids, sha256s=frozenset(badlists.contents(connection)))


def _digest(kind: str, parts: Iterable[Any]) -> str:
    """Digest what decides a run's answers, part by part."""
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(json.dumps(vars(part) if isinstance(part, CropShape) else part).encode() + b"\n")
    return digest.hexdigest()
