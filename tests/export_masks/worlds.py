"""A group of drawn pictures in a real store and database, segmented by hand: people with holes, parts and overlaps."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psycopg
from PIL import Image

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours, from_mask
from silhouette.contracts.dataset import PictureRow
from silhouette.contracts.markup import export_name
from silhouette.database import labels, pictures, reviews, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.pictures import PictureRecord
from silhouette.database.reviews import Status, Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.store import Store
from tests.segment_people import pictures as rows_of

MODEL, OTHER_MODEL = "a" * 64, "b" * 64
GROUP = "summer 'test' Лето"
WIDTH, HEIGHT = 160, 120

Mask = npt.NDArray[np.uint8]


def blank() -> Mask:
    return np.zeros((HEIGHT, WIDTH), np.uint8)


def box_mask(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = blank()
    mask[top:bottom, left:right] = 255
    return mask


def ring_mask() -> Mask:
    """A part with a hole, and a part of its own inside the hole."""
    mask = box_mask(20, 20, 80, 100)
    mask[40:80, 35:65] = 0
    mask[55:60, 45:50] = 255
    return mask


PLAIN = [box_mask(10, 10, 60, 110), box_mask(100, 0, 160, 120)]  # the second is cut by the border
HOLED = [ring_mask()]
OVERLAPPING = [box_mask(10, 10, 90, 110), box_mask(70, 40, 110, 80)]  # 20 x 40 pixels are of both
NOBODY: list[Mask] = []


def person(mask: Mask, score: float = 0.9) -> PersonRow:
    outline = from_mask(mask)
    points = np.concatenate(outline.rings)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return PersonRow(box_xyxy=(left, top, right + 1, bottom + 1), score=score, contours=contour_bytes.encode(outline))


def masks_of(people: Sequence[Contours]) -> list[Mask]:
    return [contour_bytes.to_mask(outline, width=WIDTH, height=HEIGHT) for outline in people]


def jpeg(seed: int, *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([(x + 37 * seed) % 256, (2 * y + 11 * seed) % 256, (x + y) % 256], axis=2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@dataclass(frozen=True, kw_only=True)
class World:
    """The group's rows by picture id, in a store and behind a connection."""

    store: Store
    connection: psycopg.Connection
    rows: dict[str, PictureRow]

    def name(self, picture_id: str, *, model: str = MODEL) -> str:
        """Return the name that an export of now gives the picture's files."""
        number, revision = self.segmentation(picture_id, model=model)
        return export_name(picture_id=picture_id, segmentation_id=number, revision=revision)

    def segmentation(self, picture_id: str, *, model: str = MODEL) -> tuple[int, int]:
        row = self.connection.execute(
            "SELECT id, revision FROM segmentations WHERE picture_sha256 = %s AND model_digest = %s",
            (self.rows[picture_id].sha256, model),
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def decide(self, picture_id: str, status: Status, *, reviewer: str = "anna") -> None:
        verdict = Verdict(
            picture_sha256=self.rows[picture_id].sha256, model_digest=MODEL, status=status,
            revision=self.segmentation(picture_id)[1], reviewer=reviewer, reason="seen",
        )  # fmt: skip
        reviews.decide(self.connection, [verdict])

    def segment(
        self, picture_id: str, masks: Sequence[Mask], *, model: str = MODEL, scores: Sequence[float] = ()
    ) -> None:
        people = tuple(person(mask, score) for mask, score in zip(masks, [*scores, *[0.9] * len(masks)], strict=False))
        found = Segmentation(picture_sha256=self.rows[picture_id].sha256, width=WIDTH, height=HEIGHT, people=people)
        assert segmentations.add(self.connection, model_digest=model, found=[found]) == 1


def bring(store: Store, connection: psycopg.Connection, picture_ids: Sequence[str], *, group: str = GROUP) -> World:
    """Bring drawn pictures in, as `download_pictures` leaves them."""
    rows = {}
    for number, picture_id in enumerate(picture_ids):
        data = jpeg(number)
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"pictures/{sha256[:2]}/{sha256}.jpg"
        store.put_bytes(key, data)
        rows[picture_id] = PictureRow(
            picture_id=picture_id, object_key=key, sha256=sha256, width=WIDTH, height=HEIGHT, label="dress"
        )
        record = PictureRecord(
            origin="test", name=picture_id, picture_id=picture_id, stamp=sha256, sha256=sha256, size_bytes=len(data),
            width=WIDTH, height=HEIGHT, object_key=key, judged_by="", store_id="",
        )  # fmt: skip
        pictures.keep(connection, record)
    labels.replace(connection, group=group, dataset_digest="d" * 64, pictures=rows.values())
    return World(store=store, connection=connection, rows=rows)


def filled(store: Store, connection: psycopg.Connection) -> World:
    """Four pictures: plain, holed, overlapping, empty."""
    world = bring(store, connection, ["plain", "holed/№ 1", "overlapping", "empty"])
    for picture_id, masks in zip(world.rows, (PLAIN, HOLED, OVERLAPPING, NOBODY), strict=True):
        world.segment(picture_id, masks)
    return world


def dataset_folder(world: World, folder: Path) -> Path:
    return rows_of.write_dataset(folder, list(world.rows.values()))
