"""A picture's way as lines for people: what it is now, what happened in the order of time, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from silhouette.explain_picture.explain import Story

_TIME = "%Y-%m-%d %H:%M:%S"


def tell_story(story: Story) -> Iterator[str]:
    """Yield the lines."""
    yield f"picture {_shown(story.picture_id)}"
    yield from _section("now", _now(story))
    happened = sorted(_events(story), key=lambda event: event[0])
    lines = (f"{at.astimezone(UTC):{_TIME}}  {what}" for at, what in happened)
    yield from _section("what happened (UTC)", lines)
    yield from _section("splits", _trained(story))
    yield from _section("predictions", _predicted(story))
    yield from _section("ret_meta", _returned(story))
    yield from _section("not looked at", map(_shown, story.not_looked_at))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    first = True
    for line in lines:
        if first:
            yield ""
            yield title
            first = False
        yield f"  {line}"


def _now(story: Story) -> Iterator[str]:
    for entry in story.badlisted:
        whose = "" if entry.picture_id == story.picture_id else f" by the same bytes as {_shown(entry.picture_id)}"
        yield f"ON THE BADLIST{whose}{_because(entry.added_by, entry.reason)}"
    for kept in story.fetched:
        if not kept.reason:
            yield f"bytes {kept.sha256[:12]}: {kept.width}x{kept.height}, {kept.size_bytes} bytes, {kept.object_key}"
        else:
            yield f"refused: {kept.reason}, {_shown(kept.detail)}"
    current = [row for row in story.labelled if row.withdrawn_at is None]
    for row in current:
        rest = "".join(
            f", {name} {_shown(value)}" for name, value in (("pixset", row.pixset_id), ("split", row.split)) if value
        )
        yield f"group {_shown(row.group)}: {_shown(row.label)}{rest}"
    if not current:
        yield "in no group"
    for item in story.quarantined:
        yield f"quarantined in {_shown(item.group)}: {item.reason}, {_shown(item.detail)}"
    for twin in story.twins:
        yield f"the same bytes: {_shown(twin.picture_id)} in {_shown(twin.group)}, {_shown(twin.label)}"
    for seen in story.segmentations:
        by = f"correction of {_shown(seen.author)}" if seen.author else f"model {seen.model_digest[:12]}"
        yield f"{by}: {_people(seen.people)}, {seen.status}{_because(seen.reviewer, seen.reason)}"


def _events(story: Story) -> Iterator[tuple[datetime, str]]:
    for kept in story.fetched:
        also = "" if kept.picture_id == story.picture_id else f" as {_shown(kept.picture_id)}"
        yield (
            kept.fetched_at,
            f"fetched from {_shown(kept.origin)}{also}" + (f", refused: {kept.reason}" * bool(kept.reason)),
        )
    for row in story.labelled:
        yield row.seen_at, f"{_shown(row.group)} calls it {_shown(row.label)}"
        if row.withdrawn_at:
            yield row.withdrawn_at, f"{_shown(row.group)} withdraws {_shown(row.label)}"
    for entry in story.badlisted:
        yield entry.added_at, f"{_shown(entry.picture_id)} put on the badlist{_because(entry.added_by, entry.reason)}"
    models = {seen.segmentation_id: seen for seen in story.segmentations}
    for seen in story.segmentations:
        by = f"corrected by {_shown(seen.author)}" if seen.author else f"segmented by {seen.model_digest[:12]}"
        yield seen.created_at, f"{by}: {_people(seen.people)}"
    for done in story.decisions:
        whose = models.get(done.segmentation_id)
        of = f" ({whose.model_digest[:12]})" if whose else " (of a segmentation that is gone)"
        yield done.at, f"{done.from_status} -> {done.to_status}{of}{_because(done.reviewer, done.reason)}"
    for post in story.posted:
        yield post.begun_at, f"sent {post.content_digest[:12]} to {_shown(post.service)}"
        if post.ended_at:
            yield (
                post.ended_at,
                f"taken, receipt {_shown(post.receipt)}" if post.receipt else f"not taken: {_shown(post.failure)}",
            )


def _trained(story: Story) -> Iterator[str]:
    for item in story.trained:
        what = f"skipped: {item.skipped}" if item.skipped else f"{item.split}, {_people(item.people)}"
        yield f"{_shown(item.group)}, experiment {_shown(item.experiment)}: {what}"


def _predicted(story: Story) -> Iterator[str]:
    for item in story.predicted:
        said = f"{_shown(item.predicted)} {item.probability:.3f}" if item.person_index >= 0 else "nobody found"
        who = f"person {item.person_index + 1}{' (main)' if item.is_main else ''}: " if item.person_index >= 0 else ""
        label = f", labelled {_shown(item.label)}" if item.label else ""
        yield f"{_shown(item.model)} version {item.version}, {item.source}: {who}{said}{label}"


def _returned(story: Story) -> Iterator[str]:
    if story.document:
        said = "".join(f", {_shown(group)}: {_shown(one)}" for group, one in story.document.predictions.items())
        yield (
            f"document {story.document.content_digest[:12]} made {story.document.made_at}:"
            f" {_people(story.document.people)}{said}"
        )
    for post in story.posted[-1:]:
        state = f"not taken: {_shown(post.failure)}" if post.failure else "not known to have arrived"
        state = f"receipt {_shown(post.receipt)}" if post.receipt else state
        yield f"last sent {post.content_digest[:12]} to {_shown(post.service)}: {state}"


def _people(count: int) -> str:
    return {0: "nobody", 1: "1 person"}.get(count, f"{count} people")


def _because(who: str, why: str) -> str:
    return (f", by {_shown(who)}" if who else "") + (f": {_shown(why)}" if why else "")


def _shown(text: str) -> str:
    """Return a text as it is, or quoted when it is empty or a terminal would take part of it for an order."""
    return text if text and text.isprintable() else repr(text)
