"""What a source says it has of a group, before any picture is fetched: kept on disk, so that a million fit.

Writes a SQLite file of its caller's; `Listing.add` sorts what a source yields into pictures to fetch and pictures
refused with a reason. Ids come back in the order of their code points, whatever order the source has.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from silhouette.contracts.dataset import SPLITS, RefusedPicture
from silhouette.errors import InputError
from silhouette.names import is_text

T = TypeVar("T")

_SPLIT_WORDS = {"valid": "val", "validation": "val"}
_AT_ONCE = 1000
_LONGEST_ID = 1500  # bytes: what PostgreSQL can index, with room for an origin
_BAD_NAME = f"id, label and pixset must be text without NUL and lone surrogates, the id of at most {_LONGEST_ID} bytes"
_SCHEMA = """
    CREATE TABLE listed (
        picture_id TEXT PRIMARY KEY, label TEXT NOT NULL, pixset_id TEXT NOT NULL, split TEXT NOT NULL,
        stamp TEXT NOT NULL, sha256 TEXT NOT NULL, locator TEXT NOT NULL, first_label TEXT NOT NULL, twice INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE refused (
        picture_id TEXT PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, label TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class SourcePicture:
    """One picture as its source lists it.

    Attributes:
        picture_id: The source's id, raw; of a folder: the path below it with ``/``.
        label: What the source calls it; empty: unlabelled.
        pixset_id: The shoot, or empty.
        split: ``train``, ``val``, ``test`` or empty.
        stamp: Changes when the bytes change: SHA-256 where the source knows it, else the ETag.
        sha256: Of the bytes, or empty when the source does not know.
        locator: Where the source fetches it: URL or path; no part of the picture's identity.
    """

    picture_id: str
    label: str
    pixset_id: str = ""
    split: str = ""
    stamp: str
    sha256: str = ""
    locator: str


class Listing:
    """A group, or a set of pixsets, at its source.

    Args:
        path: The SQLite file to make; the caller removes it. Others may keep tables of their own in it.
        group: Any text.
        classes: In the order of the model's outputs; none: pictures need no label.
        found: What the source yields, in any order. Refused are a label outside `classes`, a missing label, an id
            that is no text for a database, and one id with two different labels or splits; the same entry twice
            (pages that shifted while they were read) counts once.
    """

    def __init__(
        self, path: Path, *, group: str, classes: Sequence[str], found: Iterable[SourcePicture | RefusedPicture]
    ) -> None:
        self.group = group
        self.classes = tuple(classes)
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # the file is scratch: a killed run makes a new one
        self.connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
        for some in in_batches(found, _AT_ONCE):
            self._add(some)
        self._sort_out()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def __len__(self) -> int:
        """Return the number of pictures to fetch."""
        number: int = self.connection.execute("SELECT count(*) FROM listed").fetchone()[0]
        return number

    def __contains__(self, picture_id: str) -> bool:
        """Tell whether the picture is one to fetch."""
        return (
            self.connection.execute("SELECT 1 FROM listed WHERE picture_id = ?", (picture_id,)).fetchone() is not None
        )

    def __iter__(self) -> Iterator[SourcePicture]:
        """Yield the pictures to fetch, by id."""
        names = ", ".join(item.name for item in fields(SourcePicture))
        for row in self.connection.execute(f"SELECT {names} FROM listed ORDER BY picture_id"):  # noqa: S608  our names
            picture_id, label, pixset_id, split, stamp, sha256, locator = row
            yield SourcePicture(
                picture_id=picture_id, label=label, pixset_id=pixset_id, split=split, stamp=stamp, sha256=sha256,
                locator=locator,
            )  # fmt: skip

    def refused(self) -> Iterator[RefusedPicture]:
        """Yield what cannot be used, by id."""
        for row in self.connection.execute("SELECT picture_id, reason, detail FROM refused ORDER BY picture_id"):
            yield RefusedPicture(picture_id=row[0], reason=row[1], detail=row[2])

    def refused_count(self) -> int:
        """Return how many pictures cannot be used."""
        number: int = self.connection.execute("SELECT count(*) FROM refused").fetchone()[0]
        return number

    def unknown_labels(self) -> dict[str, int]:
        """Return the number of refused pictures per label that is no class of the group."""
        return dict(
            self.connection.execute(
                "SELECT label, count(*) FROM refused WHERE reason IN ('unknown_label', 'no_label')"
                " GROUP BY label ORDER BY label"
            )
        )

    def counts(self) -> dict[str, int]:
        """Return the number of pictures per class, in class order."""
        found = dict(self.connection.execute("SELECT label, count(*) FROM listed GROUP BY label"))
        return {name: found.get(name, 0) for name in self.classes}

    def digest(self) -> str:
        """Return the SHA-256 of all that makes the dataset: group, classes, ids, labels, splits and contents."""
        digest = hashlib.sha256(json.dumps([self.group, self.classes]).encode())
        pictures = (_values(picture)[:-1] for picture in self)
        refused = ((item.picture_id, item.reason) for item in self.refused())
        for row in chain(pictures, refused):
            digest.update(b"\n" + json.dumps(row).encode())
        return digest.hexdigest()

    # ---- inside

    def _add(self, some: Sequence[SourcePicture | RefusedPicture]) -> None:
        rows, refused = [], []
        for item in some:
            if isinstance(item, RefusedPicture):
                refused.append(item)
            elif _can_be_kept(item):
                rows.append((*_values(item), item.label))
            else:
                name = item.picture_id.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
                refused.append(RefusedPicture(picture_id=name[:_LONGEST_ID], reason="bad_name", detail=_BAD_NAME))
        self.connection.execute("BEGIN")
        self.connection.executemany(
            """
            INSERT INTO listed VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
            ON CONFLICT (picture_id) DO UPDATE SET
                twice = twice OR label <> excluded.label OR split <> excluded.split,
                label = excluded.label, pixset_id = excluded.pixset_id, split = excluded.split,
                stamp = excluded.stamp, sha256 = excluded.sha256, locator = excluded.locator
            """,
            rows,
        )
        self.connection.executemany(
            "INSERT OR REPLACE INTO refused (picture_id, reason, detail) VALUES (?, ?, ?)", map(_values, refused)
        )
        self.connection.execute("COMMIT")

    def _sort_out(self) -> None:
        wanted = json.dumps(self.classes)
        self.connection.execute(
            """
            INSERT OR REPLACE INTO refused (picture_id, reason, detail)
            SELECT picture_id, 'listed_twice',
                'listed with the labels ''' || first_label || ''' and ''' || label || '''' FROM listed WHERE twice
            """
        )
        if self.classes:
            self.connection.execute(
                """
                INSERT INTO refused (picture_id, reason, detail, label)
                SELECT picture_id, CASE label WHEN '' THEN 'no_label' ELSE 'unknown_label' END,
                    '''' || label || ''' is not a class of the group', label
                FROM listed WHERE label NOT IN (SELECT value FROM json_each(?))
                ON CONFLICT (picture_id) DO UPDATE SET
                    reason = excluded.reason, detail = excluded.detail, label = excluded.label
                    WHERE reason = 'bad_name'
                """,
                (wanted,),
            )
        # the stand-in for a name that is no text may be the real name of another picture
        self.connection.execute(
            "DELETE FROM listed WHERE picture_id IN (SELECT picture_id FROM refused WHERE reason <> 'bad_name')"
        )


def _values(row: SourcePicture | RefusedPicture) -> tuple[Any, ...]:
    return tuple(vars(row).values())  # dataclasses.astuple copies deeply, which takes ten times as long


def _can_be_kept(picture: SourcePicture) -> bool:
    texts = "\n".join((picture.picture_id, picture.label, picture.pixset_id, picture.stamp, picture.locator))
    return is_text(texts) and len(picture.picture_id.encode()) <= _LONGEST_ID


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield `items` in lists of `size`, the last one shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def split_of(word: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for what a source calls a split, empty for none, None for nonsense."""
    plain = word.strip().lower()
    plain = _SPLIT_WORDS.get(plain, plain)
    return plain if plain in ("", *SPLITS) else None


def require_enough(group: str, counts: Mapping[str, int], minimum: int, *, where: str, refused: int = 0) -> None:
    """Refuse a group that cannot be learned from.

    Raises:
        InputError: There is no picture at all, or a class has fewer than `minimum`.
    """
    also = f" ({refused} refused)" if refused else ""
    if not sum(counts.values()):
        raise InputError(
            f"a group must have pictures, {group!r} has none in {where}{also}; its classes are {list(counts)}:"
            " correct the labels, or the group's classes in the configuration"
        )
    few = {name: number for name, number in counts.items() if number < minimum}
    if few:
        says = ", ".join(f"{name!r} has {number}" for name, number in few.items())
        raise InputError(
            f"every class of {group!r} must have at least {minimum} pictures, in {where} {says}{also};"
            " add pictures, take the class out of the group, or lower dataset.min_pictures_per_class"
        )
