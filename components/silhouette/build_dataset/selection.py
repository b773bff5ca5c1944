"""Choose the pictures and people to train on, and say of every other picture why it is not among them.

Reads rows of the dataset and of the snapshot; writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.dataset import BADLISTED, Dataset, PictureRow
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.errors import InputError

REJECTED, NO_PERSON = "rejected", "no_person"
NOT_SEGMENTED, IN_OTHER_SPLIT = "not_segmented", "duplicate_in_other_split"
# a picture whose review state is not among `dataset.review_states` is skipped with that state as the reason


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is used: pictures, the people of each by the picture's sha256, and skipped picture ids by reason."""

    pictures: tuple[PictureRow, ...]
    people: dict[str, tuple[SnapshotRow, ...]]
    skipped: dict[str, list[str]] = field(default_factory=dict)


def select(
    dataset: Dataset,
    head: SnapshotHead,
    rows: Sequence[SnapshotRow],
    *,
    people: Literal["main", "all"],
    review_states: Collection[str],
    least: int,
) -> Selection:
    """Choose pictures and people.

    Args:
        dataset: The group.
        head: Of the snapshot.
        rows: Of the snapshot.
        people: ``main``: the largest person of a picture; ``all``: every person.
        review_states: Of the contours that may be used; rejected ones are never among them.
        least: How many different usable pictures each class must have.

    Raises:
        InputError: A class has fewer than `least`.
    """
    found: dict[str, list[SnapshotRow]] = {}
    for row in rows:
        found.setdefault(row.sha256, []).append(row)
    test = {_looks(row) for row in dataset.rows if row.split == "test"}
    val = {_looks(row) for row in dataset.rows if row.split == "val"} - test
    badlisted, rejected = set(head.badlisted), set(head.rejected)
    used: list[PictureRow] = []
    skipped: dict[str, list[str]] = {}
    for picture in sorted(dataset.rows, key=lambda row: row.picture_id):
        persons = found.get(picture.sha256)
        if picture.picture_id in badlisted:
            reason = BADLISTED
        elif picture.sha256 in rejected:
            reason = REJECTED
        elif persons is None:
            reason = NOT_SEGMENTED
        elif persons[0].person_index == NOBODY:
            reason = NO_PERSON
        elif persons[0].status not in review_states:
            reason = persons[0].status
        elif _judged_elsewhere(picture, test, val):
            reason = IN_OTHER_SPLIT
        else:
            used.append(picture)
            continue
        skipped.setdefault(reason, []).append(picture.picture_id)
    _require_enough(dataset, used, skipped, least)
    chosen = {row.sha256: _chosen(found[row.sha256], people) for row in used}
    return Selection(pictures=tuple(used), people=chosen, skipped=dict(sorted(skipped.items())))


def _looks(picture: PictureRow) -> str:
    """Return what a picture shares with its duplicates and with those that look like it."""
    return picture.near_group or picture.sha256


def _judged_elsewhere(picture: PictureRow, test: set[str], val: set[str]) -> bool:
    """Tell whether the source put a duplicate into a split that judges this one: there it stays."""
    if picture.split == "train":
        return _looks(picture) in test or _looks(picture) in val
    return picture.split == "val" and _looks(picture) in test


def _chosen(persons: list[SnapshotRow], people: str) -> tuple[SnapshotRow, ...]:
    if people == "all":
        return tuple(sorted(persons, key=lambda row: row.person_index))
    if len(persons) == 1:
        return (persons[0],)
    return (max(persons, key=_rank),)


def _rank(person: SnapshotRow) -> tuple[float, float, int]:
    outline = contour_bytes.decode(person.contours)
    return contour_bytes.main_rank(outline, score=person.score, index=person.person_index)


def _require_enough(dataset: Dataset, used: list[PictureRow], skipped: dict[str, list[str]], least: int) -> None:
    counts = {label: len({row.sha256 for row in used if row.label == label}) for label in dataset.classes}
    short = {label: count for label, count in counts.items() if count < least}
    if short:
        reasons = ", ".join(f"{len(ids)} {reason}" for reason, ids in sorted(skipped.items())) or "none"
        raise InputError(
            f"every class of group {dataset.group!r} must have at least {least} different usable pictures, got {short}"
            f" (skipped: {reasons}); add pictures, take the class out of the group,"
            " or lower dataset.min_pictures_per_class (dataset.review_states says which contours are used)"
        )
