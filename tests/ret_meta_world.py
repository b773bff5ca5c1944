"""Groups of drawn pictures as the steps before leave them: in a real store and a real database, with tiny models.

world = World(store, connection, tmp_path)
world.add("p1", "red", [("red", 80, 1.0)])
world.write()
build_ret_meta(groups=["summer test"], config=world.config(world.model("summer test")), **world.tools)
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image

from silhouette.config import Config, GroupConfig, ModelConfig, load_config
from silhouette.contracts import contours, dataset, ret_meta
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.ret_meta import RetMeta
from silhouette.database import corrections, labels, reviews, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.reviews import Status, Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.names import safe_key
from silhouette.store import Store, open_store
from tests.deploy_model import bundles

GROUP = "summer test"
SEGMENTER = "a" * 64
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220)}
Oval = tuple[str, int, float]
"""Colour, centre across, size."""


@dataclass
class World:
    """Groups and their pictures; `write` makes them known."""

    store: Store
    connection: psycopg.Connection
    folder: Path
    rows: dict[str, list[PictureRow]] = field(default_factory=dict)

    def add(
        self,
        picture_id: str,
        label: str,
        people: Sequence[Oval] = (("red", 80, 1.0),),
        *,
        groups: Sequence[str] = (GROUP,),
        status: Status = "unchecked",
        segmenter: str = SEGMENTER,
        data: bytes = b"",
    ) -> PictureRow:
        pixels, found = _draw(people, seed=hashlib.sha256(picture_id.encode()).digest()[:3])
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        data = data or stream.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"pictures/{sha256[:2]}/{sha256}.png"
        self.store.put_bytes(key, data)
        row = PictureRow(picture_id=picture_id, object_key=key, sha256=sha256, width=160, height=120, label=label)
        for group in groups:
            self.rows.setdefault(group, []).append(row)
        if segmenter:
            seen = Segmentation(picture_sha256=sha256, width=160, height=120, people=tuple(found))
            segmentations.add(self.connection, model_digest=segmenter, found=[seen])
            if status != "unchecked":
                self.decide(row, status, segmenter=segmenter)
        return row

    def decide(self, row: PictureRow, status: Status, *, segmenter: str = SEGMENTER) -> None:
        now = reviews.read(self.connection, model_digest=segmenter, sha256s=[row.sha256])[row.sha256]
        verdict = Verdict(
            picture_sha256=row.sha256, model_digest=segmenter, status=status, revision=now.revision, reviewer="anna",
            reason="looked at it",
        )  # fmt: skip
        reviews.decide(self.connection, [verdict])

    def draw(self, row: PictureRow, author: str, people: Sequence[Oval]) -> str:
        """Hand in a correction of the version that counts; return its digest."""
        now = corrections.counting(self.connection, sha256s=[row.sha256]).get(row.sha256)
        found = self.connection.execute(
            "SELECT id FROM segmentations WHERE picture_sha256 = %s AND author = ''", (row.sha256,)
        ).fetchall()
        seen = now or corrections.versions(self.connection, segmentation_ids=[found[0][0]])[found[0][0]]
        drawn = [replace(person, score=1.0) for person in _draw(people, seed=b"   ")[1]]
        return corrections.add(
            self.connection, corrects=seen, replaces=now, author=author, people=drawn, reason="by hand"
        )

    def write(self) -> None:
        """Leave the datasets as a download leaves them."""
        for group, rows in self.rows.items():
            ordered = tuple(sorted(rows, key=lambda row: row.picture_id))
            folder = self.folder / "datasets" / safe_key(group)
            head = dataset.write(folder, Dataset(group=group, classes=bundles.CLASSES, rows=ordered))
            self.store.put_file(f"datasets/{safe_key(group)}.csv", folder / dataset.CSV_NAME)
            labels.replace(self.connection, group=group, dataset_digest=head.digest, pictures=ordered)

    def model(self, name: str = "model", **bundle: Any) -> ModelConfig:
        """Make a model file with its evaluation beside; other arguments are those of `bundles.make`."""
        judged = bundles.make(self.folder / f"{name}-{secrets.token_hex(3)}", **{"group": GROUP, **bundle})
        return ModelConfig(onnx=str(judged.bundle / "model.onnx"), evaluation=str(judged.evaluation / "metrics.json"))

    def document(self, picture_id: str) -> RetMeta:
        key = ret_meta.store_key(picture_id)
        return ret_meta.read(self.store.get_bytes(key), where=key)

    @property
    def tools(self) -> dict[str, Any]:
        return {"store": self.store, "connection": self.connection, "triton": None, "out": self.folder / "out"}


def config_of(**models: ModelConfig) -> Config:
    """Return the shipped configuration with these models; ``_`` in a name is a space."""
    named = {name.replace("_", " "): model for name, model in models.items()}
    groups = {name: GroupConfig(classes=list(bundles.CLASSES)) for name in named}
    return load_config({}).model_copy(update={"models": named, "groups": groups})


def _draw(people: Sequence[Oval], *, seed: bytes) -> tuple[Any, list[PersonRow]]:
    import cv2

    pixels = np.full((120, 160, 3), 128, np.uint8)
    pixels[0, 0] = list(seed)  # no two alike
    found = []
    for colour, x, scale in people:
        mask = np.zeros((120, 160), np.uint8)
        cv2.ellipse(mask, (x, 60), (round(18 * scale), round(48 * scale)), 0, 0, 360, 255, -1)
        pixels[mask > 0] = COLOURS[colour]
        outline = contours.from_mask(mask)
        box: Any = tuple(map(float, contours.box(outline)))
        found.append(PersonRow(box_xyxy=box, score=0.9, contours=contours.encode(outline)))
    return pixels, found


@contextmanager
def bucket_beside(store: Store) -> Iterator[Store]:
    """Another bucket of the same server, gone at the end."""
    other = open_store(replace(store.settings, bucket=f"test-{secrets.token_hex(6)}"))
    other.ensure_bucket()
    try:
        yield other
    finally:
        for key in list(other.list_keys("")):
            other.remove(key)
        other._client.remove_bucket(other.bucket)  # only tests ever remove a bucket
