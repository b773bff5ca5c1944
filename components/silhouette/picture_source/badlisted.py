"""Which pictures of a listing must not be used, as far as that is known before a byte of them is fetched.

Reads the badlist and the records of pictures in PostgreSQL; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from silhouette.database import badlist, pictures
from silhouette.picture_source.listing import Listing

if TYPE_CHECKING:
    import psycopg

    from silhouette.picture_source.source import Source


@dataclass(frozen=True, kw_only=True)
class Barred:
    """A listed picture that must not be used.

    Attributes:
        sha256: Of its bytes; empty when nobody knows them.
        since: When its id, or the first with its bytes, came on the badlist.
        by_id: It is on the list itself, not only its bytes.
    """

    sha256: str
    since: datetime
    by_id: bool


def find_barred(listing: Listing, source: Source, connection: psycopg.Connection) -> dict[str, Barred]:
    """Return the listed pictures of the badlist by id, in the order of their ids; in memory is the badlist alone.

    The bytes of a picture are known when the source lists their SHA-256, or when they came in under the same stamp.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    since = {entry.picture_id: entry.added_at for entry in badlist.entries(connection)}
    if not since:
        return {}
    contents = badlist.contents_since(connection)
    for picture_id, added_at in since.items():
        row = listing.connection.execute("SELECT sha256 FROM listed WHERE picture_id = ?", (picture_id,)).fetchone()
        if row and row[0]:
            contents[row[0]] = min(added_at, contents.get(row[0], added_at))
    came_in = pictures.with_contents(connection, origin=source.origin, sha256s=list(contents))
    found = {}
    for picture in listing:
        sha256 = picture.sha256 or came_in.get((picture.picture_id, picture.stamp), "")
        known = [moment for moment in (since.get(picture.picture_id), contents.get(sha256)) if moment]
        if known:
            by_id = picture.picture_id in since
            found[picture.picture_id] = Barred(sha256=sha256, since=min(known), by_id=by_id)
    return found
