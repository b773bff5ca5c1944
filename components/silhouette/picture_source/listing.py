"""What a source says it has of a group, before any picture is fetched.

Reads nothing; `sort_out` divides what a source found into pictures to fetch and pictures refused with a reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from silhouette.contracts.dataset import SPLITS, RefusedPicture
from silhouette.errors import InputError

_SPLIT_WORDS = {"valid": "val", "validation": "val"}


@dataclass(frozen=True, kw_only=True)
class SourcePicture:
    """One picture as its source lists it.

    Attributes:
        picture_id: The source's id, raw; of a folder: the path below it with ``/``.
        label: What the source calls it; empty: unlabelled.
        pixset_id: The shoot, or empty.
        split: ``train``, ``val``, ``test`` or empty.
        stamp: Changes when the bytes change: SHA-256 where the source knows it, else the ETag.
        sha256: Of the bytes, or empty when the source does not know.
        locator: Where the source fetches it: URL or path; no part of the picture's identity.
    """

    picture_id: str
    label: str
    pixset_id: str = ""
    split: str = ""
    stamp: str
    sha256: str = ""
    locator: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A group at its source; `pictures` are sorted by id and carry labels of `classes` only."""

    group: str
    classes: tuple[str, ...]
    pictures: tuple[SourcePicture, ...]
    refused: tuple[RefusedPicture, ...]
    unknown_labels: Mapping[str, int]

    def counts(self) -> dict[str, int]:
        """Return the number of pictures per class, in class order."""
        found = Counter(picture.label for picture in self.pictures)
        return {name: found[name] for name in self.classes}

    def digest(self) -> str:
        """Return the SHA-256 of all that makes the dataset: group, classes, ids, labels, splits and contents."""
        rows = [astuple(picture)[:-1] for picture in self.pictures]
        refused = [(item.picture_id, item.reason) for item in self.refused]
        content = json.dumps([self.group, self.classes, rows, refused])
        return hashlib.sha256(content.encode()).hexdigest()


def split_of(word: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for what a source calls a split, empty for none, None for nonsense."""
    plain = word.strip().lower()
    plain = _SPLIT_WORDS.get(plain, plain)
    return plain if plain in ("", *SPLITS) else None


def sort_out(
    group: str,
    classes: Sequence[str],
    found: Iterable[SourcePicture],
    refused: Iterable[RefusedPicture] = (),
) -> Listing:
    """Refuse what cannot be used and sort the rest.

    A label outside `classes`, a missing label and one id with two different entries are refused; the same entry
    twice (pages that shifted while they were read) counts once.
    """
    entries: dict[str, SourcePicture] = {}
    out, unknown = {item.picture_id: item for item in refused}, Counter[str]()
    for picture in found:
        other = entries.get(picture.picture_id)
        if other is not None and (other.label, other.split) != (picture.label, picture.split):
            detail = f"listed with the labels {other.label!r} and {picture.label!r}"
            out[picture.picture_id] = RefusedPicture(
                picture_id=picture.picture_id, reason="listed_twice", detail=detail
            )
        entries[picture.picture_id] = picture
    for picture in entries.values():
        if picture.label not in classes and picture.picture_id not in out:
            reason = "unknown_label" if picture.label else "no_label"
            unknown[picture.label] += 1
            out[picture.picture_id] = RefusedPicture(
                picture_id=picture.picture_id, reason=reason, detail=f"{picture.label!r} is not a class of the group"
            )
    kept = sorted((item for key, item in entries.items() if key not in out), key=lambda item: item.picture_id)
    return Listing(
        group=group,
        classes=tuple(classes),
        pictures=tuple(kept),
        refused=tuple(sorted(out.values(), key=lambda item: item.picture_id)),
        unknown_labels=dict(sorted(unknown.items())),
    )


def require_enough(group: str, counts: Mapping[str, int], minimum: int, *, where: str, refused: int = 0) -> None:
    """Refuse a group that cannot be learned from.

    Raises:
        InputError: There is no picture at all, or a class has fewer than `minimum`.
    """
    also = f" ({refused} refused)" if refused else ""
    if not sum(counts.values()):
        raise InputError(
            f"a group must have pictures, {group!r} has none in {where}{also}; its classes are {list(counts)}:"
            " correct the labels, or the group's classes in the configuration"
        )
    few = {name: number for name, number in counts.items() if number < minimum}
    if few:
        says = ", ".join(f"{name!r} has {number}" for name, number in few.items())
        raise InputError(
            f"every class of {group!r} must have at least {minimum} pictures, in {where} {says}{also};"
            " add pictures, take the class out of the group, or lower dataset.min_pictures_per_class"
        )
