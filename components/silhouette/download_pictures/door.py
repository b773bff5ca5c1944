"""One picture at the door: opened once, stored as it was received, with a working copy when it is large.

Reads bytes of anywhere; writes ``pictures/<sha256[:2]>/<sha256>.<ext>`` and
``working/<side>/<sha256[:2]>/<sha256>.jpg`` of the store. Measured on 12-megapixel photographs of 2.3 MB: the working
copy costs 40 ms once, and each of the steps that read it (segmentation, crops, classification, masks) saves 50 ms and
four fifths of the bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2

from silhouette.config import PicturesConfig
from silhouette.download_pictures.duplicates import perceptual_hash
from silhouette.errors import PictureError
from silhouette.imaging import Picture, check_picture, deserves_working_copy
from silhouette.store import Store

DECODER = 2  # raise it when imaging accepts more or less, or hashes differ: pictures are then judged again
JPEG_QUALITY = 92
_PROBE_SIDE = 96  # pixels at least: enough for the perceptual hash


def judged_by(limits: PicturesConfig) -> str:
    """Return the rules of the door as a text; a picture judged by other ones is judged again."""
    return (
        f"decoder {DECODER}, {limits.max_megapixels:g} megapixels, {limits.max_megabytes:g} megabytes,"
        f" working side {limits.working_side}"
    )


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A picture that is in the store: the fields of a `silhouette.database.pictures.PictureRecord` that tell of it."""

    sha256: str
    size_bytes: int
    width: int
    height: int
    object_key: str
    working_key: str
    working_width: int
    working_height: int
    phash: int


def admit(data: bytes, *, promised_sha256: str, store: Store, limits: PicturesConfig) -> Admitted:
    """Open a picture and put it into the store.

    Args:
        data: As received.
        promised_sha256: What the source said; empty when it said nothing.
        store: Gets the bytes; what is there already is written again, for asking costs as much.
        limits: Of the door.

    Raises:
        PictureError: It is not what was promised, or cannot be opened.
        ServiceError: The store failed.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if promised_sha256 and promised_sha256 != sha256:
        raise PictureError("not_what_was_listed", f"the listing promised {promised_sha256}, the bytes are {sha256}")
    opened = check_picture(
        data, max_megapixels=limits.max_megapixels, working_side=limits.working_side, probe_side=_PROBE_SIDE
    )
    working_key, working_width, working_height = "", 0, 0
    if deserves_working_copy(opened.format, opened.width, opened.height, limits.working_side):
        working_height, working_width = opened.pixels.shape[:2]
        working_key = f"working/{limits.working_side}/{sha256[:2]}/{sha256}.jpg"
        store.put_bytes(working_key, _jpeg(opened), content_type="image/jpeg")
    object_key = f"pictures/{sha256[:2]}/{sha256}.{opened.extension}"
    store.put_bytes(object_key, data)
    return Admitted(
        sha256=sha256,
        size_bytes=len(data),
        width=opened.width,
        height=opened.height,
        object_key=object_key,
        working_key=working_key,
        working_width=working_width,
        working_height=working_height,
        phash=perceptual_hash(opened.pixels),
    )


def _jpeg(picture: Picture) -> bytes:
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert done, "OpenCV encodes any RGB picture"
    return encoded.tobytes()
