"""The ledger: a row before, its end after, and the last one counts."""

from __future__ import annotations

import psycopg
import pytest

from silhouette.database import posts
from silhouette.database.posts import End

A, B = "a" * 64, "b" * 64
SERVICE = "http://service"


def begin(connection: psycopg.Connection, picture_id: str = "p", digest: str = A, *, service: str = SERVICE) -> int:
    return posts.begin(connection, service=service, content_digests={picture_id: digest})[picture_id]


def latest(connection: psycopg.Connection, *picture_ids: str) -> dict[str, posts.Post]:
    return posts.latest(connection, service=SERVICE, picture_ids=picture_ids or ["p"])


@pytest.fixture(autouse=True)
def empty(connection: psycopg.Connection) -> None:
    connection.execute("TRUNCATE ret_meta_posts")


def test_a_document_is_in_doubt_until_its_end_is_written(connection: psycopg.Connection) -> None:
    number = begin(connection)
    assert latest(connection)["p"].in_doubt
    posts.end(connection, [End(post_id=number, receipt="r 1")])
    found = latest(connection)["p"]
    assert (found.post_id, found.content_digest, found.receipt, found.in_doubt) == (number, A, "r 1", False)


def test_the_last_row_of_a_picture_at_this_service_counts(connection: psycopg.Connection) -> None:
    ended = [
        End(post_id=begin(connection), receipt="1"),
        End(post_id=begin(connection, digest=B), failure="refused: \0" + "x" * 5000),
        End(post_id=begin(connection, service="http://another"), receipt="3"),
        End(post_id=begin(connection, "лето '\"%"), receipt="4"),
    ]
    posts.end(connection, ended)
    found = latest(connection, "p", "лето '\"%", "nobody")
    assert found.keys() == {"p", "лето '\"%"}
    assert (found["p"].content_digest, found["p"].receipt, len(found["p"].failure)) == (B, "", 1999)
    assert found["p"].has_arrived, "the first one did"
    posts.end(connection, [End(post_id=begin(connection, "refused"), failure="no")])
    assert not latest(connection, "refused")["refused"].has_arrived
    assert connection.execute("SELECT count(*) FROM ret_meta_posts").fetchone() == (5,)


def test_many_rows_are_begun_and_ended_each_as_its_own(connection: psycopg.Connection) -> None:
    names = [f"p {number}" for number in range(40)]
    numbers = posts.begin(connection, service=SERVICE, content_digests=dict.fromkeys(names, A))
    assert list(numbers) == names
    posts.end(connection, [End(post_id=numbers[name], receipt=f"of {name}") for name in names[:30]])
    found = latest(connection, *names)
    assert [found[name].receipt for name in names] == [f"of {name}" for name in names[:30]] + [""] * 10
    assert all(found[name].in_doubt for name in names[30:])


@pytest.mark.parametrize(
    "change",
    [
        "SET ended_at = now()",
        "SET receipt = 'r'",
        "SET ended_at = now(), receipt = 'r', failure = 'f'",
        "SET content_digest = 'x'",
    ],
)
def test_a_row_that_contradicts_itself_is_held_off(connection: psycopg.Connection, change: str) -> None:
    begin(connection)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"UPDATE ret_meta_posts {change}")
