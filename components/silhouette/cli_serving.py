"""`silhouette predict`: one picture through a group's picture model on Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from silhouette.command import answer, command
from silhouette.errors import InputError


def predict(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    group: Annotated[str, typer.Option("--group", "-g", help="Name of the group whose model answers.")],
) -> None:
    """Say what a group's model makes of one picture.

    The file's bytes go to Triton as they are; there it is decoded, its people are found and classified.
    """
    with command():
        from silhouette.names import safe_key
        from silhouette.picture_answer import SUFFIX
        from silhouette.triton_client import open_triton

        if not picture.is_file():
            raise InputError(f"predict must be given a picture file, {picture} is none; correct the path")
        with open_triton() as triton:
            told = triton.answer_picture(f"{safe_key(group)}{SUFFIX}", picture.read_bytes())
        answer(told, _lines(told))


def _lines(told: dict[str, Any]) -> list[str]:
    models = ", ".join(f"{part['model']} version {part['version']}" for part in told["models"].values())
    if told["main"] is None:
        return ["nobody was found", f"answered by {models}"]
    lines = [f"{told['label']}  {told['probability']:.3f}"]
    for index, person in enumerate(told["people"]):
        box = " ".join(f"{value:.0f}" for value in person["box_xyxy"])
        main = ", the main person" if index == told["main"] else ""
        lines.append(f"  person {index + 1} at {box}: {person['label']} {person['probability']:.3f}{main}")
    return [*lines, f"answered by {models}"]
