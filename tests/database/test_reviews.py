"""Who decided what about a segmentation: the tables hold off what must not be, whatever the client."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from silhouette.database import connect, reviews
from silhouette.database.people import read_people
from silhouette.database.reviews import ReviewConflictError, Status, Verdict
from silhouette.errors import InputError
from tests.database.conftest import MODEL, segment, sha


def verdict(
    status: Status, *, picture: int = 0, revision: int = 0, reviewer: str = "anna", reason: str = "seen"
) -> Verdict:
    return Verdict(
        picture_sha256=sha(picture), model_digest=MODEL, status=status, revision=revision, reviewer=reviewer,
        reason=reason,
    )  # fmt: skip


def raw(connection: psycopg.Connection, assignments: str) -> None:
    """What any client may try."""
    connection.execute(f"UPDATE segmentations SET {assignments} WHERE picture_sha256 = %s", (sha(0),))


def test_a_verdict_is_given_changed_and_taken_back_and_every_change_stays_known(
    connection: psycopg.Connection,
) -> None:
    segment(connection, 2)
    before = reviews.read(connection, model_digest=MODEL, sha256s=[sha(0), sha(9)])
    assert {key: (found.status, found.revision, found.people_count) for key, found in before.items()} == {
        sha(0): ("unchecked", 0, 2)
    }
    states: list[Status] = ["approved", "rejected", "nobody", "approved", "unchecked", "nobody"]
    for revision, status in enumerate(states):
        (now,) = reviews.decide(connection, [verdict(status, revision=revision, reason=f"reason {revision}")])
        assert (now.status, now.revision, now.reviewer) == (status, revision + 1, "anna")
    assert now.status_at > before[sha(0)].status_at
    changes = reviews.history(connection, picture_sha256=sha(0))[-6:]
    assert [change.to_status for change in changes] == states
    assert [change.from_status for change in changes] == ["unchecked", *states[:-1]]
    assert [change.reason for change in changes] == [f"reason {number}" for number in range(6)]
    assert changes[-1].at == now.status_at
    assert {change.login for change in changes} == {connection.info.user}


def test_a_first_verdict_needs_no_reason_but_a_rejection_and_every_change_do(connection: psycopg.Connection) -> None:
    segment(connection, 1, 1)
    reviews.decide(connection, [verdict("approved", reason=""), verdict("nobody", picture=1, reason="")])
    for status in ("nobody", "unchecked", "approved"):
        with pytest.raises(InputError, match="must be changed with a reason"):
            reviews.decide(connection, [verdict(status, revision=1, reason=" ")])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a rejection must have a reason"):
        reviews.decide(connection, [verdict("rejected", revision=1, reason="")])


def test_a_verdict_that_cannot_be_is_told_by_its_rule(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    with pytest.raises(InputError, match=r"must be one of unchecked, approved, rejected, nobody, got 'perhaps'"):
        reviews.decide(connection, [verdict("perhaps")])  # type: ignore[arg-type]
    for reviewer in ("", "  ", "a" * 201, "a\0"):
        with pytest.raises(InputError, match="must name its reviewer"):
            reviews.decide(connection, [verdict("approved", reviewer=reviewer)])
    with pytest.raises(InputError, match="a reason must have at most 2000 characters"):
        reviews.decide(connection, [verdict("approved", reason="a" * 2001)])
    with pytest.raises(InputError, match="model aaaaaaaaaaaa has none of picture 000000000000; run segment_people"):
        reviews.decide(connection, [verdict("approved", picture=7)])
    with pytest.raises(InputError, match="must get a verdict"):
        reviews.decide(connection, [verdict("unchecked")])
    assert reviews.read(connection, model_digest=MODEL, sha256s=[sha(0)])[sha(0)].revision == 0


def test_of_two_reviewers_who_saw_the_same_the_second_is_told_and_nothing_is_overwritten(
    connection: psycopg.Connection,
) -> None:
    segment(connection, 1)
    reviews.decide(connection, [verdict("approved", reviewer="anna")])
    with pytest.raises(ReviewConflictError, match="anna made it approved in revision 1; look at it again"):
        reviews.decide(connection, [verdict("rejected", reviewer="boris")])
    found = reviews.read(connection, model_digest=MODEL, sha256s=[sha(0)])[sha(0)]
    assert (found.status, found.reviewer) == ("approved", "anna")


def test_many_reviewers_at_once_lose_no_verdict(connection: psycopg.Connection, postgres_dsn: str) -> None:
    segment(connection, 1)
    before = len(reviews.history(connection, picture_sha256=sha(0)))
    start = threading.Barrier(6)

    def review(number: int) -> bool:
        with connect(postgres_dsn) as own:
            start.wait()
            try:
                reviews.decide(own, [verdict("approved", reviewer=f"reviewer {number}")])
            except ReviewConflictError:
                return False
            return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(review, range(6))) == 1
    assert len(reviews.history(connection, picture_sha256=sha(0))) == before + 1


def test_verdicts_go_in_together_or_not_at_all(connection: psycopg.Connection) -> None:
    segment(connection, 1, 1, 1)
    reviews.decide(connection, [verdict("approved", picture=1)])
    with pytest.raises(ReviewConflictError):
        reviews.decide(connection, [verdict("approved", picture=number) for number in (2, 1, 0)])
    found = reviews.read(connection, model_digest=MODEL, sha256s=[sha(number) for number in range(3)])
    assert [found[sha(number)].status for number in range(3)] == ["unchecked", "approved", "unchecked"]
    done = reviews.decide(connection, [verdict("approved", picture=2), verdict("nobody", picture=0)])
    assert [item.picture_sha256 for item in done] == [sha(2), sha(0)]


def test_people_on_a_picture_with_nobody_count_for_nothing_and_are_kept(connection: psycopg.Connection) -> None:
    segment(connection, 2)
    reviews.decide(connection, [verdict("nobody")])
    (row,) = read_people(connection, model_digest=MODEL, sha256s=[sha(0)])
    assert (row.status, row.person) == ("nobody", None)
    reviews.decide(connection, [verdict("unchecked", revision=1)])
    assert len(list(read_people(connection, model_digest=MODEL, sha256s=[sha(0)]))) == 2


@pytest.mark.parametrize(
    ("assignments", "rule"),
    [
        ("status = 'perhaps', reviewer = 'a', revision = 1", "segmentations_known_status"),
        ("status = 'approved', revision = 1", "segmentations_verdict_has_reviewer"),
        ("status = 'approved', reviewer = ' ', revision = 1", "segmentations_verdict_has_reviewer"),
        ("status = 'rejected', reviewer = 'a', revision = 1", "segmentations_rejection_has_reason"),
        ("status = 'rejected', reviewer = 'a', reason = E'  ', revision = 1", "segmentations_rejection_has_reason"),
        ("status = 'approved', reviewer = 'a'", "must name the next revision, 1, got 0"),
        ("status = 'approved', reviewer = 'a', revision = 5", "must name the next revision, 1, got 5"),
        ("reviewer = 'a', revision = 1", "must get a verdict"),
        ("reviewer = 'a'", "must name the next revision"),
        ("status_at = now()", "must name the next revision"),
        ("revision = -1", "must name the next revision"),
        ("picture_sha256 = repeat('e', 64)", "must stay that of its picture and model"),
        ("model_digest = repeat('e', 64)", "must stay that of its picture and model"),
    ],
)
def test_tables_refuse_what_must_not_be(connection: psycopg.Connection, assignments: str, rule: str) -> None:
    segment(connection, 1)
    with pytest.raises(psycopg.errors.CheckViolation, match=rule):
        raw(connection, assignments)


def test_tables_refuse_a_verdict_from_the_start_and_its_removal(connection: psycopg.Connection) -> None:
    columns = "picture_sha256, model_digest, width, height, status, reviewer, reason, revision"
    for values in ("'approved', '', '', 0", "'approved', 'a', '', 1", "'unchecked', 'a', '', 1"):
        with pytest.raises(psycopg.errors.CheckViolation, match="a new segmentation must be unchecked"):
            connection.execute(f"INSERT INTO segmentations ({columns}) VALUES ('{sha(1)}', '{MODEL}', 1, 1, {values})")
    segment(connection, 1)
    reviews.decide(connection, [verdict("approved")])
    with pytest.raises(psycopg.errors.CheckViolation, match="take the verdict back first"):
        connection.execute("DELETE FROM segmentations")
    with pytest.raises(psycopg.errors.CheckViolation, match="must be changed with a reason"):
        raw(connection, "status = 'unchecked', revision = 2, reason = ''")
    reviews.decide(connection, [verdict("unchecked", revision=1)])
    connection.execute("DELETE FROM segmentations")
    assert len(reviews.history(connection, picture_sha256=sha(0))) >= 2


def test_a_verdict_by_any_client_is_in_the_audit_and_the_audit_only_grows(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    raw(
        connection, "status = 'rejected', reviewer = 'psql', reason = 'by hand', revision = 1, status_at = '2001-01-01'"
    )
    change = reviews.history(connection, picture_sha256=sha(0))[-1]
    assert (change.from_status, change.to_status, change.reviewer) == ("unchecked", "rejected", "psql")
    assert change.at.year > 2001, "the server says when"
    forged = "SELECT 0, 1, picture_sha256, model_digest, at, from_status, to_status, 'forged', reason"
    for statement in (
        "UPDATE status_changes SET reviewer = 'somebody else'",
        "DELETE FROM status_changes",
        "TRUNCATE status_changes",
        f"INSERT INTO status_changes {forged} FROM status_changes LIMIT 1",
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match="status_changes must only grow"):
            connection.execute(statement)


def test_a_temporary_table_does_not_catch_the_audit(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    connection.execute("CREATE TEMPORARY TABLE status_changes (LIKE public.status_changes)")
    reviews.decide(connection, [verdict("approved")])
    assert connection.execute("SELECT count(*) FROM pg_temp.status_changes").fetchone() == (0,)
    connection.execute("DROP TABLE pg_temp.status_changes")
    assert reviews.history(connection, picture_sha256=sha(0))[-1].to_status == "approved"
