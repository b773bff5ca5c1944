"""Each role can do its step's work by the product's own functions, and not the others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from silhouette.database import (
    badlist,
    checks,
    connect,
    corrections,
    group_versions,
    installation_id,
    labels,
    pictures,
    posts,
    report,
    reviews,
    segmentations,
)
from silhouette.database.people import read_people
from silhouette.database.pictures import PictureRecord
from silhouette.database.segmentations import Segmentation
from silhouette.errors import ServiceError
from tests.database.conftest import MODEL, PERSON, login, segment, sha
from tests.database.test_corrections import hand_in
from tests.database.test_labels import picture
from tests.database.test_reviews import verdict

ROLES = ("silhouette_ingest", "silhouette_segment", "silhouette_review", "silhouette_read", "silhouette_correct")
CONTAINED = {  # who reviews may read; who corrects may review, and write contours as a segmenter may
    ("silhouette_review", "silhouette_read"),
    ("silhouette_correct", "silhouette_read"),
    ("silhouette_correct", "silhouette_review"),
    ("silhouette_correct", "silhouette_segment"),
}
RECORD = PictureRecord(origin="o", name="n", picture_id="n", stamp="s", reason="cut", judged_by="", store_id="")


def ingest(connection: psycopg.Connection) -> None:
    pictures.write_often(connection)
    pictures.known(connection, origin="o", names=["n"])
    pictures.known_by_content(connection, sha256s=[sha(1)])
    pictures.keep(connection, RECORD)
    pictures.keep(connection, RECORD)
    pictures.restore(connection, [RECORD])
    badlist.entries(connection)
    badlist.contents_since(connection)
    for numbers in ([1, 2], [1, 3]):
        rows = [picture(number) for number in numbers]
        labels.replace(connection, group="g", dataset_digest="a" * 64, pictures=rows)
    number = posts.begin(connection, service="s", content_digests={"p": "a" * 64})["p"]
    posts.end(connection, [posts.End(post_id=number, receipt="r")])
    assert posts.latest(connection, service="s", picture_ids=["p"])["p"].receipt == "r"


def segment_more(connection: psycopg.Connection) -> None:
    assert segmentations.segmented(connection, model_digest=MODEL, sha256s=[sha(0)]) == {sha(0)}
    found = [Segmentation(picture_sha256=sha(number), width=1, height=1, people=(PERSON,)) for number in (0, 50)]
    assert segmentations.add(connection, model_digest=MODEL, found=found) == 1


def review(connection: psycopg.Connection) -> None:
    list(read_people(connection, model_digest=MODEL, sha256s=[sha(0)]))
    found = reviews.read(connection, model_digest=MODEL, sha256s=[sha(0)])[sha(0)]
    reviews.decide(connection, [verdict("approved", revision=found.revision)])
    assert reviews.history(connection, picture_sha256=sha(0))
    badlist.unknown(connection, ["a"])
    badlist.add(connection, ["a"])
    badlist.remove(connection, ["a"])


def read(connection: psycopg.Connection) -> None:
    assert list(read_people(connection, model_digest=MODEL, sha256s=[sha(0)]))
    reviews.history(connection, picture_sha256=sha(0))
    badlist.entries(connection)
    badlist.among(connection, ["a"])
    badlist.contents(connection)
    assert report.count_groups(connection)
    model = group_versions.resolve_model(connection, group="outfit", model="")
    assert list(
        group_versions.counting_pictures(connection, group="outfit", model_digest=model, statuses=reviews.STATUSES)
    )
    assert checks.sizes(connection)
    assert checks.orphans(connection)
    connection.execute("SELECT * FROM quarantine")
    posts.latest(connection, service="s", picture_ids=["p"])
    assert labels.latest_dataset(connection, group="outfit") is not None
    assert segmentations.segmenters(connection, groups=["outfit"])


def correct(connection: psycopg.Connection) -> None:
    hand_in(connection, "anna", PERSON)
    corrections.people_of(connection, segmentation_ids=[1])


WORK: dict[str, Callable[[psycopg.Connection], None]] = dict(
    zip(ROLES, (ingest, segment_more, review, read, correct), strict=True)
)


@pytest.fixture
def filled(connection: psycopg.Connection) -> None:
    segment(connection, 1)
    labels.replace(connection, group="outfit", dataset_digest="a" * 64, pictures=[picture(0)])
    reviews.decide(connection, [verdict("nobody")])


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def limited(filled: None, postgres_dsn: str, role: str) -> Iterator[psycopg.Connection]:
    """Connected by a login of its own, a member of one role."""
    with login(postgres_dsn, role=role) as dsn, connect(dsn) as opened:
        yield opened


def test_a_role_does_its_own_work(limited: psycopg.Connection, role: str) -> None:
    assert installation_id(limited)
    WORK[role](limited)


def test_a_role_does_not_the_work_of_another(limited: psycopg.Connection, role: str) -> None:
    for other, work in WORK.items():
        if other != role and (role, other) not in CONTAINED:
            with pytest.raises(ServiceError, match="must have the rights of this step, got: permission denied"):
                work(limited)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE status_changes SET reviewer = 'x'",
        "DELETE FROM status_changes",
        "TRUNCATE status_changes",
        "INSERT INTO status_changes DEFAULT VALUES",
        "UPDATE segmentations SET picture_sha256 = repeat('0', 64)",
        "UPDATE segmentations SET status_at = now()",
        "UPDATE segmentations SET people_count = 0",
        "UPDATE segmentations SET author = 'x'",
        "INSERT INTO segmentations (picture_sha256, model_digest, width, height, status) VALUES ('', '', 1, 1, '')",
        "UPDATE people SET score = 0",
        "DELETE FROM people",
        "DELETE FROM pictures",
        "UPDATE labels SET label = 'x'",
        "DELETE FROM labels",
        "UPDATE ret_meta_posts SET content_digest = repeat('0', 64)",
        "DELETE FROM ret_meta_posts",
        "UPDATE badlist SET reason = 'x'",
        "UPDATE installation SET id = gen_random_uuid()",
        "UPDATE alembic_version SET version_num = '1'",
        "ALTER TABLE segmentations DISABLE TRIGGER ALL",
        "DROP TABLE badlist",
        "CREATE TABLE mine (id integer)",
        "SET session_replication_role = replica",
    ],
)
def test_no_role_may(limited: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        limited.execute(statement)


@pytest.mark.parametrize("role", ["silhouette_review"], indirect=True)
def test_the_audit_says_who_was_connected(limited: psycopg.Connection) -> None:
    reviews.decide(limited, [verdict("approved", revision=1, reviewer="somebody else")])
    change = reviews.history(limited, picture_sha256=sha(0))[-1]
    assert (change.reviewer, change.login) == ("somebody else", limited.info.user)


def test_only_who_segments_may_remove_a_segmentation_and_only_without_a_verdict(
    limited: psycopg.Connection, role: str, connection: psycopg.Connection
) -> None:
    segment(connection, 0, 2)
    expected: type[Exception] = psycopg.errors.InsufficientPrivilege
    if role == "silhouette_segment":
        limited.execute("DELETE FROM segmentations WHERE status = 'unchecked'")
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (1,)
        expected = psycopg.errors.CheckViolation
    with pytest.raises(expected):
        limited.execute("DELETE FROM segmentations")
