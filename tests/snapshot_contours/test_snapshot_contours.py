"""A snapshot holds what may be used, and its digest moves with every verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psycopg
import pytest

from silhouette.contracts import contours, dataset, snapshot
from silhouette.contracts.dataset import PictureRow
from silhouette.database import badlist, labels, reviews, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.reviews import Status, Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.errors import InputError
from silhouette.snapshot_contours.snapshot import SnapshotReport, snapshot_contours
from silhouette.store import Store
from tests.segment_people import pictures

MODEL = "c" * 64
PERSON = PersonRow(
    box_xyxy=(0.0, 0.0, 9.0, 9.0),
    score=0.5,
    contours=contours.encode(contours.from_mask(np.full((9, 9), 255, np.uint8))),
)


@pytest.fixture
def rows() -> list[PictureRow]:
    return [pictures.row(f"picture {number}", b"%d" % number) for number in range(5)]


@pytest.fixture
def folder(tmp_path: Path, rows: list[PictureRow], connection: psycopg.Connection) -> Path:
    found = [
        Segmentation(picture_sha256=row.sha256, width=90, height=120, people=(PERSON,) * (index % 3))
        for index, row in enumerate(rows)
    ]
    segmentations.add(connection, model_digest=MODEL, found=found)
    return pictures.write_dataset(tmp_path / "dataset", rows)


def decide(connection: psycopg.Connection, sha256: str, status: Status, *, revision: int = 0) -> None:
    verdict = Verdict(
        picture_sha256=sha256, model_digest=MODEL, status=status, revision=revision, reviewer="anna", reason="seen"
    )
    reviews.decide(connection, [verdict])


def take(folder: Path, store: Store, connection: psycopg.Connection) -> SnapshotReport:
    return snapshot_contours(dataset=folder, model_digest=MODEL, store=store, connection=connection)


def read(report: SnapshotReport, store: Store, tmp_path: Path) -> list[snapshot.SnapshotRow]:
    store.get_file(report.key, tmp_path / "s.arrow")
    assert (
        snapshot.digest_of(snapshot.read_head(tmp_path / "s.arrow"), snapshot.read(tmp_path / "s.arrow"))
        == report.digest
    )
    return snapshot.read(tmp_path / "s.arrow")


def test_it_lies_under_its_digest_and_is_the_same_next_time(
    folder: Path, store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    report = take(folder, store, connection)
    assert report.key == f"snapshots/{report.digest}.arrow"
    assert (report.pictures, report.people, report.without_people) == (5, 4, 2)
    assert len(read(report, store, tmp_path)) == 6
    assert take(folder, store, connection) == report


def test_rejected_and_badlisted_pictures_have_no_rows_but_are_listed(
    folder: Path, store: Store, connection: psycopg.Connection, tmp_path: Path, rows: list[PictureRow]
) -> None:
    decide(connection, rows[1].sha256, "rejected")
    decide(connection, rows[4].sha256, "approved")
    badlist.add(connection, [rows[2].picture_id, "a picture of another group"])
    report = take(folder, store, connection)
    found = read(report, store, tmp_path)
    assert {row.sha256 for row in found} == {rows[index].sha256 for index in (0, 3, 4)}
    assert {row.status for row in found if row.sha256 == rows[4].sha256} == {"approved"}
    head = snapshot.read_head(tmp_path / "s.arrow")
    assert head.badlisted == (rows[2].picture_id,)
    assert head.rejected == (rows[1].sha256,)


def test_the_bytes_of_a_badlisted_picture_are_out_under_any_id(
    store: Store, connection: psycopg.Connection, tmp_path: Path, rows: list[PictureRow], folder: Path
) -> None:
    twin = pictures.row("twin", b"2")
    both = pictures.write_dataset(tmp_path / "both", [*rows, twin])
    badlist.add(connection, [rows[2].picture_id])
    report = take(both, store, connection)
    assert report.badlisted == 2
    assert twin.sha256 not in {row.sha256 for row in read(report, store, tmp_path)}


def test_the_bytes_of_a_badlisted_picture_of_another_group_are_out_as_well(
    store: Store, connection: psycopg.Connection, rows: list[PictureRow], folder: Path
) -> None:
    elsewhere = pictures.row("its id in another group", b"3")
    assert elsewhere.sha256 == rows[3].sha256
    labels.replace(connection, group="other", dataset_digest="d" * 64, pictures=[elsewhere])
    badlist.add(connection, [elsewhere.picture_id])
    assert take(folder, store, connection).badlisted == 1


def test_a_picture_verified_to_have_nobody_on_it_has_nobody_whatever_the_model_found(
    folder: Path, store: Store, connection: psycopg.Connection, tmp_path: Path, rows: list[PictureRow]
) -> None:
    decide(connection, rows[2].sha256, "nobody")  # two people were found there
    report = take(folder, store, connection)
    assert (report.pictures, report.people, report.without_people, report.rejected) == (5, 2, 3, 0)
    (row,) = [row for row in read(report, store, tmp_path) if row.sha256 == rows[2].sha256]
    assert (row.person_index, row.status, row.contours, row.score) == (snapshot.NOBODY, "nobody", b"", 0.0)
    decide(connection, rows[2].sha256, "unchecked", revision=1)
    assert take(folder, store, connection).people == 4


def test_the_digest_moves_with_a_verdict_the_badlist_and_the_databases_identity(
    folder: Path, store: Store, connection: psycopg.Connection, rows: list[PictureRow]
) -> None:
    digests = [take(folder, store, connection).digest]
    decide(connection, rows[1].sha256, "approved")
    digests.append(take(folder, store, connection).digest)
    decide(connection, rows[1].sha256, "nobody", revision=1)
    digests.append(take(folder, store, connection).digest)
    badlist.add(connection, ["a picture of another group"])
    assert take(folder, store, connection).digest == digests[-1]
    badlist.add(connection, [rows[0].picture_id])
    digests.append(take(folder, store, connection).digest)
    connection.execute("UPDATE installation SET id = gen_random_uuid()")
    digests.append(take(folder, store, connection).digest)
    assert len(set(digests)) == 5


def test_a_picture_that_was_not_segmented_is_counted_and_none_at_all_is_refused(
    folder: Path, store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    more = [*dataset.read(folder).rows, pictures.row("new", b"new")]
    report = take(pictures.write_dataset(tmp_path / "more", more), store, connection)
    assert report.not_segmented == 1
    connection.execute("TRUNCATE segmentations, people")
    with pytest.raises(InputError, match="must have been segmented by model cccccccccccc, none of them was"):
        take(folder, store, connection)
