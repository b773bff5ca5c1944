"""Pictures and thumbnails of a group, out of the store; a thumbnail is made once and kept as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette.database import pictures, review_queue
from silhouette.errors import InputError
from silhouette.imaging import open_picture

if TYPE_CHECKING:
    import psycopg

    from silhouette.database.pictures import PictureRecord
    from silhouette.review.connections import Connections
    from silhouette.store import Store

THUMBNAIL_SIDE = 480
_JPEG_QUALITY = 82
_KEPT_BYTES = 128 << 20  # some 4,000 thumbnails; browsers keep their own as well
_MADE_AT_ONCE = 4  # decoded side by side; what has no working copy is not larger than one
_BROWSERS_SHOW = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}


class NotShownError(InputError):
    """Refuse a picture that is not one of the group, or is on the badlist."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """Bytes for a browser."""

    data: bytes
    media_type: str


class Pictures:
    """The pictures of one group; safe to share between threads.

    Args:
        store: Has the bytes.
        connections: To PostgreSQL, which knows their keys, the group and the badlist.
        group_id: The group.
        kept_bytes: Of thumbnails that are kept in memory.
    """

    def __init__(self, store: Store, connections: Connections, *, group_id: int, kept_bytes: int = _KEPT_BYTES) -> None:
        self._store, self._connections, self._group_id = store, connections, group_id
        self._room = kept_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._guard = threading.Lock()
        self._making = [threading.Lock() for _ in range(_MADE_AT_ONCE)]

    def thumbnail(self, sha256: str) -> Served:
        """Return a small upright JPEG.

        Raises:
            NotShownError: It is none of the group's pictures, or on the badlist.
            PictureError: Its bytes cannot be opened.
            MissingObjectError: Its bytes are gone from the store.
            ServiceError: PostgreSQL or the store went away.
        """
        record = self._record(sha256)  # first, so that what was put on the badlist meanwhile is not shown
        with self._making[int(sha256[:8], 16) % _MADE_AT_ONCE]:
            data = self._find(sha256)
            if data is None:
                stored = self._store.get_bytes(record.working_key or record.object_key)
                data = _jpeg(stored, longest_side=THUMBNAIL_SIDE)
                self._keep(sha256, data)
        return Served(data=data, media_type="image/jpeg")

    def picture(self, sha256: str) -> Served:
        """Return the picture as it is worked with: its working copy, else the original, which is not larger.

        Raises as `thumbnail` does.
        """
        record = self._record(sha256)
        key = record.working_key or record.object_key
        data = self._store.get_bytes(key)
        media_type = _BROWSERS_SHOW.get(key.rpartition(".")[2])
        if media_type is None:
            return Served(data=_jpeg(data, longest_side=None), media_type="image/jpeg")
        return Served(data=data, media_type=media_type)

    def _record(self, sha256: str) -> PictureRecord:
        def look(connection: psycopg.Connection) -> PictureRecord | None:
            if not review_queue.shown(connection, group_id=self._group_id, sha256s=[sha256]):
                return None
            return pictures.known_by_content(connection, sha256s=[sha256]).get(sha256)

        record = self._connections.run(look)
        if record is None:
            raise NotShownError(f"a picture must be one of the group that is not on the badlist, {sha256[:12]} is none")
        return record

    def _find(self, sha256: str) -> bytes | None:
        with self._guard:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
            return self._kept.get(sha256)

    def _keep(self, sha256: str, data: bytes) -> None:
        with self._guard:
            self._kept[sha256] = data
            self._room -= len(data)
            while self._room < 0:
                self._room += len(self._kept.popitem(last=False)[1])


def _jpeg(data: bytes, *, longest_side: int | None) -> bytes:
    import cv2

    pixels = open_picture(data, longest_side=longest_side).pixels
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return bytes(encoded.tobytes())
