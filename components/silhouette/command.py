"""What every command of `silhouette` goes through: addresses, errors as one line, answers for people or machines."""

from __future__ import annotations

import dataclasses
import getpass
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.step import step

Group = Annotated[str, typer.Option("--group", "-g", help="Name of the group of pictures, any text.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder through which the steps hand over. [default: .silhouette/work/<group>]")
]


class Output:
    """How this process answers; the command line sets it once."""

    as_json = False


def state_dir() -> Path:
    """Return the folder of the embedded services, runs and work."""
    return Path(os.environ.get("SILHOUETTE_STATE_DIR") or ".silhouette")


def work_folder(work: Path | None, name: str) -> Path:
    """Return the folder through which the steps hand over: as said, or that of a group (or folder) of this name."""
    return work or state_dir() / "work" / safe_key(name)


def need(path: Path, command: str) -> Path:
    """Return what an earlier command has written.

    Raises:
        InputError: It is not there.
    """
    if not path.exists():
        raise InputError(f"{path} must exist, it does not; run `silhouette {command}` first, or say --work")
    return path


def login() -> str:
    """Return who works here, or nothing: a pod may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError: from Python 3.13 on
        return ""


@contextmanager
def command() -> Iterator[None]:
    """Run a command's work with the embedded services' addresses; turn expected errors into one line."""
    with step():
        _use_embedded_services()
        yield


def show(report: Any) -> None:
    """Print a report as a table of names and values, or as JSON."""
    content = report.model_dump() if hasattr(report, "model_dump") else dataclasses.asdict(report)
    width = max(len(name) for name in content)
    cells = ((name, f"{value:.3f}" if isinstance(value, float) else value) for name, value in content.items())
    answer(content, (f"{name:{width}}  {cell}" for name, cell in cells))


def answer(content: Any, lines: Iterable[str]) -> None:
    """Print `content` as JSON for machines, or `lines` for people."""
    if Output.as_json:
        print(json.dumps(content, ensure_ascii=False, default=str))
    else:
        print("\n".join(lines))


def tell(line: str) -> None:
    """Print what is for people only."""
    if not Output.as_json:
        print(line)


def _use_embedded_services() -> None:
    """Take the addresses of a checkout's embedded services where the environment names none."""
    if not (state_dir() / "state.json").is_file():
        return
    sys.path.insert(0, str(Path.cwd()))
    try:
        embedded = importlib.import_module("pipelines.embedded")
    except ModuleNotFoundError:  # installed without a checkout
        return
    for name, value in embedded.environment(state_dir()).items():
        os.environ.setdefault(name, value)
