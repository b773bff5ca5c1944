"""`silhouette masks`: people as masks that markers correct, out of the database and back into it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silhouette.command import Group, answer, command, login, show

masks = typer.Typer(no_args_is_help=True, help="Masks for markers, and what they made of them.")


@masks.command("export")
def export_(
    group: Group,
    to: Annotated[Path | None, typer.Option(help="Folder that gets a copy of the export.")] = None,
    states: Annotated[
        str, typer.Option(help="Pictures of these states: unchecked, approved, rejected, nobody; with commas.")
    ] = "unchecked,approved",
    model: Annotated[
        str, typer.Option(help="How the digest of the segmenter begins. [default: the only one of the group]")
    ] = "",
    limit: Annotated[int, typer.Option(help="At most so many pictures, the most doubtful first; 0: all.")] = 0,
    longest_side: Annotated[int, typer.Option(help="Of the overlays, pixels; masks have the original's size.")] = 1600,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Put the pictures into the folder too, upright.")
    ] = True,
) -> None:
    """Write a group's people as PNG masks, overlays and COCO files.

    They go to markup/masks/ in the store, and to a folder with --to: import it into CVAT or Label Studio, correct, and
    hand it back with `silhouette masks import`.
    """
    with command():
        from silhouette.database import connect
        from silhouette.export_masks.export import export_masks
        from silhouette.store import open_store

        with connect() as connection:
            report = export_masks(
                group=group,
                states=[state.strip() for state in states.split(",") if state.strip()],
                model=model,
                longest_side=longest_side,
                limit=limit,
                folder=to,
                with_pictures=pictures,
                store=open_store(),
                connection=connection,
            )
        show(report)


@masks.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="A COCO JSON, or a folder with one or with PNG masks.")
    ],
    group: Group,
    reviewer: Annotated[str, typer.Option(help="Who corrected them. [default: your login here]")] = "",
    approve_unchanged: Annotated[
        bool, typer.Option("--approve-unchanged", help="Approve what was handed back as it was.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take what is handed in although somebody decided since the export.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Take corrected masks back as new, approved versions.

    Later steps take them instead of the models' contours. A picture that cannot be taken is told in one line; the
    others are taken, and the exit code is 1.
    """
    with command():
        from silhouette.database import connect
        from silhouette.import_masks.take import import_masks

        with connect() as connection:
            report = import_masks(
                source=source,
                group=group,
                reviewer=reviewer or login(),
                connection=connection,
                approve_unchanged=approve_unchanged,
                force=force,
                dry_run=dry_run,
            )
        answer(report.as_json(), report.lines())
        if report.refused:
            raise typer.Exit(1)
