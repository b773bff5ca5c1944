"""A person laid over another background, by the mask: what training shows and what evaluation asks about.

Reads and writes nothing. Arrays are crops: uint8 RGB [height, width, 3], masks uint8 [height, width], 0 or 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Mask = npt.NDArray[np.uint8]


def feathered(mask: Mask, *, feather: float) -> npt.NDArray[np.float32]:
    """Return the person's share of each pixel, float32 [height, width], 0 to 1.

    Args:
        mask: The person.
        feather: Width of the soft edge as the sigma of a Gaussian, in pixels; 0 keeps it hard.
    """
    share = (mask > 127).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), feather), np.float32) if feather > 0 else share


def over(person: Pixels, mask: Mask, background: Pixels, *, feather: float) -> Pixels:
    """Lay the person of one picture over another picture of the same size."""
    share = feathered(mask, feather=feather)[..., None]
    mixed = share * person + (1 - share) * background
    return np.asarray(np.rint(mixed), np.uint8)


def without_person(picture: Pixels, mask: Mask, *, grow: int) -> Pixels:
    """Take the person out and fill the hole from its edge (Telea 2004, "An image inpainting technique").

    Args:
        picture: With the person.
        mask: The person.
        grow: Pixels by which the hole is larger than the mask, so that no rim of the person stays.
    """
    hole = (mask > 127).astype(np.uint8)
    if grow > 0:
        hole = np.asarray(cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1,) * 2)), np.uint8)
    if hole.all():
        return np.full_like(picture, 127)
    return np.asarray(cv2.inpaint(picture, hole, 3, cv2.INPAINT_TELEA), np.uint8)
