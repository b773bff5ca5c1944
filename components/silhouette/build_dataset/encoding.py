"""A picture of the dataset opened, and crops as bytes; reads the store, writes nothing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from silhouette.errors import InputError, PictureError
from silhouette.working_copy import WorkingPicture, read_picture

if TYPE_CHECKING:
    from silhouette.contracts.dataset import PictureRow
    from silhouette.imaging import Pixels
    from silhouette.store import Store

JPEG_QUALITY = 95


def opened(store: Store, picture: PictureRow, *, least_scale: float = 0.0) -> WorkingPicture:
    """Read a picture that opened before.

    Args:
        store: Has the bytes.
        picture: Of the dataset.
        least_scale: As in `silhouette.working_copy.read_picture`.

    Raises:
        InputError: It does not open any more.
        ServiceError: The store went away.
    """
    try:
        return read_picture(store, picture, least_scale=least_scale)
    except PictureError as error:
        raise InputError(
            f"a segmented picture must open, {picture.picture_id} does no more: {error};"
            f" remove {picture.object_key} from the store and run download_pictures again"
        ) from error


def png_of(mask: Pixels) -> bytes:
    """Encode a mask."""
    import cv2

    return bytes(cv2.imencode(".png", mask)[1])


def jpeg_of(pixels: Pixels) -> bytes:
    """Encode with full colour resolution: a crop is small, and its colours are what a model looks at."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()
