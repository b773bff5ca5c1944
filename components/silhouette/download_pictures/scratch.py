"""What became of every picture of a run, on disk beside its listing: memory does not grow with their number.

Writes tables of its own into the run's SQLite file: ``judged`` (came in), ``records`` (what is remembered), ``before``
(what earlier runs had), ``withdrawn``; adds to the listing's ``refused``.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator

from silhouette.contracts.dataset import BADLISTED, PictureRow, RefusedPicture
from silhouette.database.pictures import PictureRecord
from silhouette.picture_source.listing import Listing, SourcePicture

WITHDRAWN = "withdrawn"
BAD_ID, BAD_BYTES = "it is on the badlist", "its bytes are on the badlist under another id"
_SCHEMA = """
    CREATE TABLE judged (
        picture_id TEXT PRIMARY KEY, label TEXT NOT NULL, pixset_id TEXT NOT NULL, split TEXT NOT NULL,
        sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        object_key TEXT NOT NULL, working_key TEXT NOT NULL, working_width INTEGER NOT NULL,
        working_height INTEGER NOT NULL, phash INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE records (picture_id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE before (picture_id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE withdrawn (picture_id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE stored (object_key TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Scratch:
    """The tables of one run.

    Args:
        listing: Whose file they go into.
    """

    def __init__(self, listing: Listing) -> None:
        self.connection = listing.connection
        self._listing = listing
        self.connection.executescript(_SCHEMA)

    def take(self, picture: SourcePicture, record: PictureRecord) -> None:
        """Note what became of a picture."""
        if record.reason:
            self.refuse(picture.picture_id, record.reason, record.detail)
        else:
            self.connection.execute(
                "INSERT INTO judged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    picture.picture_id, picture.label, picture.pixset_id, picture.split, record.sha256,
                    record.size_bytes, record.width, record.height, record.object_key, record.working_key,
                    record.working_width, record.working_height, record.phash,
                ),
            )  # fmt: skip
        said = {"label": picture.label, "pixset_id": picture.pixset_id, "split": picture.split}
        line = json.dumps({**vars(record), **said}, ensure_ascii=False)
        self.connection.execute("INSERT INTO records VALUES (?, ?)", (picture.picture_id, line))

    def refuse(self, picture_id: str, reason: str, detail: str) -> None:
        """Leave a picture out of the dataset."""
        self.connection.execute("DELETE FROM judged WHERE picture_id = ?", (picture_id,))
        self.connection.execute(
            "INSERT OR REPLACE INTO refused (picture_id, reason, detail) VALUES (?, ?, ?)",
            (picture_id, reason, detail),
        )

    def refuse_badlisted(self, *, picture_ids: Container[str], sha256s: Container[str]) -> None:
        """Leave out of the dataset what came in and is of the badlist.

        Args:
            picture_ids: The badlist.
            sha256s: Of all bytes that ever came in under one of its ids.
        """
        bad = [
            (picture_id, BAD_ID if picture_id in picture_ids else BAD_BYTES)
            for picture_id, sha256 in self.connection.execute("SELECT picture_id, sha256 FROM judged")
            if picture_id in picture_ids or sha256 in sha256s
        ]
        for picture_id, detail in bad:
            self.refuse(picture_id, BADLISTED, detail)

    def note_stored(self, keys: Iterable[str]) -> None:
        """Note which objects the store holds."""
        self.connection.executemany("INSERT OR IGNORE INTO stored VALUES (?)", ((key,) for key in keys))

    def is_stored(self, key: str) -> bool:
        """Tell whether `note_stored` named the object."""
        return self.connection.execute("SELECT 1 FROM stored WHERE object_key = ?", (key,)).fetchone() is not None

    def find_withdrawn(self, before: Iterable[str]) -> int:
        """Note which pictures of earlier runs the source lists no more, and return how many.

        Args:
            before: Ids of earlier runs.
        """
        self.connection.executemany("INSERT OR IGNORE INTO before VALUES (?)", ((name,) for name in before))
        self.connection.execute(
            """
            INSERT INTO withdrawn SELECT picture_id FROM before
            WHERE picture_id NOT IN (SELECT picture_id FROM listed)
                AND picture_id NOT IN (SELECT picture_id FROM refused)
            """
        )
        return int(self.connection.execute("SELECT count(*) FROM withdrawn").fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Return the pictures that came in per class, in class order."""
        found = dict(self.connection.execute("SELECT label, count(*) FROM judged GROUP BY label"))
        return {name: found.get(name, 0) for name in self._listing.classes}

    def splits(self) -> dict[str, int]:
        """Return the pictures that came in per split that the source brought."""
        return dict(
            self.connection.execute("SELECT split, count(*) FROM judged WHERE split <> '' GROUP BY split ORDER BY 1")
        )

    def reasons(self) -> dict[str, int]:
        """Return the number of refused pictures by reason; withdrawn ones are not refused."""
        return dict(self.connection.execute("SELECT reason, count(*) FROM refused GROUP BY reason ORDER BY reason"))

    def rows(self) -> Iterator[PictureRow]:
        """Yield the dataset's rows, by id; `near_groups` must have been filled."""
        found = self.connection.execute(
            """
            SELECT j.picture_id, j.object_key, j.sha256, j.width, j.height, j.label, j.pixset_id, j.split,
                coalesce(n.leader, ''), j.working_key, j.working_width, j.working_height
            FROM judged j LEFT JOIN near_groups n ON n.picture_id = j.picture_id
            ORDER BY j.picture_id
            """
        )
        for row in found:
            picture_id, object_key, sha256, width, height, label, pixset_id, split, near_group, *working = row
            working_key, working_width, working_height = working
            yield PictureRow(
                picture_id=picture_id, object_key=object_key, sha256=sha256, width=width, height=height, label=label,
                pixset_id=pixset_id, split=split, near_group=near_group, working_key=working_key,
                working_width=working_width, working_height=working_height,
            )  # fmt: skip

    def left_out(self) -> Iterator[RefusedPicture]:
        """Yield what is not in the dataset, by id: refused and withdrawn pictures."""
        for row in self.connection.execute(
            """
            SELECT picture_id, reason, detail FROM refused
            UNION ALL SELECT picture_id, ?, 'an earlier run listed it; the source lists it no more' FROM withdrawn
            ORDER BY picture_id
            """,
            (WITHDRAWN,),
        ):
            yield RefusedPicture(picture_id=row[0], reason=row[1], detail=row[2])

    def records(self) -> Iterator[str]:
        """Yield what is remembered of every listed picture, one JSON text each, by id."""
        for (line,) in self.connection.execute("SELECT record FROM records ORDER BY picture_id"):
            yield line
