"""Bring one picture in, unless all of it is here: what threads do side by side.

Reads the source, the store and the records in the database; writes the store, then the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from silhouette.config import PicturesConfig
from silhouette.contracts.dataset import BADLISTED
from silhouette.database import pictures
from silhouette.database.pictures import PictureRecord
from silhouette.download_pictures.archive import Archive
from silhouette.download_pictures.door import admit, judged_by
from silhouette.download_pictures.scratch import BAD_BYTES, BAD_ID, Scratch
from silhouette.errors import PictureError
from silhouette.picture_source.badlisted import Barred, find_barred
from silhouette.picture_source.listing import Listing, SourcePicture, in_batches
from silhouette.picture_source.source import Source
from silhouette.store import Store

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 1000
_LIST_FROM = 2000  # pictures: from here on one listing of the store is cheaper than asking for each object
# the source's fault or the connection's, not the picture's: asked for again by the next run
_MAY_BE_BETTER_TOMORROW = {
    "missing", "withdrawn", "forbidden", "forbidden_address", "bad_url", "redirect_loop", "unreadable",
    "not_what_was_listed", "unavailable",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a picture; `fetched_bytes` is None when the source did not send its bytes again."""

    picture: SourcePicture
    record: PictureRecord
    fetched_bytes: int | None
    asked: bool = True
    """Whether the source was asked at all: what is known here says nothing about its health."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A picture, and what is known of it."""

    picture: SourcePicture
    known: PictureRecord | None
    adopted: bool
    """The record is of the same bytes under another name."""
    barred: Barred | None = None
    """It must not be used."""


class Bringer:
    """Brings the pictures of one listing; `tasks` belongs to one thread, `bring` to many.

    Args:
        source: Sends bytes.
        listing: The pictures.
        scratch: Of the run.
        archive: Of the group's last run.
        store: Gets the bytes.
        connection: To the records.
        limits: Of the door.
    """

    def __init__(
        self,
        source: Source,
        listing: Listing,
        scratch: Scratch,
        archive: Archive,
        *,
        store: Store,
        connection: psycopg.Connection,
        limits: PicturesConfig,
    ) -> None:
        self._source, self._listing, self._scratch, self._archive = source, listing, scratch, archive
        self._store, self._connection, self._limits = store, connection, limits
        self._store_id = store.installation_id()
        self._judged_by = judged_by(limits)
        self._is_small = len(listing) < _LIST_FROM  # asked once: it counts all rows
        self._listed_store = False
        self._barred = find_barred(listing, source, connection)

    def tasks(self) -> Iterator[Task]:
        """Yield the listing's pictures with what is known of them."""
        restored = False
        for some in in_batches(self._listing, _AT_ONCE):
            known = self._known(some)
            if not known and not restored:  # nothing at all: a first run, or a database that was wiped
                restored = True
                if self._archive.restore(self._connection, store_id=self._store_id):
                    known = self._known(some)
            for picture in some:
                record = known.get(picture.picture_id)
                adopted = record is not None and not self._is_named(record, picture)
                if barred := self._barred.get(picture.picture_id):
                    yield Task(picture=picture, known=record, adopted=adopted, barred=barred)
                    continue
                if record and record.reason == BADLISTED:  # it was, and may be used again
                    record = None
                yield Task(picture=picture, known=self._if_stored(record), adopted=adopted)

    def bring(self, task: Task) -> Outcome:
        """Bring one picture in.

        Raises:
            ServiceError: Store or database failed.
        """
        if task.barred:
            return self._bar(task, task.barred)
        picture, known = task.picture, task.known
        if known and known.object_key and not self._listed_store and not all(map(self._store.exists, _keys(known))):
            known = None
        if known and known.stamp == picture.stamp:
            if known.judged_by == self._judged_by:
                if task.adopted:
                    known = replace(known, origin=self._source.origin, name=self._name(picture))
                    pictures.keep(self._connection, known)
                return Outcome(picture=picture, record=known, fetched_bytes=None, asked=False)
            if known.object_key:  # other limits than then: the bytes are here
                data = self._store.get_bytes(known.object_key)
                record = self._judge(picture, data, known.etag)
                return Outcome(picture=picture, record=record, fetched_bytes=None, asked=False)
        try:
            fetched = self._source.fetch(
                picture,
                max_bytes=int(self._limits.max_megabytes * 1e6),
                etag=known.etag if known and known.object_key else "",
            )
        except PictureError as refusal:
            return Outcome(picture=picture, record=self._refused(picture, refusal), fetched_bytes=0)
        if fetched.data is not None:
            record = self._judge(picture, fetched.data, fetched.etag)
            return Outcome(picture=picture, record=record, fetched_bytes=len(fetched.data))
        assert known is not None, "a source may say `not modified` only when it was told an ETag"
        record = replace(known, stamp=picture.stamp)
        if known.judged_by != self._judged_by:
            record = self._judge(picture, self._store.get_bytes(known.object_key), known.etag)
        pictures.keep(self._connection, record)
        return Outcome(picture=picture, record=record, fetched_bytes=None)

    # ---- inside

    def _bar(self, task: Task, barred: Barred) -> Outcome:
        """Leave a picture of the badlist where it is.

        Bytes that nobody knows are asked for once, to be recognised under another id; they are not opened nor kept.
        """
        picture = task.picture
        known = task.known if task.known and task.known.stamp == picture.stamp else None
        if known and not barred.by_id:
            return Outcome(picture=picture, record=known, fetched_bytes=None, asked=False)
        if known:  # said under this id from now on, so that its bytes are bad wherever they come in
            known = replace(known, origin=self._source.origin, name=self._name(picture))
            pictures.keep(self._connection, known)
            return Outcome(picture=picture, record=known, fetched_bytes=None, asked=False)
        sha256, fetched_bytes = barred.sha256, None
        if not sha256:
            try:
                fetched = self._source.fetch(picture, max_bytes=int(self._limits.max_megabytes * 1e6))
            except PictureError as refusal:
                return Outcome(picture=picture, record=self._refused(picture, refusal), fetched_bytes=0)
            assert fetched.data is not None, "no ETag was told"
            sha256, fetched_bytes = hashlib.sha256(fetched.data).hexdigest(), len(fetched.data)
        detail = BAD_ID if barred.by_id else BAD_BYTES
        record = self._record(picture, reason=BADLISTED, detail=detail, sha256=sha256)
        if barred.by_id:
            pictures.keep(self._connection, record)
        return Outcome(picture=picture, record=record, fetched_bytes=fetched_bytes, asked=fetched_bytes is not None)

    def _name(self, picture: SourcePicture) -> str:
        return picture.sha256 if self._source.by_content else picture.picture_id

    def _known(self, some: list[SourcePicture]) -> dict[str, PictureRecord]:
        """Return what is known, by picture id: of the picture itself, or of the same bytes under another name."""
        by_name = pictures.known(
            self._connection, origin=self._source.origin, names=[self._name(picture) for picture in some]
        )
        found = {item.picture_id: by_name[name] for item in some if (name := self._name(item)) in by_name}
        strangers = {item.picture_id: item.sha256 for item in some if item.sha256 and item.picture_id not in found}
        by_content = pictures.known_by_content(self._connection, sha256s=list(strangers.values()))
        stamps = {item.picture_id: item.stamp for item in some}
        for picture_id, sha256 in strangers.items():
            if sha256 in by_content:  # the promised SHA-256 vouches for the stamp; the ETag was another address's
                found[picture_id] = replace(by_content[sha256], stamp=stamps[picture_id], etag="")
        return {picture_id: replace(record, picture_id=picture_id) for picture_id, record in found.items()}

    def _is_named(self, record: PictureRecord, picture: SourcePicture) -> bool:
        return (record.origin, record.name) == (self._source.origin, self._name(picture))

    def _if_stored(self, known: PictureRecord | None) -> PictureRecord | None:
        if known is None or known.reason:
            return known
        if known.store_id != self._store_id:
            return None
        if self._is_small:
            return known  # the thread that takes it asks
        if not self._listed_store:
            self._scratch.note_stored(self._store.list_keys("pictures/"))
            self._scratch.note_stored(self._store.list_keys(f"working/{self._limits.working_side}/"))
            self._listed_store = True
        return known if all(map(self._scratch.is_stored, _keys(known))) else None

    def _judge(self, picture: SourcePicture, data: bytes, etag: str) -> PictureRecord:
        try:
            admitted = admit(data, promised_sha256=picture.sha256, store=self._store, limits=self._limits)
        except PictureError as refusal:
            return self._refused(picture, refusal, size_bytes=len(data))
        record = self._record(picture, etag=etag, **asdict(admitted))
        pictures.keep(self._connection, record)
        return record

    def _refused(self, picture: SourcePicture, refusal: PictureError, *, size_bytes: int = 0) -> PictureRecord:
        detail = refusal.detail.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
        record = self._record(picture, reason=refusal.reason, detail=detail, size_bytes=size_bytes)
        if refusal.reason not in _MAY_BE_BETTER_TOMORROW:
            pictures.keep(self._connection, record)
        return record

    def _record(self, picture: SourcePicture, **found: object) -> PictureRecord:
        return PictureRecord(
            origin=self._source.origin, name=self._name(picture), picture_id=picture.picture_id, stamp=picture.stamp,
            judged_by=self._judged_by, store_id=self._store_id, **found,  # type: ignore[arg-type]
        )  # fmt: skip


def _keys(known: PictureRecord) -> list[str]:
    return [key for key in (known.object_key, known.working_key) if key]
