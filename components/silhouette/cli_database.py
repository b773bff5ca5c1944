"""`silhouette badlist` and `silhouette db`: what people ask of the database, and tell it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silhouette.command import answer, command, login, tell
from silhouette.errors import InputError
from silhouette.names import is_text

if TYPE_CHECKING:
    from silhouette.badlist_file import BadlistFile
    from silhouette.database.report import GroupCount

badlist = typer.Typer(no_args_is_help=True, help="Pictures that must not be used, whatever the group.")
db = typer.Typer(no_args_is_help=True, help="What the database knows.")

_EXAMPLES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class PushReport:
    """What became of a badlist file.

    Attributes:
        listed: Different ids in it.
        added: Of them, new on the badlist.
        known: Of them, on the badlist before; they keep their first author and reason.
        repeated: The lines of every id that stands there more than once.
        unknown: Ids under which no picture came in so far; they are on the badlist, should one come.
        unknown_examples: The first of them, sorted.
    """

    listed: int
    added: int
    known: int
    repeated: Mapping[str, Sequence[int]]
    unknown: int
    unknown_examples: Sequence[str]


@badlist.command()
def push(
    file: Annotated[str, typer.Argument(help="One picture id a line, # starts a comment: FILE or s3://bucket/key.")],
    by: Annotated[str, typer.Option(help="Who says so. [default: your login here]")] = "",
    reason: Annotated[str, typer.Option(help="Why these pictures must not be used.")] = "",
) -> None:
    """Put the pictures of a file on the badlist.

    From then on they, and the same bytes under other ids, are in no snapshot and in nothing made of one.
    """
    with command():
        from silhouette.database import badlist, connect

        listed = _read(file)
        with connect() as connection:
            added = badlist.add(connection, listed.picture_ids, by=by or login(), reason=reason)
            unknown = badlist.unknown(connection, listed.picture_ids)
        report = PushReport(
            listed=len(listed.picture_ids),
            added=added,
            known=len(listed.picture_ids) - added,
            repeated=listed.repeated,
            unknown=len(unknown),
            unknown_examples=unknown[:_EXAMPLES],
        )
        answer(dataclasses.asdict(report), _of_push(report))


@badlist.command("list")
def list_() -> None:
    """Show the badlist: who put each picture there, when and why."""
    with command():
        from silhouette.database import badlist, connect

        with connect() as connection:
            entries = badlist.entries(connection)
        rows = [
            (_shown(item.picture_id), f"{item.added_at:%Y-%m-%d %H:%M}", _shown(item.added_by), _shown(item.reason))
            for item in entries
        ]
        lines = _table(("picture", "since", "by", "reason"), rows) if rows else ["the badlist is empty"]
        answer([dataclasses.asdict(item) for item in entries], lines)


@badlist.command()
def remove(
    picture_ids: Annotated[list[str], typer.Argument(metavar="PICTURE_ID...", help="Any number of ids.")],
) -> None:
    """Take pictures off the badlist, so that they may be used again."""
    with command():
        from silhouette.database import badlist, connect

        if odd := [name for name in picture_ids if not is_text(name)]:
            raise InputError(
                f"a picture id must be UTF-8 text, got {odd[0]!r}; `silhouette badlist list` shows the ids"
            )
        with connect() as connection:
            removed = badlist.remove(connection, picture_ids)
        missing = sorted(set(picture_ids) - removed)
        lines = [f"{len(removed)} off the badlist"]
        if missing:
            lines.append(f"{len(missing)} were not on it: {', '.join(map(_shown, missing))}")
        answer({"removed": sorted(removed), "not_listed": missing}, lines)


@db.command()
def upgrade(
    logins: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Make the logins of the others too: a file for each, with its password."),
    ] = None,
) -> None:
    """Bring the schema up to date, with the owner's login.

    On a laptop every command does so by itself. On a cluster the steps' own login may not.
    """
    with command():
        from silhouette.database import connect
        from silhouette.database.logins import keep, read_passwords
        from silhouette.database.migrations import HEAD

        passwords = read_passwords(logins) if logins else {}
        with connect() as connection:
            made = keep(connection, passwords) if passwords else []
        lines = [f"the schema is {HEAD}"]
        lines += [f"{login}: {'new' if login in made else 'kept'}" for login in passwords]
        answer({"schema": HEAD, "logins": sorted(passwords), "new": made}, lines)


@db.command()
def report(
    group: Annotated[str, typer.Option("--group", "-g", help="Only this group. [default: every group]")] = "",
    gallery: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with these counts and sample pictures.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Pictures of each status on the page.")] = 12,
) -> None:
    """Count pictures and people by group, model, status and age.

    Ages are how long pictures have had their status: under a day, a week, a month of 30 days, or longer. The page
    shows pictures with their contours drawn, the most doubtful first, and never one of the badlist.
    """
    with command():
        from silhouette.database import connect
        from silhouette.database.report import count_groups

        with connect() as connection:
            groups = count_groups(connection, group=group or None)
            if gallery:
                from silhouette.inspect_database.gallery import write_gallery
                from silhouette.store import open_store

                shown = write_gallery(
                    gallery, groups=groups, connection=connection, store=open_store(), samples=samples
                )
        answer({"groups": [dataclasses.asdict(item) for item in groups]}, _of_groups(groups))
        if gallery:
            tell(f"\n{gallery}: {shown} pictures shown")


def _read(file: str) -> BadlistFile:
    from silhouette.badlist_file import read_badlist_file

    if not file.startswith("s3://"):
        return read_badlist_file(Path(file))
    from silhouette.input_file import resolve_file
    from silhouette.store import open_store

    with tempfile.TemporaryDirectory(prefix="silhouette-badlist-") as folder:
        return read_badlist_file(resolve_file(file, what="the badlist", folder=Path(folder), store=open_store()))


def _of_push(report: PushReport) -> list[str]:
    lines = [f"{report.listed} listed: {report.added} new on the badlist, {report.known} on it before"]
    lines += [f"repeated: {_shown(name)} in lines {', '.join(map(str, at))}" for name, at in report.repeated.items()]
    if report.unknown:
        examples = ", ".join(map(_shown, report.unknown_examples))
        more = ", ..." if report.unknown > len(report.unknown_examples) else ""
        lines.append(f"unknown so far, listed all the same: {report.unknown}: {examples}{more}")
    return lines


def _of_groups(groups: Iterable[GroupCount]) -> list[str]:
    rows, lines = [], []
    for item in groups:
        labels = ", ".join(f"{count} {_shown(label)}" for label, count in item.labels.items()) or "none"
        lines.append(
            f"{_shown(item.group)}: {item.pictures} pictures ({labels}), {item.contents} by content,"
            f" {item.badlisted} on the badlist"
        )
        for status in item.statuses:
            ages = [str(count) for count in status.by_age.values()] or ["", "", "", ""]
            model = status.model_digest[:12] or "none"
            rows.append((_shown(item.group), model, status.status, str(status.pictures), str(status.people), *ages))
    if not lines:
        return ["no group has been downloaded"]
    names = ("group", "model", "status", "pictures", "people", "< day", "< week", "< month", "older")
    return [*lines, "", *_table(names, rows)]


def _shown(text: str) -> str:
    """Return a text as it is, or quoted when a terminal would take part of it for an order."""
    return text if text.isprintable() else repr(text)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (names, *rows)) for column in range(len(names))]
    numeric = [
        bool(rows) and all(row[column].isdigit() or not row[column] for row in rows) for column in range(len(names))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in (names, *rows)
    ]
