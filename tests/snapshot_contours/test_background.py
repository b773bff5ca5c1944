"""A background set is frozen without the pictures that must not stand behind anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psycopg
import pytest

from silhouette.contracts import backgrounds, contours, dataset
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.database import badlist, reviews, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.reviews import Status, Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.errors import InputError
from silhouette.snapshot_contours.background import BackgroundReport, snapshot_background
from silhouette.store import Store
from tests.segment_people import pictures

MODEL = "c" * 64
PERSON = PersonRow(
    box_xyxy=(0.0, 0.0, 9.0, 9.0),
    score=0.5,
    contours=contours.encode(contours.from_mask(np.full((9, 9), 255, np.uint8))),
)


def written(folder: Path, names: str) -> Path:
    rows = tuple(pictures.row(name, name.encode(), label="") for name in sorted(names.split()))
    dataset.write(folder, Dataset(group="places", classes=(), rows=rows))
    return folder


def seen(connection: psycopg.Connection, *names: str, people: int) -> None:
    found = [
        Segmentation(picture_sha256=row.sha256, width=90, height=120, people=(PERSON,) * people)
        for row in rows_of(names)
    ]
    segmentations.add(connection, model_digest=MODEL, found=found)


def rows_of(names: tuple[str, ...]) -> list[PictureRow]:
    return [pictures.row(name, name.encode(), label="") for name in names]


def decide(connection: psycopg.Connection, name: str, status: Status) -> None:
    (row,) = rows_of((name,))
    verdict = Verdict(
        picture_sha256=row.sha256, model_digest=MODEL, status=status, revision=0, reviewer="anna", reason="seen"
    )
    reviews.decide(connection, [verdict])


def freeze(folder: Path, store: Store, connection: psycopg.Connection) -> BackgroundReport:
    return snapshot_background(dataset=folder, model_digest=MODEL, store=store, connection=connection)


def test_pictures_with_people_and_those_that_nobody_knows_are_left_out_by_id(
    tmp_path: Path, fresh_store: Store, connection: psycopg.Connection
) -> None:
    folder = written(tmp_path, "bad crowd empty mistaken unseen wrong")
    seen(connection, "empty", people=0)
    seen(connection, "crowd", "wrong", "mistaken", "bad", people=2)
    decide(connection, "wrong", "rejected")
    decide(connection, "mistaken", "nobody")
    badlist.add(connection, ["bad"])
    report = freeze(folder, fresh_store, connection)
    frozen = backgrounds.read(fresh_store, report.digest)
    assert frozen.left_out == {
        "badlisted": ["bad"], "not_segmented": ["unseen"], "person": ["crowd"], "rejected": ["wrong"],
    }  # fmt: skip
    assert report.pictures == 2
    assert report.left_out == {"badlisted": 1, "not_segmented": 1, "person": 1, "rejected": 1}
    assert {row.picture_id for row in frozen.pictures} == {"crowd", "empty", "mistaken", "unseen", "wrong"}
    assert freeze(folder, fresh_store, connection) == report
    decide(connection, "crowd", "nobody")
    assert freeze(folder, fresh_store, connection).digest != report.digest


def test_a_set_whose_pictures_all_show_people_is_one_clear_line(
    tmp_path: Path, fresh_store: Store, connection: psycopg.Connection
) -> None:
    folder = written(tmp_path, "one two")
    seen(connection, "one", "two", people=1)
    with pytest.raises(InputError, match=r"'places' has none: of 2 left out 2 person; name pixsets of places"):
        freeze(folder, fresh_store, connection)
    assert not list(fresh_store.list_keys("backgrounds/"))
