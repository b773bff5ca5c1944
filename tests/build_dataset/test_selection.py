"""Every picture is used or listed with its reason, and the main person is the largest one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from silhouette.build_dataset.selection import Selection, select
from silhouette.contracts import contours
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.errors import InputError
from tests.segment_people import pictures


def person(picture: PictureRow, index: int, side: int, *, hole: int = 0) -> SnapshotRow:
    mask = np.zeros((120, 90), np.uint8)
    mask[5 : 5 + side, 5 : 5 + side] = 255
    mask[10 : 10 + hole, 10 : 10 + hole] = 0
    return SnapshotRow(
        sha256=picture.sha256, width=90, height=120, person_index=index, box_xyxy=(5.0, 5.0, 5.0 + side, 5.0 + side),
        score=0.5, status="unchecked", contours=contours.encode(contours.from_mask(mask)),
    )  # fmt: skip


def nobody(picture: PictureRow) -> SnapshotRow:
    return SnapshotRow(
        sha256=picture.sha256, width=90, height=120, person_index=NOBODY, box_xyxy=(0.0, 0.0, 0.0, 0.0), score=0.0,
        status="unchecked", contours=b"",
    )  # fmt: skip


def run(
    rows: list[PictureRow],
    people: list[SnapshotRow],
    *,
    which: Literal["main", "all"] = "main",
    least: int = 0,
    head: SnapshotHead | None = None,
    states: tuple[str, ...] = ("unchecked", "approved"),
) -> Selection:
    content = Dataset(group="g", classes=("dress", "shorts"), rows=tuple(rows))
    head = head or SnapshotHead(model_digest="m")
    return select(content, head, people, people=which, review_states=states, least=least)


def test_the_largest_person_is_the_main_one_and_holes_do_not_count() -> None:
    one = pictures.row("one", b"1")
    people = [person(one, 0, 20), person(one, 1, 60, hole=54), person(one, 2, 40)]
    assert [round(contours.area(contours.decode(each.contours)), -2) for each in people] == [400, 500, 1500]
    assert [each.person_index for each in run([one], people).people[one.sha256]] == [2]
    assert [each.person_index for each in run([one], people[::-1], which="all").people[one.sha256]] == [0, 1, 2]


def test_what_is_not_used_is_listed_by_reason() -> None:
    names = ("used", "bad", "rejected", "empty", "unseen")
    rows = [pictures.row(name, name.encode()) for name in names]
    used, _, rejected, empty, _ = rows
    head = SnapshotHead(model_digest="m", badlisted=("bad",), rejected=(rejected.sha256,))
    found = run(rows, [person(used, 0, 9), nobody(empty)], head=head)
    assert [row.picture_id for row in found.pictures] == ["used"]
    assert found.skipped == {
        "badlisted": ["bad"], "no_person": ["empty"], "not_segmented": ["unseen"], "rejected": ["rejected"],
    }  # fmt: skip


def test_bytes_that_the_source_put_into_two_splits_stay_where_they_judge() -> None:
    copies = [pictures.row(f"{split} {n}", b"same", split=split) for n, split in enumerate(("train", "val", "test"))]
    other = [pictures.row(f"{split} other", b"other", split=split) for split in ("train", "val")]
    found = run([*copies, *other], [person(copies[0], 0, 9), person(other[0], 0, 9)])
    assert [row.picture_id for row in found.pictures] == ["test 2", "val other"]
    assert found.skipped == {"duplicate_in_other_split": ["train 0", "train other", "val 1"]}


def test_a_picture_that_looks_like_one_of_test_is_not_trained_on() -> None:
    alike = [
        replace(pictures.row(f"{split} 0", split.encode(), split=split), near_group="g") for split in ("train", "test")
    ]
    found = run(alike, [person(row, 0, 9) for row in alike])
    assert [row.picture_id for row in found.pictures] == ["test 0"]
    assert found.skipped == {"duplicate_in_other_split": ["train 0"]}


def test_a_class_with_too_few_usable_pictures_is_refused_with_the_reasons() -> None:
    rows = [pictures.row(f"d{n}", b"d%d" % n) for n in range(5)]
    rows += [pictures.row(f"s{n}", b"s%d" % (n % 4), label="shorts") for n in range(8)]
    people = [person(row, 0, 9) for row in {row.sha256: row for row in rows}.values()]
    with pytest.raises(
        InputError, match=r"at least 5 different usable pictures, got \{'shorts': 4\} \(skipped: none\)"
    ):
        run(rows, people, least=5)
    with pytest.raises(InputError, match=r"\{'dress': 4, 'shorts': 3\} \(skipped: 3 not_segmented\)"):
        run(rows, people[1:-1], least=5)


def test_only_contours_in_the_wanted_review_states_are_used_and_the_others_listed_by_theirs() -> None:
    rows = [pictures.row(name, name.encode()) for name in ("seen", "unseen")]
    people = [replace(person(rows[0], 0, 9), status="approved"), person(rows[1], 0, 9)]
    assert [row.picture_id for row in run(rows, people).pictures] == ["seen", "unseen"]
    approved = run(rows, people, states=("approved",))
    assert [row.picture_id for row in approved.pictures] == ["seen"]
    assert approved.skipped == {"unchecked": ["unseen"]}
    with pytest.raises(InputError, match=r"\(skipped: 1 unchecked\).*dataset\.review_states"):
        run(rows, people, states=("approved",), least=1)
