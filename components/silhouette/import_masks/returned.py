"""What the doors hand on: a picture as it was handed back, its people to be read when it is known to be ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours, box, from_mask, to_cropped_mask
from silhouette.contracts.markup import MOST_PEOPLE
from silhouette.errors import InputError

SAME_PERSON_IOU = 0.8  # two people who overlap so much are one, drawn twice


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a marker was given of a picture: size, and people in their order."""

    width: int
    height: int
    people: tuple[Contours, ...]


@dataclass(frozen=True, kw_only=True)
class Returned:
    """A picture that was handed back.

    Attributes:
        where: File, and the picture or path in it, for messages.
        file_name: The picture's, which says what it shows.
        read: Makes the people out of it, given what was exported.
    """

    where: str
    file_name: str
    read: Callable[[Exported], Sequence[Contours]]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Something that was handed back and cannot be taken: where, and why, in one line."""

    where: str
    why: str


def checked_people(people: Sequence[Contours]) -> list[Contours]:
    """Return the people as their pixels are traced, or say what is wrong with them.

    Raises:
        InputError: One has no pixel, two are the same person, or there are too many.
    """
    if len(people) > MOST_PEOPLE:
        raise InputError(f"a picture must have at most {MOST_PEOPLE} people, got {len(people)}; correct it")
    for number, contours in enumerate(people, start=1):
        if contours.is_empty:
            raise InputError(f"person {number} must cover a pixel of the picture, it covers none; remove it")
    boxes, areas = [box(contours) for contours in people], [_pixels(contours) for contours in people]
    for first, second in itertools.combinations(range(len(people)), 2):
        least, most = sorted((areas[first], areas[second]))
        if least <= SAME_PERSON_IOU * most or not _meet(boxes[first], boxes[second]):
            continue  # no more of them can be shared than the smaller one has
        shared = _shared(people[first], people[second])
        if (iou := shared / (least + most - shared)) > SAME_PERSON_IOU:
            raise InputError(
                f"people {first + 1} and {second + 1} must not be one person drawn twice, they overlap by an IoU of"
                f" {iou:.2f}; remove one"
            )
    return [traced(contours) for contours in people]


def traced(contours: Contours) -> Contours:
    """Return the contours as `from_mask` gives them for the same pixels, so that equal pixels are equal bytes."""
    mask, corner = to_cropped_mask(contours)
    return from_mask(mask, offset_xy=corner)


def pixels_of(people: Sequence[Contours]) -> list[bytes]:
    """Return bytes that are equal for the same people, whatever their order and however their outline was traced."""
    return sorted(contour_bytes.encode(traced(contours)) for contours in people if not contours.is_empty)


def _pixels(contours: Contours) -> int:
    return int((to_cropped_mask(contours)[0] > 0).sum())


def _meet(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return all(max(first[axis], second[axis]) < min(first[axis + 2], second[axis + 2]) for axis in (0, 1))


def _shared(first: Contours, second: Contours) -> int:
    """Count the pixels that two people who meet have in common."""
    windows = []
    (left, top, right, bottom), other = box(first), box(second)
    left, top, right, bottom = max(left, other[0]), max(top, other[1]), min(right, other[2]), min(bottom, other[3])
    for contours in (first, second):
        mask, (x, y) = to_cropped_mask(contours)
        windows.append(mask[top - y : bottom - y, left - x : right - x] > 0)
    return int((windows[0] & windows[1]).sum())
