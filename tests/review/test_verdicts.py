"""Verdicts are recorded once, for who gave them, and never over what somebody else decided meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from silhouette.database import badlist, reviews
from silhouette.errors import ServiceError
from silhouette.review.app import MAX_BODY_BYTES, Room
from silhouette.review.asking import MOST_AT_ONCE
from silhouette.review.connections import Connections
from silhouette.review.desk import UNDONE
from tests.database.conftest import login
from tests.review.conftest import MODEL, World, client_of, make_room

OURS = {"X-Silhouette-Review": "1"}


@pytest.fixture
def boris(room: Room) -> TestClient:
    """Another reviewer of the same group."""
    return client_of(room, reviewer="boris")


def send(client: TestClient, address: str, **body: Any) -> list[dict[str, Any]]:
    answer = client.post(address, json={"model": MODEL, **body}, headers=OURS)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["outcomes"])


def seen(world: World, *numbers: int) -> list[dict[str, Any]]:
    return [{"sha256": world.sha(number), "revision": world.status(number)[1]} for number in numbers]


def decide(client: TestClient, world: World, status: str, *numbers: int, reason: str = "") -> list[str]:
    outcomes = send(client, "/api/verdicts", status=status, reason=reason, pictures=seen(world, *numbers))
    return [item["outcome"] for item in outcomes]


def undo(client: TestClient, world: World, *numbers: int) -> list[dict[str, Any]]:
    return send(client, "/api/undo", pictures=seen(world, *numbers))


def test_a_verdict_is_recorded_for_its_reviewer_and_in_the_audit(client: TestClient, group: World) -> None:
    (outcome,) = send(client, "/api/verdicts", status="approved", pictures=seen(group, 0))
    assert outcome["outcome"] == "done"
    assert (outcome["review"]["status"], outcome["review"]["revision"]) == ("approved", 1)
    assert decide(client, group, "rejected", 1, reason="cut off") == ["done"]
    assert decide(client, group, "nobody", 2) == ["done"]
    assert [group.status(number) for number in range(3)] == [
        ("approved", 1, "anna", ""), ("rejected", 1, "anna", "cut off"), ("nobody", 1, "anna", ""),
    ]  # fmt: skip
    (change,) = reviews.history(group.connection, picture_sha256=group.sha(1))[-1:]
    assert (change.from_status, change.to_status, change.reviewer) == ("unchecked", "rejected", "anna")


def test_a_rejection_or_a_change_without_a_reason_is_refused(client: TestClient, group: World) -> None:
    (outcome,) = send(client, "/api/verdicts", status="rejected", reason="  ", pictures=seen(group, 0))
    assert (outcome["outcome"], outcome["review"]) == ("refused", None)
    assert outcome["message"].startswith("a rejection must have a reason")
    decide(client, group, "approved", 0)
    assert decide(client, group, "nobody", 0) == ["refused"]
    assert decide(client, group, "nobody", 0, reason="looked again") == ["done"]


def test_an_undo_restores_status_and_reason_and_can_itself_be_undone(client: TestClient, group: World) -> None:
    decide(client, group, "rejected", 0, reason="cut off")
    decide(client, group, "approved", 0, reason="looked again")
    assert undo(client, group, 0)[0]["outcome"] == "done"
    assert group.status(0) == ("rejected", 3, "anna", "cut off")
    undo(client, group, 0)
    assert group.status(0)[0] == "approved"
    decide(client, group, "nobody", 1)
    undo(client, group, 1)
    assert group.status(1) == ("unchecked", 2, "anna", UNDONE)


def test_an_undo_after_a_picture_was_segmented_again_knows_the_old_verdicts_apart(
    client: TestClient, group: World, connections: Connections
) -> None:
    decide(client, group, "rejected", 0, reason="of the old contours")
    decide(client, group, "unchecked", 0, reason="to be done again")
    group.connection.execute("DELETE FROM segmentations WHERE picture_sha256 = %s", (group.sha(0),))
    group.segment({0: []})
    client = client_of(make_room(group, connections))
    decide(client, group, "nobody", 0)
    assert undo(client, group, 0)[0]["outcome"] == "done"
    assert group.status(0) == ("unchecked", 2, "anna", UNDONE)


def test_verdicts_are_undone_one_after_the_other(client: TestClient, boris: TestClient, group: World) -> None:
    decide(client, group, "approved", 0)
    decide(client, group, "rejected", 0, reason="cut off")
    for verdict, expected in ((2, ("approved", 3)), (1, ("unchecked", 4))):
        (picture,) = seen(group, 0)
        assert send(client, "/api/undo", pictures=[{**picture, "verdict": verdict}])[0]["outcome"] == "done"
        assert group.status(0)[:2] == expected
    decide(client, group, "approved", 0)
    decide(boris, group, "nobody", 0, reason="no")
    decide(client, group, "approved", 0, reason="yes")
    (picture,) = seen(group, 0)
    for verdict, whose in ((5, "that of 'boris'"), (6, "that of 'boris'"), (8, "none"), (2**31 - 1, "none")):
        (refused,) = send(client, "/api/undo", pictures=[{**picture, "verdict": verdict}])
        assert refused["outcome"] == "refused"
        assert f"has {whose}; give a verdict instead" in refused["message"]
    assert group.status(0)[:2] == ("approved", 7)


def test_only_a_verdict_of_ones_own_is_undone(client: TestClient, boris: TestClient, group: World) -> None:
    decide(client, group, "approved", 0)
    theirs, nobodys = undo(boris, group, 0, 1)
    assert (theirs["outcome"], nobodys["outcome"]) == ("refused", "refused")
    assert "has that of 'anna'; give a verdict instead" in theirs["message"]
    assert "has none" in nobodys["message"]
    assert group.status(0)[0] == "approved"


def test_of_two_reviewers_the_second_learns_who_did_what_and_when(
    client: TestClient, boris: TestClient, group: World
) -> None:
    both = seen(group, 0)
    send(client, "/api/verdicts", status="rejected", reason="cut off", pictures=both)
    (conflict,) = send(boris, "/api/verdicts", status="approved", pictures=both)
    assert conflict["outcome"] == "conflict"
    now = conflict["review"]
    assert (now["status"], now["reviewer"], now["reason"], now["revision"]) == ("rejected", "anna", "cut off", 1)
    assert now["status_at"][:4].isdigit()
    assert group.status(0) == ("rejected", 1, "anna", "cut off")
    assert decide(boris, group, "approved", 0, reason="it is all there") == ["done"]


def test_an_undo_that_comes_too_late_is_a_conflict(client: TestClient, boris: TestClient, group: World) -> None:
    decide(client, group, "approved", 0)
    mine = seen(group, 0)
    decide(boris, group, "rejected", 0, reason="no")
    (late,) = send(client, "/api/undo", pictures=mine)
    assert (late["outcome"], late["review"]["reviewer"]) == ("conflict", "boris")
    assert group.status(0) == ("rejected", 2, "boris", "no")


def test_a_bulk_reports_each_picture_and_one_stops_none_of_the_others(
    client: TestClient, boris: TestClient, group: World
) -> None:
    pictures = seen(group, 0, 1, 2, 3, 4)
    decide(boris, group, "nobody", 2)
    badlist.add(group.connection, ["picture 3"])
    outcomes = send(
        client, "/api/verdicts", status="approved", pictures=[*pictures, {"sha256": "f" * 64, "revision": 0}]
    )
    assert [item["outcome"] for item in outcomes] == ["done", "done", "conflict", "refused", "done", "refused"]
    assert "not on the badlist" in outcomes[3]["message"]
    assert group.status(3) == ("unchecked", 0, "", "")
    undone = undo(client, group, 0, 1, 4)
    assert [item["outcome"] for item in undone] == ["done"] * 3


def test_a_verdict_that_is_sent_twice_counts_once(client: TestClient, group: World) -> None:
    """Its answer may have been lost, and the page tries again."""
    pictures = seen(group, 0)
    for _ in range(2):
        (outcome,) = send(client, "/api/verdicts", status="rejected", reason="cut", pictures=pictures)
        assert (outcome["outcome"], outcome["review"]["revision"]) == ("done", 1)
    taken = seen(group, 0)
    for _ in range(2):
        (outcome,) = send(client, "/api/undo", pictures=taken)
        assert (outcome["outcome"], outcome["review"]["revision"]) == ("done", 2)
    assert len(reviews.history(group.connection, picture_sha256=group.sha(0))[-2:]) == 2


def test_many_reviewers_at_once_lose_no_verdict(room: Room, group: World) -> None:
    pictures, start = seen(group, 0, 1, 2, 3, 4, 5), threading.Barrier(4)

    def review(number: int) -> list[str]:
        client = client_of(room, reviewer=f"reviewer {number}")
        order = pictures if number % 2 else pictures[::-1]
        start.wait()
        return [item["outcome"] for item in send(client, "/api/verdicts", status="approved", pictures=order)]

    with ThreadPoolExecutor(4) as pool:
        outcomes = [outcome for one in pool.map(review, range(4)) for outcome in one]
    assert sorted(outcomes) == ["conflict"] * 18 + ["done"] * 6
    assert all(group.status(number)[1] == 1 for number in range(6))


@contextmanager
def gone(world: World) -> Iterator[None]:
    """The database takes no connections, and those that were open are ended; but for the test's own."""
    server, _, name = world.dsn.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            (name, world.connection.info.backend_pid),
        )
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_when_the_database_goes_away_in_a_review_the_page_says_so_and_nothing_is_lost(
    client: TestClient, group: World
) -> None:
    pictures = seen(group, 0, 1)
    client.get("/api/group")
    with gone(group):
        outcomes = send(client, "/api/verdicts", status="approved", pictures=pictures)
        assert [item["outcome"] for item in outcomes] == ["unsaved"] * 2
        assert outcomes[0]["message"].startswith("PostgreSQL at 127.0.0.1")
        for address in ("/api/counts", "/api/pictures", "/api/group", f"/thumbnails/{group.sha(0)}", "/ready"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert answer.json()["error"].startswith("PostgreSQL at 127.0.0.1")
    outcomes = send(client, "/api/verdicts", status="approved", pictures=pictures)
    assert [item["outcome"] for item in outcomes] == ["done"] * 2


def test_a_connection_that_ends_in_the_middle_of_a_bulk_loses_and_repeats_nothing(
    client: TestClient, group: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_once, given = reviews.decide, 0

    def ended_after_the_commit(connection: psycopg.Connection, verdicts: Any) -> Any:
        nonlocal given
        done = decide_once(connection, verdicts)
        given += 1
        if given == 2:  # it was committed, but nobody hears of it
            with psycopg.connect(group.dsn, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            reviews.read(connection, model_digest=MODEL, sha256s=[])
        return done

    monkeypatch.setattr(reviews, "decide", ended_after_the_commit)
    assert decide(client, group, "approved", 0, 1, 2, 3) == ["done"] * 4
    assert [group.status(number)[1] for number in range(4)] == [1] * 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request: Invalid JSON"),
        (b"[]", "the request: "),
        (b"{}", "status: Field required"),
        (b'{"status": "perhaps", "pictures": []}', "status: Input should be"),
        (b'{"status": "approved", "pictures": []}', "pictures: List should have at least 1 item"),
        (
            b'{"status": "approved", "pictures": [{"sha256": "x", "revision": 0}]}',
            "pictures.0.sha256: String should match",
        ),
        (
            b'{"status": "approved", "pictures": [{"sha256": "' + b"0" * 64 + b'", "revision": -1}]}',
            "pictures.0.revision",
        ),
        (b'{"status": "approved", "reviewer": "eve", "pictures": []}', "pictures: "),
        (b"x" * (MAX_BODY_BYTES + 1), "a request must have at most 262144 bytes; choose fewer"),
    ],
)
def test_what_is_no_verdict_is_one_line(client: TestClient, body: bytes, message: str) -> None:
    answer = client.post("/api/verdicts", content=body, headers={**OURS, "Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
    assert len(answer.json()["error"].splitlines()) == 1


def test_too_many_at_once_and_too_long_a_reason_are_refused(client: TestClient, group: World) -> None:
    many = [{"sha256": f"{number:064x}", "revision": 0} for number in range(MOST_AT_ONCE + 1)]
    body = {"status": "approved", "pictures": many}
    answer = client.post("/api/verdicts", json=body, headers=OURS)
    assert answer.json()["error"].startswith("pictures: List should have at most 500 items")
    assert decide(client, group, "rejected", 0, reason="x" * 2001) == ["refused"]
    assert decide(client, group, "rejected", 0, reason="a\0b") == ["refused"]


def test_the_role_of_a_reviewer_is_enough_for_the_whole_page(group: World) -> None:
    with login(group.dsn, role="silhouette_review") as dsn:
        connections = Connections(dsn)
        client = client_of(make_room(group, connections))
        assert client.get("/api/group").status_code == 200
        assert client.get("/api/counts").json()["prepared"] == 6
        assert len(client.get("/api/pictures").json()["cards"]) == 6
        assert client.get(f"/thumbnails/{group.sha(0)}").status_code == 200
        assert decide(client, group, "approved", 0, 1) == ["done"] * 2
        assert undo(client, group, 0)[0]["outcome"] == "done"
        assert client.get(f"/api/pictures/{group.sha(0)}").json()["changes"][-1]["login"].startswith("login_")
        connections.close()
    with login(group.dsn, role="silhouette_read") as dsn:
        connections = Connections(dsn)
        with pytest.raises(ServiceError, match="GRANT it the role of the step"):
            make_room(group, connections)
        connections.close()
