"""What a document would change at the service, in words that a person can read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from silhouette.contracts import ret_meta
from silhouette.contracts.ret_meta import Person, Prediction, RetMeta
from silhouette.errors import InputError
from silhouette.picture_source.returned import Receipt


def differences(ours: RetMeta, there: Receipt | None) -> list[str]:
    """Return what is different, a line each; nothing when the service has this content.

    Args:
        ours: The document that would be sent.
        there: What the service has.
    """
    if there is None:
        return [f"new: {_people(ours)}"]
    if there.content_digest == ours.content_digest:
        return []
    try:
        theirs = ret_meta.read(json.dumps(there.document).encode(), where="the service's document")
    except InputError as error:
        return [f"replaces one that cannot be compared: {error}"]
    return list(_changes(theirs, ours)) or ["the same findings, written in another way"]


def _people(document: RetMeta) -> str:
    names = ", ".join(
        f"{group} {_shown(prediction)}"
        for person in document.people
        if person.main
        for group, prediction in person.predictions.items()
    )
    count = len(document.people)
    return f"{count} {'person' if count == 1 else 'people'}" + (f"; the main one: {names}" if names else "")


def _shown(prediction: Prediction) -> str:
    name = "abstains" if prediction.label is None else repr(prediction.label)
    return f"{name} ({prediction.probability:.2f})"


def _changes(old: RetMeta, new: RetMeta) -> Iterator[str]:
    if old.picture != new.picture:
        yield f"picture: bytes {old.picture.sha256[:12]} -> {new.picture.sha256[:12]}"
    if old.segmentation.who != new.segmentation.who:
        yield f"contours: {old.segmentation.who} -> {new.segmentation.who}"
    if old.segmentation.review_status != new.segmentation.review_status:
        yield f"review: {old.segmentation.review_status} -> {new.segmentation.review_status}"
    if len(old.people) != len(new.people):
        yield f"people: {len(old.people)} -> {len(new.people)}"
    for group in sorted(old.models.keys() | new.models.keys()):
        before, after = old.models.get(group), new.models.get(group)
        if before is None or after is None:
            yield f"{group}: {'no longer answered' if after is None else 'answered for the first time'}"
        elif before != after:
            changed = [
                f"{name} {_short(getattr(before, name))} -> {_short(getattr(after, name))}"
                for name in type(after).model_fields
                if getattr(before, name) != getattr(after, name)
            ]
            yield f"{group}: {', '.join(changed)}"
    for before_person, after_person in zip(old.people, new.people, strict=False):
        yield from _of_person(before_person, after_person)


def _of_person(old: Person, new: Person) -> Iterator[str]:
    outline = ("box_xyxy", "contours", "score", "main")
    changed = [name.partition("_")[0] for name in outline if getattr(old, name) != getattr(new, name)]
    if changed:
        yield f"person {new.person_index}: other {', '.join(changed)}"
    for group in sorted(old.predictions.keys() & new.predictions.keys()):
        before, after = old.predictions[group], new.predictions[group]
        if before != after:
            yield f"person {new.person_index}, {group}: {_shown(before)} -> {_shown(after)}"


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
