"""`silhouette pull` and `silhouette explain`: what the team opens by hand, and one picture's whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silhouette.command import answer, command
from silhouette.pull_folders.kind import Kind


def pull(
    kind: Annotated[Kind, typer.Argument(help="What is laid out.")],
    name: Annotated[str, typer.Argument(help="A group; of models also an experiment, of inference also a folder.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Gets DATA/, MODELS/, MARKUP/masks/ or TEST/inference/.")],
    limit: Annotated[int, typer.Option(help="At most so many pictures, experiments or files; 0: all.")] = 0,
) -> None:
    """Lay out pictures, datasets, models, masks or inference in folders for people.

    DATA/<group>/<class>/<picture id>.<ext>, MODELS/<group>/<experiment>/, MARKUP/masks/<group>/ and
    TEST/inference/<group>/, each with files.csv, which says which file is which. Run it again to bring the folder up to
    date: what is there is not fetched again. Pictures of the badlist and withdrawn ones are never in it.
    """
    with command():
        import dataclasses

        from silhouette.database import connect
        from silhouette.pull_folders.pull import pull as work
        from silhouette.store import open_store

        with connect() as connection:
            store = open_store(patience_s=60)
            report = work(kind=kind, name=name, to=to, store=store, connection=connection, limit=limit)
        things = f"{report.pictures} pictures, {report.files} tables" if report.pictures else f"{report.files} files"
        lines = [f"{', '.join(report.folders)}: {things}, {report.fetched} fetched now"]
        if report.badlisted or report.withdrawn:
            lines.append(f"left out: {report.badlisted} on the badlist, {report.withdrawn} withdrawn")
        if report.removed:
            lines.append(f"removed: {report.removed} files of an earlier pull that the group does not have any more")
        if report.missing:
            lines.append(f"missing in the store: {report.missing} pictures; run `silhouette download` again")
        answer(dataclasses.asdict(report), lines)


def explain(picture_id: Annotated[str, typer.Argument(help="Of the picture, as the source says it.")]) -> None:
    """Show one picture's whole way.

    How it came in and with which labels, whether it is on the badlist, what the segmenters found and reviewers decided,
    in which splits it was, what the models said and what was sent back.
    """
    with command():
        import dataclasses

        from silhouette.database import connect
        from silhouette.explain_picture.explain import explain as work
        from silhouette.explain_picture.story import tell_story
        from silhouette.store import open_store

        with connect() as connection:
            story = work(picture_id, store=open_store(), connection=connection)
        answer(dataclasses.asdict(story), tell_story(story))
