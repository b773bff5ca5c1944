"""`silhouette ret-meta`: what goes back to the picture service: made, compared, sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from silhouette.command import answer, command, show, state_dir, tell

ret_meta = typer.Typer(
    no_args_is_help=True, help="What goes back to the picture service: build the documents, then post them."
)

_LISTS = ("--groups", "-g", "--accept-refused")


class _ListsOfNames(TyperCommand):
    """Takes several names after one option: ``--groups 'summer test' test``, which click would take one by one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeated(args))


def repeated(args: Sequence[str]) -> list[str]:
    """Write ``--groups a b`` as ``--groups a --groups b``; a name that begins with a hyphen is ``--groups=-name``."""
    spelt: list[str] = []
    option = ""
    for number, word in enumerate(args):
        if word.startswith("-"):
            option = word if word in _LISTS else ""
            spelt.append(word)
        elif option and args[number - 1] != option:
            spelt += [option, word]
        else:
            spelt.append(word)
    return spelt


Groups = Annotated[list[str], typer.Option("--groups", "-g", metavar="NAME...", help="Whose pictures, any names.")]


@ret_meta.command(cls=_ListsOfNames)
def build(
    groups: Groups,
    segmenter: Annotated[
        str, typer.Option(help="First digits of the segmenter whose people count. [default: who saw the most pictures]")
    ] = "",
    work: Annotated[
        Path | None, typer.Option(help="Folder of the manifest. [default: .silhouette/work/ret_meta]")
    ] = None,
) -> None:
    """Make a document of every picture of the groups.

    People, what every configured model says of them, provenance. What did not change is not made again; documents of
    pictures that must not be used are removed.
    """
    with command():
        from silhouette.build_ret_meta.build import build_ret_meta
        from silhouette.build_ret_meta.models import needs_triton
        from silhouette.config import load_config
        from silhouette.database import connect
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton

        config = load_config()
        with connect() as connection:
            report = build_ret_meta(
                groups=groups,
                out=work or state_dir() / "work" / "ret_meta",
                store=open_store(),
                connection=connection,
                triton=open_triton() if needs_triton(config) else None,
                config=config,
                segmenter=segmenter,
            )
        show(report)


@ret_meta.command(cls=_ListsOfNames)
def post(
    groups: Groups,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; tell what would change at the service.")
    ] = False,
    accept_refused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="Groups whose model need not have passed its gate."),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the service for every document instead of believing the ledger.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Documents on their way at the same time.")] = 8,
) -> None:
    """Send the documents to the picture service.

    Each content once: what has arrived is not sent again, whatever was killed or lost. A document that the service does
    not take is named with its reason, the others go on, and the exit code is 1.
    """
    with command():
        from silhouette.database import connect
        from silhouette.picture_source.returned import RetMetaService
        from silhouette.post_ret_meta.post import post_ret_meta
        from silhouette.settings import picture_service_settings
        from silhouette.store import open_store

        service = RetMetaService(picture_service_settings(), workers=workers)
        with connect() as connection:
            report = post_ret_meta(
                groups=groups,
                store=open_store(),
                connection=connection,
                service=service,
                workers=workers,
                accept_refused=accept_refused or (),
                ask=ask,
                dry_run=dry_run,
                tell=tell,
            )
        service.close()
        show(report)
        report.require_all()


@ret_meta.command()
def schema() -> None:
    """Print the JSON Schema of a document."""
    with command():
        from silhouette.contracts.ret_meta import json_schema

        found = json_schema()
        answer(found, [json.dumps(found, indent=2)])
