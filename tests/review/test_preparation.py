"""Doubt is what docs/review.md says, is computed once, and follows when another model has seen the picture."""

from __future__ import annotations

import time

import pytest

from silhouette.database import doubts
from silhouette.database.people import PersonRow
from silhouette.review.connections import Connections
from silhouette.review.preparation import Preparation
from tests.review.conftest import MODEL, OTHER, World, person
from tests.review.test_verdicts import gone

THIRD = "c" * 64


def doubt(world: World, number: int, *, model: str = MODEL) -> tuple[float | None, ...]:
    """Least score, largest share, agreement and doubt."""
    row = world.connection.execute(
        "SELECT least_score, largest_share, agreement, doubt FROM segmentations"
        " WHERE picture_sha256 = %s AND model_digest = %s",
        (world.sha(number), model),
    ).fetchone()
    assert row
    return row


@pytest.fixture
def preparation(group: World, connections: Connections) -> Preparation:
    return Preparation(connections, group_id=group.group_id)


def test_doubt_is_one_minus_the_least_score(group: World, preparation: Preparation) -> None:
    assert doubt(group, 0) == (None, None, None, None)
    assert preparation.prepare(MODEL)
    assert doubt(group, 0) == pytest.approx((0.9, 0.5, None, 0.1), abs=1e-6)
    assert doubt(group, 1) == pytest.approx((0.3, 0.25, None, 0.7), abs=1e-6)
    assert doubt(group, 2) == pytest.approx((None, 0.0, None, 0.5), abs=1e-6)


def test_disagreement_of_models_makes_more_of_it_and_the_worst_counts(group: World, preparation: Preparation) -> None:
    group.segment({0: [person(0.5, (0, 0, 80, 60))], 2: [], 5: [person(0.9), person(0.3, (0, 0, 20, 30))]}, model=OTHER)
    preparation.prepare(MODEL)
    assert doubt(group, 0) == pytest.approx((0.9, 0.5, 0.5, 1 - 0.9 * 0.5), abs=1e-6)
    assert doubt(group, 2) == pytest.approx((None, 0.0, 1.0, 0.5), abs=1e-6)
    assert doubt(group, 5)[2] == 1.0, "together they cover the same"
    assert doubt(group, 1)[2] is None
    assert doubt(group, 0, model=OTHER)[3] is None, "nobody reviews that model"
    group.segment({0: []}, model=THIRD)
    preparation.prepare(MODEL)
    assert doubt(group, 0) == pytest.approx((0.9, 0.5, 0.0, 1.0), abs=1e-6)


def test_what_is_prepared_is_not_computed_again(
    group: World, preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    group.segment({0: []}, model=OTHER)
    preparation.prepare(MODEL)
    before = group.connection.execute("SELECT xmin, ctid FROM segmentations ORDER BY id").fetchall()
    monkeypatch.setattr(doubts, "contours_of", None)
    assert preparation.prepare(MODEL)
    assert group.connection.execute("SELECT xmin, ctid FROM segmentations ORDER BY id").fetchall() == before


def test_verdicts_stay_and_the_audit_knows_nothing_of_it(group: World, preparation: Preparation) -> None:
    group.connection.execute("UPDATE segmentations SET status = 'approved', reviewer = 'x', revision = 1")
    changes = group.connection.execute("SELECT count(*) FROM status_changes").fetchone()
    preparation.prepare(MODEL)
    assert group.status(0) == ("approved", 1, "x", "")
    assert group.connection.execute("SELECT count(*) FROM status_changes").fetchone() == changes


def test_a_group_is_prepared_part_by_part(group: World, connections: Connections) -> None:
    parts, after = 0, ""
    while after := connections.run(
        lambda connection, after=after: doubts.fill_scores(  # type: ignore[misc]
            connection, group_id=group.group_id, model_digest=MODEL, after=after, limit=2
        )
    ):
        parts += 1
    assert parts == 3
    assert all(doubt(group, number)[3] is not None for number in group.rows)


def test_a_row_that_a_reviewer_is_changing_is_passed_over_and_taken_next_time(
    group: World, preparation: Preparation
) -> None:
    with group.connection.transaction():
        group.connection.execute(
            "UPDATE segmentations SET status = 'approved', reviewer = 'x', revision = 1 WHERE picture_sha256 = %s",
            (group.sha(0),),
        )
        preparation.prepare(MODEL)
        assert doubt(group, 0)[3] is None
        assert doubt(group, 1)[3] is not None
    preparation.prepare(MODEL)
    assert doubt(group, 0)[3] == pytest.approx(0.1, abs=1e-6)


def test_damaged_contours_and_boxes_beyond_the_picture_are_borne(group: World, preparation: Preparation) -> None:
    group.put(6)
    group.segment({6: [PersonRow(box_xyxy=(-9.0, -9.0, 900.0, 900.0), score=0.5, contours=b"\x00")]})
    group.segment({6: [person(0.5)]}, model=OTHER)
    preparation.prepare(MODEL)
    assert doubt(group, 6) == pytest.approx((0.5, 1.0, 0.0, 1.0), abs=1e-6)


def wait(what: object, until: object) -> None:
    deadline = time.monotonic() + 20
    while not until():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_it_goes_on_in_the_background_and_outlives_the_database(
    group: World, preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silhouette.review.preparation._EVERY_S", 0.05)
    preparation.start()
    try:
        preparation.want(MODEL)
        wait("prepared", lambda: doubt(group, 5)[3] is not None)
        with gone(group):
            wait("told", lambda: preparation.problem.startswith("PostgreSQL at 127.0.0.1"))
        wait("taken back", lambda: not preparation.problem)
    finally:
        preparation.stop()
    assert not preparation._thread.is_alive()
