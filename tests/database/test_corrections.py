"""What a person drew counts instead of what models found, one version at a time, and nothing that was drawn is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from silhouette.database import connect, corrections, reviews, segmentations
from silhouette.database.corrections import Version
from silhouette.database.people import PersonRow, read_people
from silhouette.database.reviews import ReviewConflictError, Verdict
from silhouette.database.segmentations import Segmentation
from tests.database.conftest import MODEL, PERSON, segment, sha
from tests.database.test_reviews import verdict

OTHER_MODEL = "b" * 64
DRAWN = PersonRow(box_xyxy=(0.0, 0.0, 9.0, 9.0), score=1.0, contours=b"drawn")


def version(connection: psycopg.Connection, digest: str = MODEL) -> Version:
    row = connection.execute(
        "SELECT id FROM segmentations WHERE picture_sha256 = %s AND model_digest = %s", (sha(0), digest)
    ).fetchone()
    assert row is not None
    return corrections.versions(connection, segmentation_ids=[row[0]])[row[0]]


def hand_in(connection: psycopg.Connection, author: str, *people: PersonRow) -> str:
    """Correct picture 0 as it stands."""
    now = corrections.counting(connection, sha256s=[sha(0)]).get(sha(0))
    return corrections.add(
        connection, corrects=now or version(connection), replaces=now, author=author, people=people, reason="by hand"
    )


def shown(connection: psycopg.Connection, model: str = MODEL) -> list[tuple[str, bytes]]:
    found = read_people(connection, model_digest=model, sha256s=[sha(0)])
    return [(row.status, row.person.contours if row.person else b"") for row in found]


def test_a_correction_counts_for_every_model_and_for_one_that_has_not_seen_the_picture(
    connection: psycopg.Connection,
) -> None:
    segment(connection, 2)
    assert len(shown(connection)) == 2
    hand_in(connection, "anna", DRAWN)
    assert shown(connection) == [("approved", b"drawn")]
    assert shown(connection, OTHER_MODEL) == [("approved", b"drawn")]
    later = [Segmentation(picture_sha256=sha(0), width=64, height=48, people=(PERSON,) * 3)]
    assert segmentations.add(connection, model_digest=OTHER_MODEL, found=later) == 1
    assert shown(connection, OTHER_MODEL) == [("approved", b"drawn")]


def test_it_comes_with_its_author_approved_and_audited(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    digest = hand_in(connection, "anna", DRAWN)
    found = version(connection, digest)
    assert (found.author, found.status, found.revision, found.reviewer) == ("anna", "approved", 1, "anna")
    assert [(item.model_digest, item.to_status, item.reason) for item in
            reviews.history(connection, picture_sha256=sha(0))[-2:]] == [
        (MODEL, "rejected", "corrected: by hand"), (digest, "approved", "by hand"),
    ]  # fmt: skip


def test_nobody_drawn_is_nobody_there(connection: psycopg.Connection) -> None:
    segment(connection, 2)
    hand_in(connection, "anna")
    assert shown(connection) == [("nobody", b"")]


def test_a_second_correction_retires_the_first_which_stays_with_its_people(connection: psycopg.Connection) -> None:
    segment(connection, 2)
    first = hand_in(connection, "anna", DRAWN)
    second = hand_in(connection, "boris", DRAWN, PERSON)
    assert len(shown(connection)) == 2
    old, new = version(connection, first), version(connection, second)
    assert (old.status, new.status) == ("unchecked", "approved")
    assert corrections.people_of(connection, segmentation_ids=[old.segmentation_id]) == {old.segmentation_id: [DRAWN]}
    assert hand_in(connection, "anna", DRAWN) == first  # the same again is the same row, and counts again
    assert shown(connection) == [("approved", b"drawn")]
    assert connection.execute("SELECT count(*) FROM segmentations").fetchone() == (3,)


def test_one_that_is_taken_back_or_rejected_counts_no_more(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    digest = hand_in(connection, "anna", DRAWN)
    no = Verdict(
        picture_sha256=sha(0), model_digest=digest, status="rejected", revision=1, reviewer="boris", reason="worse"
    )
    reviews.decide(connection, [no])
    assert shown(connection) == [("rejected", PERSON.contours)]  # the model's, with the model's verdict
    hand_in(connection, "anna", DRAWN)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    corrections.take_back(connection, sha256s=[sha(0)], before=soon, reviewer="boris", reason="again")
    assert corrections.counting(connection, sha256s=[sha(0)]) == {}


@pytest.mark.parametrize("approved_meanwhile", [True, False])
def test_a_decision_at_the_same_moment_leaves_no_half_correction(
    connection: psycopg.Connection, approved_meanwhile: bool
) -> None:
    segment(connection, 1)
    seen = version(connection)
    if approved_meanwhile:
        reviews.decide(connection, [verdict("approved", reviewer="boris")])
    else:
        hand_in(connection, "boris", PERSON)
    before = connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall()
    with pytest.raises(ReviewConflictError):
        corrections.add(connection, corrects=seen, replaces=None, author="anna", people=[DRAWN], reason="r")
    assert connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall() == before


def test_of_many_who_hand_in_at_once_one_wins_and_the_others_are_told(
    connection: psycopg.Connection, postgres_dsn: str
) -> None:
    segment(connection, 1)
    reviews.decide(connection, [verdict("rejected")])  # so that no change of its status tells them apart
    seen = version(connection)

    def run(number: int) -> bool:
        person = PersonRow(box_xyxy=(0, 0, 1, 1), score=1, contours=b"%d" % number)
        with connect(postgres_dsn) as own:
            try:
                corrections.add(own, corrects=seen, replaces=None, author="a", people=[person], reason="r")
            except ReviewConflictError:
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(run, range(6))) == 1
    assert len(shown(connection)) == 1
    assert connection.execute("SELECT count(*) FROM people").fetchone() == (2,)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE segmentations SET author = 'x' WHERE author = ''", psycopg.errors.CheckViolation),
        ("UPDATE segmentations SET author = 'x' WHERE author <> ''", psycopg.errors.CheckViolation),
        (
            """
            UPDATE segmentations SET status = 'nobody', revision = revision + 1, reviewer = 'x', reason = 'x'
            WHERE author = 'first'
            """,
            psycopg.errors.UniqueViolation,
        ),
    ],
)
def test_the_tables_hold_off(connection: psycopg.Connection, statement: str, error: type[Exception]) -> None:
    segment(connection, 1)
    hand_in(connection, "first", DRAWN)
    hand_in(connection, "second", DRAWN)
    with pytest.raises(error):
        connection.execute(statement)


def test_segmentations_that_are_gone_are_not_found(connection: psycopg.Connection) -> None:
    assert corrections.versions(connection, segmentation_ids=[2**62]) == {}
