"""`silhouette config` and `silhouette group`: what the configuration is, where each value comes from, a new group."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from silhouette.command import answer, command, tell
from silhouette.errors import InputError, SettingError

config = typer.Typer(no_args_is_help=True, help="What a run does when its parameters say nothing.")
group = typer.Typer(no_args_is_help=True, help="Classification tasks: names with their classes.")


@config.command("show")
def show_config(
    only: Annotated[str, typer.Argument(help="A section or key, as training.epochs; empty: all.")] = "",
) -> None:
    """Print the effective values and where each comes from.

    Endpoints and secrets come from the environment; secrets are not shown.
    """
    with command():
        from silhouette.config import load_config, read_layers, shipped_file
        from silhouette.config_file import holder
        from silhouette.settings import shown

        layers, shipped = read_layers(), str(shipped_file())
        values: dict[str, dict[str, Any]] = {}
        for path, value in _leaves(load_config().model_dump()):
            name, layer = ".".join(path), holder(layers, path)
            if not only or name == only or name.startswith(f"{only}."):
                values[name] = {"value": value, "from": "shipped" if layer.name == shipped else layer.place(path)}
        environment = {} if only else shown()
        if not values:
            raise InputError(f"a section or key of the configuration must be named, got {only!r}; say none to see all")
        width = max(map(len, [*values, *environment]))
        lines = [f"{name:{width}}  {entry['value']!r:<32}  {entry['from']}" for name, entry in values.items()]
        lines += [f"{name:{width}}  {value or '(not set)':<32}  environment" for name, value in environment.items()]
        answer({"configuration": values, "environment": environment}, lines)


@config.command()
def check() -> None:
    """Check the whole configuration.

    Every mistake is a line of its own: the key, the rule, the value, the file and the line.
    """
    with command():
        from silhouette.config import mistakes, own_files, read_layers

        found = [*mistakes(read_layers()), *_unknown_variables(os.environ)]
        for line in found[:-1]:
            tell(line)
        if found:
            raise SettingError(found[-1])
        files = ", ".join(map(str, own_files())) or "none of your own"
        answer({"valid": True}, [f"the configuration is valid; files over the shipped one: {files}"])


@group.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the group, any text.")],
    classes: Annotated[list[str], typer.Option(help="A class, in the order of the model's outputs; say it for each.")],
    file: Annotated[
        Path | None, typer.Option(help="Where to write. [default: the last file of SILHOUETTE_CONFIG, or config/]")
    ] = None,
) -> None:
    """Write a new group into the configuration.

    Nothing else in the file changes, comments included.
    """
    with command():
        from silhouette.config import load_config, own_files
        from silhouette.config_file import add_group

        place = file or (own_files() or [Path("config/default.yaml")])[-1]
        if file is None and not place.is_file():
            raise InputError(f"a group must be written into a file, {place} is none; say --file or SILHOUETTE_CONFIG")
        _check_group(name, classes)
        if file is None and name in load_config().groups:
            raise InputError(f"a group to add must be new, {name!r} is configured; edit it where `config show` says")
        add_group(place, name=name, classes=classes)
        tell(f"{name!r} is in {place}; a first run: `make run GROUP=... SOURCE=...`")


@group.command("list")
def list_groups() -> None:
    """List the configured groups with their classes."""
    with command():
        from silhouette.config import load_config

        groups = {name: entry.classes for name, entry in load_config().groups.items()}
        answer(groups, (f"{name}: {', '.join(classes)}" for name, classes in groups.items()))


def _check_group(name: str, classes: list[str]) -> None:
    from pydantic import ValidationError

    from silhouette.config import GroupConfig

    if not name.strip():
        raise InputError("a group must have a name, got an empty text; say one")
    try:
        GroupConfig(classes=classes)
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"the classes of a group: {rule}, got {classes}; say --classes for each of them") from None


def _leaves(content: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key), value


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    from silhouette.settings import OURS, VARIABLES

    for name in sorted(environ):
        if name.startswith("SILHOUETTE_") and not name.startswith(OURS) and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            hint = f"do you mean {near[0]}?" if near else "see docs/configuration.md"
            yield f"a variable of the environment must be one that is read, got {name}; {hint}"
