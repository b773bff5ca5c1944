"""Segmentations and people go in together, once, whoever writes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from silhouette.database import connect, reviews, segmentations
from silhouette.database.people import PersonRow, read_people
from silhouette.database.reviews import Verdict
from silhouette.database.segmentations import Segmentation

MODEL, OTHER = "a" * 64, "b" * 64
PERSON = PersonRow(box_xyxy=(1.5, 2.0, 30.0, 40.25), score=0.75, contours=b"\x01\x00\xff")


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people")
        yield opened


def seen(number: int, people: int) -> Segmentation:
    return Segmentation(picture_sha256=f"{number:064x}", width=64, height=48, people=(PERSON,) * people)


def counts(connection: psycopg.Connection) -> tuple[int, int]:
    row = connection.execute("SELECT (SELECT count(*) FROM segmentations), (SELECT count(*) FROM people)").fetchone()
    assert row is not None
    return row[0], row[1]


def test_people_come_back_as_they_were_and_a_picture_without_people_is_kept(connection: psycopg.Connection) -> None:
    assert segmentations.add(connection, model_digest=MODEL, found=[seen(2, 2), seen(1, 0)]) == 2
    rows = list(read_people(connection, model_digest=MODEL, sha256s=[f"{n:064x}" for n in (1, 2, 3)]))
    assert [(int(row.picture_sha256, 16), row.person_index) for row in rows] == [(1, None), (2, 0), (2, 1)]
    assert rows[0].person is None
    assert rows[1].person == PERSON
    assert (rows[1].width, rows[1].height, rows[1].status) == (64, 48, "unchecked")


def test_writing_again_changes_nothing(connection: psycopg.Connection) -> None:
    segmentations.add(connection, model_digest=MODEL, found=[seen(1, 2)])
    approved = Verdict(picture_sha256=f"{1:064x}", model_digest=MODEL, status="approved", revision=0, reviewer="anna")
    reviews.decide(connection, [approved])
    assert segmentations.add(connection, model_digest=MODEL, found=[seen(1, 5), seen(2, 1)]) == 1
    assert counts(connection) == (2, 3)
    [first, _] = read_people(connection, model_digest=MODEL, sha256s=[f"{1:064x}"])
    assert first.status == "approved"


def test_each_model_has_its_own_records(connection: psycopg.Connection) -> None:
    segmentations.add(connection, model_digest=MODEL, found=[seen(1, 1)])
    sha256s = [f"{n:064x}" for n in (1, 2)]
    assert segmentations.segmented(connection, model_digest=MODEL, sha256s=sha256s) == {f"{1:064x}"}
    assert segmentations.segmented(connection, model_digest=OTHER, sha256s=sha256s) == set()
    assert segmentations.add(connection, model_digest=OTHER, found=[seen(1, 1)]) == 1


def test_two_runs_at_once_neither_duplicate_nor_block_one_another(
    connection: psycopg.Connection, postgres_dsn: str
) -> None:
    found = [seen(number, number % 3) for number in range(300)]

    def run(seed: int) -> int:
        mine = random.Random(seed).sample(found, len(found))
        with connect(postgres_dsn) as own:
            parts = [mine[start : start + 50] for start in range(0, len(mine), 50)]
            return sum(segmentations.add(own, model_digest=MODEL, found=part) for part in parts)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 300
    assert counts(connection) == (300, 300)


def test_a_batch_with_one_bad_person_leaves_nothing(connection: psycopg.Connection) -> None:
    bad = Segmentation(
        picture_sha256=f"{9:064x}", width=1, height=1, people=(PersonRow(box_xyxy=(0, 0, 1, 1), score=7, contours=b""),)
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        segmentations.add(connection, model_digest=MODEL, found=[seen(1, 1), bad])
    assert counts(connection) == (0, 0)


def test_malformed_keys_are_held_off_by_the_database(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        segmentations.add(connection, model_digest="short", found=[seen(1, 0)])


def test_people_are_counted_with_their_segmentation(connection: psycopg.Connection) -> None:
    segmentations.add(connection, model_digest=MODEL, found=[seen(1, 3), seen(2, 0)])
    rows = connection.execute("SELECT people_count FROM segmentations ORDER BY picture_sha256").fetchall()
    assert rows == [(3,), (0,)]
