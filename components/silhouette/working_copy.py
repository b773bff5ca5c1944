"""Read a picture of a dataset from the store: its working copy where that shows enough, else the original.

Contours and boxes are always in pixels of the upright original; `to_pixels` and `to_original` carry them over to the
pixels that were read and back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts.contours import Contours
from silhouette.imaging import open_picture, square_of

if TYPE_CHECKING:
    from silhouette.contracts.dataset import PictureRow
    from silhouette.imaging import Pixels
    from silhouette.store import Store

    Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkingPicture:
    """Pixels to work with, and what they are pixels of.

    Attributes:
        pixels: uint8 RGB [h, w, 3], upright.
        width: Of the upright original, pixels.
        height: Of the upright original, pixels.
    """

    pixels: Pixels
    width: int
    height: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels here for one of the original, 1.0 for the original itself."""
        height, width = self.pixels.shape[:2]
        return width / self.width, height / self.height

    def to_pixels(self, contours: Contours, box_xyxy: Box) -> tuple[Contours, Box]:
        """Bring a person from the original's pixels to these."""
        if self.scale_xy == (1.0, 1.0):
            return contours, box_xyxy
        height, width = self.pixels.shape[:2]
        return _scaled(contours, box_xyxy, self.scale_xy, (width, height))

    def to_original(self, contours: Contours, box_xyxy: Box) -> tuple[Contours, Box]:
        """Bring a person from these pixels to the original's."""
        across, down = self.scale_xy
        if (across, down) == (1.0, 1.0):
            return contours, box_xyxy
        return _scaled(contours, box_xyxy, (1 / across, 1 / down), (self.width, self.height))


def read_picture(store: Store, row: PictureRow, *, least_scale: float = 0.0) -> WorkingPicture:
    """Read a picture of a dataset.

    Args:
        store: Has the bytes.
        row: The picture.
        least_scale: Pixels wanted for one of the original; where the working copy has fewer, the original is read.

    Raises:
        PictureError: The bytes cannot be opened.
        InputError: They are not there.
        ServiceError: The store failed.
    """
    enough = row.working_key and row.working_width >= least_scale * row.width
    opened = open_picture(store.get_bytes(row.working_key if enough else row.object_key))
    if enough:
        return WorkingPicture(pixels=opened.pixels, width=row.width, height=row.height)
    return WorkingPicture(pixels=opened.pixels, width=opened.width, height=opened.height)


def least_scale_for(boxes_xyxy: Iterable[Box], *, size: int, margin: float) -> float:
    """Return how many pixels for one of the original it takes to fill every person's crop, 1.0 at most.

    Args:
        boxes_xyxy: Of the people, in the original's pixels.
        size: Side of the crops, pixels.
        margin: As in `silhouette.imaging.square_of`.
    """
    sides = [square_of(box, margin)[2] for box in boxes_xyxy]
    return min(1.0, size / min(sides)) if sides else 0.0


def _scaled(
    contours: Contours, box_xyxy: Box, scale_xy: tuple[float, float], size: tuple[int, int]
) -> tuple[Contours, Box]:
    """Scale points as centres of pixels, and keep them on the picture."""
    scale, last = np.array(scale_xy), np.array(size) - 1
    rings = tuple(np.clip(np.rint((ring + 0.5) * scale - 0.5), 0, last).astype(np.int32) for ring in contours.rings)
    x0, y0, x1, y1 = box_xyxy
    across, down = scale_xy
    return Contours(rings=rings, parents=contours.parents), (x0 * across, y0 * down, x1 * across, y1 * down)
