"""Counts by group, model, status and age are those of the rows."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from silhouette.database import badlist, labels, report, reviews, segmentations
from silhouette.errors import InputError
from tests.database.conftest import MODEL, PERSON, segment, sha
from tests.database.test_corrections import hand_in
from tests.database.test_labels import picture
from tests.database.test_reviews import verdict

OTHER = "b" * 64


def put(connection: psycopg.Connection, group: str, *numbers: int) -> None:
    twin = replace(picture(numbers[0], "skirt"), picture_id="twin")
    rows = [*(picture(number) for number in numbers), twin]
    labels.replace(connection, group=group, dataset_digest="a" * 64, pictures=rows)


def test_counts_are_of_the_groups_pictures_by_content(connection: psycopg.Connection) -> None:
    segment(connection, 2, 1, 0, 5)
    segmentations.add(
        connection, model_digest=OTHER,
        found=[segmentations.Segmentation(picture_sha256=sha(0), width=1, height=1, people=())],
    )  # fmt: skip
    put(connection, "outfit", 0, 1, 2, 7)
    put(connection, "later", 3)
    reviews.decide(connection, [verdict("approved", picture=1), verdict("nobody", picture=2)])
    badlist.add(connection, ["id 1", "id 3", "unknown"])
    (found,) = report.count_groups(connection, group="outfit")
    assert (found.pictures, found.contents, found.labels, found.badlisted) == (5, 4, {"dress": 4, "skirt": 1}, 1)
    counts = [(item.model_digest, item.status, item.pictures, item.people) for item in found.statuses]
    assert counts == [
        (MODEL, "unchecked", 1, 2), (MODEL, "approved", 1, 1), (MODEL, "nobody", 1, 0), (MODEL, "not_segmented", 1, 0),
        (OTHER, "unchecked", 1, 0), (OTHER, "not_segmented", 3, 0),
    ]  # fmt: skip
    assert [item.group for item in report.count_groups(connection)] == ["later", "outfit"]


def test_ages_are_since_the_last_change_of_status(connection: psycopg.Connection) -> None:
    segment(connection, 1, 1, 1, 1)
    put(connection, "outfit", 0, 1, 2, 3)
    connection.execute("ALTER TABLE segmentations DISABLE TRIGGER segmentations_change")
    for number, age in enumerate(("23 hours", "25 hours", "8 days", "31 days")):
        connection.execute(
            "UPDATE segmentations SET status_at = now() - %s::interval WHERE picture_sha256 = %s", (age, sha(number))
        )
    connection.execute("ALTER TABLE segmentations ENABLE TRIGGER segmentations_change")
    (unchecked,) = report.count_groups(connection)[0].statuses
    assert unchecked.by_age == {"day": 1, "week": 1, "month": 1, "older": 1}
    reviews.decide(connection, [verdict("approved", picture=3)])
    approved = report.count_groups(connection)[0].statuses[1]
    assert (approved.status, approved.by_age) == ("approved", {"day": 1, "week": 0, "month": 0, "older": 0})


def test_corrections_that_count_are_a_line_of_their_own(connection: psycopg.Connection) -> None:
    segment(connection, 2, 1)
    put(connection, "outfit", 0, 1)
    hand_in(connection, "anna", PERSON)
    hand_in(connection, "boris", PERSON, PERSON)
    (found,) = report.count_groups(connection)
    counts = [(item.model_digest, item.status, item.pictures, item.people) for item in found.statuses]
    assert counts == [
        (MODEL, "unchecked", 1, 1), (MODEL, "rejected", 1, 2), (report.CORRECTIONS, "approved", 1, 2),
    ]  # fmt: skip


def test_a_group_that_no_model_has_seen_and_one_that_is_empty_are_counted(connection: psycopg.Connection) -> None:
    put(connection, "outfit", 1, 2)
    labels.replace(connection, group="empty", dataset_digest="a" * 64, pictures=[])
    empty, outfit = report.count_groups(connection)
    assert (empty.pictures, empty.labels, empty.statuses) == (0, {}, ())
    assert [(item.model_digest, item.status, item.pictures) for item in outfit.statuses] == [("", "not_segmented", 2)]


def test_an_unknown_group_is_named_and_no_group_at_all_is_no_error(connection: psycopg.Connection) -> None:
    assert report.count_groups(connection) == ()
    with pytest.raises(InputError, match="group 'no such' must have been downloaded"):
        report.count_groups(connection, group="no such")
