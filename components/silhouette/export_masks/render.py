"""One picture for markers: the mask, the overlay, and its entries for the COCO files.

Reads the picture only when an overlay or a copy of it is asked for; everything else is made of the contours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contour_formats import CocoAnnotation, coco_annotation, to_coco_rle
from silhouette.contracts.contours import Contours
from silhouette.contracts.dataset import PictureRow
from silhouette.contracts.markup import CATEGORY_ID, export_name, to_index_map, write_png
from silhouette.drawing import draw_people
from silhouette.working_copy import WorkingPicture, read_picture

if TYPE_CHECKING:
    from silhouette.database.group_versions import GroupPicture
    from silhouette.database.people import PersonRow
    from silhouette.imaging import Pixels
    from silhouette.store import Store

_OVERLAY_QUALITY, _PICTURE_QUALITY = 85, 95


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture to render, with its people."""

    picture: GroupPicture
    people: tuple[PersonRow, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        return export_name(
            picture_id=self.picture.picture_id,
            segmentation_id=self.picture.segmentation_id,
            revision=self.picture.revision,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """What a picture's mask and annotations are made of.

    Attributes:
        people: Decoded, in their order.
        png: The mask.
        shared: Pixels of several people.
        shared_pixels: How many.
    """

    people: tuple[Contours, ...]
    png: bytes
    shared: Contours
    shared_pixels: int


def mark(item: Item) -> Marked:
    """Draw the mask."""
    picture = item.picture
    people = tuple(contour_bytes.decode(person.contours) for person in item.people)
    numbers = to_index_map(people, width=picture.width, height=picture.height)
    return Marked(
        people=people, png=write_png(numbers.numbers), shared=numbers.shared, shared_pixels=numbers.shared_pixels
    )


def overlay(item: Item, marked: Marked, *, store: Store, longest_side: int) -> bytes:
    """Draw the people on the picture, at most `longest_side` pixels large; return a JPEG.

    Raises:
        PictureError: The picture cannot be opened.
        InputError: Its bytes are not there.
        ServiceError: The store failed.
    """
    from silhouette.imaging import shrink

    row = _row(item.picture)
    opened = read_picture(store, row, least_scale=min(1.0, longest_side / max(row.width, row.height)))
    small = WorkingPicture(
        pixels=shrink(opened.pixels, longest_side), width=item.picture.width, height=item.picture.height
    )
    people = [small.to_pixels(contours, (0.0, 0.0, 1.0, 1.0))[0] for contours in marked.people]
    return _jpeg(draw_people(small.pixels, people), _OVERLAY_QUALITY)


def upright_copy(item: Item, *, store: Store) -> bytes:
    """Return the picture itself as a JPEG that no tool turns: upright, without EXIF, in the original's size.

    Raises:
        PictureError: The picture cannot be opened.
        InputError: Its bytes are not there.
        ServiceError: The store failed.
    """
    return _jpeg(read_picture(store, _row(item.picture), least_scale=2.0).pixels, _PICTURE_QUALITY)


def image_entry(item: Item, marked: Marked, *, image_id: int) -> dict[str, Any]:
    """Return the entry of ``images``; `shared` says as RLE which pixels belong to several people."""
    picture = item.picture
    entry: dict[str, Any] = {
        "id": image_id, "width": picture.width, "height": picture.height, "file_name": f"{item.name}.jpg",
        "license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0,
        "picture_id": picture.picture_id, "sha256": picture.picture_sha256, "status": picture.status,
        "author": picture.author, "reviewer": picture.reviewer, "shared_pixels": marked.shared_pixels,
    }  # fmt: skip
    if marked.shared_pixels:
        entry["shared"] = to_coco_rle(marked.shared, width=picture.width, height=picture.height)
    return entry


def people_entries(item: Item, marked: Marked, *, one_polygon: bool) -> list[CocoAnnotation]:
    """Return the entries of ``annotations``, one a person that has a pixel, in their order and without ids.

    Args:
        item: The picture.
        marked: Its people.
        one_polygon: One polygon a person, whatever its shape; else RLE for what has holes or several parts.
    """
    entries = []
    for contours in (contours for contours in marked.people if not contours.is_empty):
        form: Literal["rle", "polygons", "polygon"] = "polygons" if len(contours.rings) == 1 else "rle"
        entry = coco_annotation(
            contours, annotation_id=0, image_id=0, category_id=CATEGORY_ID, width=item.picture.width,
            height=item.picture.height, form="polygon" if one_polygon else form,
        )  # fmt: skip
        entry["iscrowd"] = int(isinstance(entry["segmentation"], dict))
        entries.append(entry)
    return entries


def _row(picture: GroupPicture) -> PictureRow:
    return PictureRow(
        picture_id=picture.picture_id, object_key=picture.object_key, sha256=picture.picture_sha256,
        width=picture.width, height=picture.height, label=picture.label, working_key=picture.working_key,
        working_width=picture.working_width, working_height=picture.working_height,
    )  # fmt: skip


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "OpenCV writes any picture of 8 bits that JPEG can hold"
    return bytes(np.asarray(data).tobytes())
