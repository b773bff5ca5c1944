"""The queue is walked along its index, however large the group: a page costs what it shows."""

from __future__ import annotations

import secrets

import psycopg
import pytest

from silhouette.database import doubts, review_queue
from silhouette.database.review_queue import Filters, Place
from tests.database.conftest import MODEL

PICTURES = 20_000


@pytest.fixture
def group_id(connection: psycopg.Connection) -> int:
    """A group with two people on each of many pictures, prepared."""
    name = f"large {secrets.token_hex(4)}"
    row = connection.execute("INSERT INTO groups (name) VALUES (%s) RETURNING id", (name,)).fetchone()
    assert row
    sha256 = "encode(sha256(n::text::bytea), 'hex')"
    connection.execute(
        f"INSERT INTO labels SELECT 'id ' || n, %s, NULL, now(), {sha256}, 'a', '', '' FROM generate_series(1, %s) n",
        (row[0], PICTURES),
    )
    connection.execute(
        "INSERT INTO segmentations (picture_sha256, model_digest, width, height, people_count)"
        f" SELECT {sha256}, %s, 100, 100, 2 FROM generate_series(1, %s) n",
        (MODEL, PICTURES),
    )
    connection.execute(
        "INSERT INTO people SELECT s.id, n, ARRAY[0, 0, 10, 10], random(), 'x'"
        " FROM segmentations s, generate_series(0, 1) n"
    )
    after = ""
    while after := doubts.fill_scores(connection, group_id=row[0], model_digest=MODEL, after=after):
        pass
    connection.execute("ANALYZE")
    return int(row[0])


@pytest.mark.parametrize("order", ["doubtful", "sure"])
@pytest.mark.parametrize("after", [None, Place(doubt=0.5, segmentation_id=1)])
def test_a_page_reads_what_it_shows(
    connection: psycopg.Connection, group_id: int, order: review_queue.Order, after: Place | None
) -> None:
    def read() -> int:
        row = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'segmentations'"
        ).fetchone()
        assert row
        return int(row[0])

    with connection.transaction():
        before = read()
        found = review_queue.page(
            connection, group_id=group_id, model_digest=MODEL, filters=Filters(), order=order, after=after, limit=61
        )
        touched = read() - before
    assert len(found) == 61
    assert [item.doubt for item in found] == sorted((item.doubt for item in found), reverse=order == "doubtful")
    assert 61 <= touched <= 200, f"{touched} of {PICTURES} rows were read for a page of 61"


def test_all_are_counted(connection: psycopg.Connection, group_id: int) -> None:
    counted = review_queue.count(connection, group_id=group_id, model_digest=MODEL, filters=Filters(max_score=0.5))
    everything = review_queue.count(connection, group_id=group_id, model_digest=MODEL, filters=Filters())
    assert (everything.total, everything.prepared) == (PICTURES, PICTURES)
    assert 0.7 < counted.total / PICTURES < 0.8, "the lesser of two scores is below a half three times in four"
