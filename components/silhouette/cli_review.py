"""`silhouette review`: the page on which markers look at contours and decide."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from silhouette.command import Group, answer, command, login, tell


def review(
    group: Group,
    model: Annotated[
        str, typer.Option(help="Digest of the segmenter, or its start. [default: the one that saw the group last]")
    ] = "",
    reviewer: Annotated[str, typer.Option(help="Who reviews. [default: your login here]")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on. [default: a free one]", show_default=False)] = 0,
    bind: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback only with --user-header.")
    ] = "127.0.0.1",
    user_header: Annotated[
        str, typer.Option(metavar="NAME", help="Header in which a proxy that knows its users says who asks.")
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="Further name that browsers may use; may be repeated."),
    ] = None,
    base_path: Annotated[str, typer.Option(metavar="/PATH", help="Path below which a proxy has the page.")] = "",
) -> None:
    """Show a group's contours on a local page, to approve or reject them.

    The most doubtful come first. The printed address is for you alone; Ctrl-C ends it. docs/review.md shows the keys.
    """
    with command():
        from silhouette.review.serve import Place, serve
        from silhouette.store import open_store

        def told(address: str) -> None:
            answer({"address": address}, [f"review of {group!r}: {address}", "Ctrl-C ends it"])
            sys.stdout.flush()  # it may be a pipe, and this process goes on

        place = Place(
            reviewer=reviewer or login(),
            bind=bind,
            port=port,
            user_header=user_header,
            hosts=allow_host or (),
            base_path=base_path.rstrip("/"),
        )
        with suppress(KeyboardInterrupt):  # the server does not always pass on the one that ended it
            serve(group=group, model=model, store=open_store(patience_s=2.0), place=place, told=told)
        tell("\nended; every verdict is kept")
