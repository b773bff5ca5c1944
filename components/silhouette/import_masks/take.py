"""Take corrected masks back, picture by picture: a new version of each that was changed, or the reason why not.

Reads a COCO file, or a folder with such files, PNG masks or both; writes corrections
(`silhouette.database.corrections`), each picture in a transaction of its own. What is handed in twice is there once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours, box
from silhouette.contracts.markup import LAYOUT_NAME, MASKS, ReturnedName, parse_name
from silhouette.database import badlist, corrections, group_versions, groups, reviews
from silhouette.database.corrections import Version
from silhouette.database.people import PersonRow
from silhouette.database.reviews import ReviewConflictError, Verdict
from silhouette.errors import InputError
from silhouette.import_masks.coco_door import read_coco
from silhouette.import_masks.png_door import read_png_file
from silhouette.import_masks.report import ImportReport
from silhouette.import_masks.returned import Exported, Refused, Returned, checked_people, pixels_of

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
_AT_ONCE = 200
_LONGEST_REVIEWER = 200


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a run was told: who corrected, and how what was handed in is taken."""

    reviewer: str
    approve_unchanged: bool = False
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the database knows of a batch of pictures."""

    versions: Mapping[int, Version]
    counting: Mapping[str, Version]
    people: Mapping[int, Sequence[PersonRow]]
    ids: Mapping[str, Sequence[str]]
    bad: frozenset[str]


@dataclass(kw_only=True)
class _Picture:
    """One picture as it was handed back, by one file or by several, which may call it by several names."""

    segmentation_id: int
    revision: int
    names: list[ReturnedName] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)


def import_masks(
    *,
    source: Path,
    group: str,
    reviewer: str,
    connection: psycopg.Connection,
    approve_unchanged: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Take back what markers corrected.

    Args:
        source: A COCO file, or a folder: an export's, or one with COCO or PNG files.
        group: Raw.
        reviewer: Who corrected it; becomes the author.
        connection: To a migrated database.
        approve_unchanged: Give what was not changed the verdict ``approved``, if it has none.
        force: Take it although somebody decided since the export.
        dry_run: Change nothing.

    Raises:
        InputError: There is nothing to take, no such group, or no reviewer.
        ServiceError: PostgreSQL went away; run again, what was taken stays.
    """
    author = reviewer.strip()
    if not 1 <= len(author) <= _LONGEST_REVIEWER or not author.isprintable():
        raise InputError(
            f"masks must have somebody who corrected them, in 1 to {_LONGEST_REVIEWER} characters, got {author[:60]!r};"
            " say --reviewer NAME"
        )
    groups.find_group(connection, group)
    orders = Orders(reviewer=author, approve_unchanged=approve_unchanged, force=force, dry_run=dry_run)
    report = ImportReport(group=group, reviewer=author, dry_run=dry_run)
    pictures = _by_picture(_read_source(source), report)
    bad = frozenset(badlist.contents(connection))
    for start in range(0, len(pictures), _AT_ONCE):
        batch = pictures[start : start + _AT_ONCE]
        known = _look_up(connection, group, batch, bad)
        for picture in batch:
            try:
                _take(connection, picture, known, orders, report)
            except InputError as error:
                report.refused.append(Refused(where=picture.returned[0].where, why=str(error)))
    _LOG.info("%d pictures of group %r handed in by %s: %s", len(pictures), group, author, report.summary())
    return report


def _read_source(source: Path) -> Iterator[Returned | Refused]:
    files = [source] if source.is_file() else _files(source)
    if not files:
        raise InputError(
            f"masks must be in a COCO file (.json), a PNG, or a folder with some, {source} is none; correct the path"
        )
    for path in files:
        yield from read_coco(path) if path.suffix.lower() == ".json" else read_png_file(path)


def _files(source: Path) -> list[Path]:
    """Return the files of a folder, or of an export's, that may hold masks."""
    below = ((".json", source), (".json", source / "annotations"), (".png", source), (".png", source / MASKS))
    return [
        path
        for ending, folder in below
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ending and path.is_file() and path.name != LAYOUT_NAME
    ]


def _by_picture(found: Iterator[Returned | Refused], report: ImportReport) -> list[_Picture]:
    """Gather what was handed in of the same picture."""
    pictures: dict[tuple[int, int], _Picture] = {}
    for item in found:
        if isinstance(item, Refused):
            report.refused.append(item)
            continue
        name = parse_name(item.file_name)
        if name is None:
            why = "the name must be that of an exported picture, <key>_s<number>_r<number>; keep the names"
            report.refused.append(Refused(where=item.where, why=why))
            continue
        blank = _Picture(segmentation_id=name.segmentation_id, revision=name.revision)
        picture = pictures.setdefault((name.segmentation_id, name.revision), blank)
        picture.names.append(name)
        picture.returned.append(item)
    return list(pictures.values())


def _look_up(connection: psycopg.Connection, group: str, batch: Sequence[_Picture], bad: frozenset[str]) -> _Known:
    versions = corrections.versions(connection, segmentation_ids=[item.segmentation_id for item in batch])
    sha256s = [item.picture_sha256 for item in versions.values()]
    counting = corrections.counting(connection, sha256s=sha256s)
    numbers = [*versions, *(item.segmentation_id for item in counting.values())]
    return _Known(
        versions=versions,
        counting=counting,
        people=corrections.people_of(connection, segmentation_ids=numbers),
        ids=group_versions.ids_by_content(connection, group=group, sha256s=sha256s),
        bad=bad,
    )


def _take(
    connection: psycopg.Connection, picture: _Picture, known: _Known, orders: Orders, report: ImportReport
) -> None:
    """Take one picture.

    Raises:
        InputError: It cannot be taken.
    """
    version = _version_of(picture, known, report.group)
    counting = known.counting.get(version.picture_sha256)
    exported = _people(version, known)
    changed = _changed(picture, Exported(width=version.width, height=version.height, people=exported))
    if changed is None or (counting and pixels_of(changed) == pixels_of(_people(counting, known))):
        _unchanged(connection, picture, version, orders, report)
        return
    if not orders.force:
        _refuse_outdated(picture, version, counting)
    if not orders.dry_run:
        corrections.add(
            connection, corrects=version, replaces=counting, author=orders.reviewer, people=_rows(changed),
            reason=f"masks handed in, exported at revision {picture.revision}",
        )  # fmt: skip
    (report.taken if changed else report.nobody).append(known.ids[version.picture_sha256][0])


def _version_of(picture: _Picture, known: _Known, group: str) -> Version:
    version = known.versions.get(picture.segmentation_id)
    ids = known.ids.get(version.picture_sha256, ()) if version else ()
    if version is None or not all(any(map(name.is_of, ids)) for name in picture.names):
        raise InputError(
            f"the picture must be one of group {group!r} as it is segmented now, it is not: it is another group's, was"
            " withdrawn, or was segmented again since the export; export it again"
        )
    if version.picture_sha256 in known.bad:
        raise InputError("the picture must not be on the badlist, it is; leave it out")
    return version


def _people(version: Version, known: _Known) -> tuple[Contours, ...]:
    if version.status == "nobody":
        return ()
    return tuple(contour_bytes.decode(row.contours) for row in known.people.get(version.segmentation_id, ()))


def _changed(picture: _Picture, exported: Exported) -> list[Contours] | None:
    """Return the people that a marker left, or None when they are the exported ones.

    Raises:
        InputError: They are malformed, or two files say two things.
    """
    before = pixels_of(exported.people)
    found: list[list[Contours]] = []
    for returned in picture.returned:
        people = list(returned.read(exported))
        if pixels_of(people) == before:
            continue
        people = checked_people(people)
        if found and pixels_of(found[0]) != pixels_of(people):
            raise InputError("a picture must be handed in once, other files changed it otherwise; hand in one of them")
        found.append(people)
    return found[0] if found else None


def _refuse_outdated(picture: _Picture, version: Version, counting: Version | None) -> None:
    latest = counting if counting and counting.segmentation_id != version.segmentation_id else version
    if latest is version and version.revision == picture.revision:
        return
    did = f"handed in a correction of it, which is {latest.status}" if latest.author else f"made it {latest.status}"
    raise ReviewConflictError(
        f"a correction must be of what stands, {latest.reviewer or 'somebody'} {did}, at"
        f" {latest.status_at:%Y-%m-%d %H:%M}, after the export; export it again, or say --force"
    )


def _unchanged(
    connection: psycopg.Connection, picture: _Picture, version: Version, orders: Orders, report: ImportReport
) -> None:
    if not orders.approve_unchanged or version.status != "unchecked" or version.revision != picture.revision:
        report.unchanged += 1
        return
    if not orders.dry_run:
        verdict = Verdict(
            picture_sha256=version.picture_sha256, model_digest=version.model_digest, status="approved",
            revision=version.revision, reviewer=orders.reviewer, reason="masks handed in as they were exported",
        )  # fmt: skip
        reviews.decide(connection, [verdict])
    report.approved += 1


def _rows(people: Sequence[Contours]) -> list[PersonRow]:
    """Pack people who were drawn: the box is that of their pixels, the score is 1."""
    return [
        PersonRow(box_xyxy=_box(contours), score=1.0, contours=contour_bytes.encode(contours)) for contours in people
    ]


def _box(contours: Contours) -> tuple[float, float, float, float]:
    left, top, right, bottom = box(contours)
    return float(left), float(top), float(right), float(bottom)
