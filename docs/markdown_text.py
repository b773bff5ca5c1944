"""Markdown from what the code says of itself: docstrings, comments, defaults. `reference.py` writes pages of it."""

from __future__ import annotations

import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable

_SET_OUT = re.compile(r"\n  |\S {3,}\S|\n\d\. ")  # by hand: from the margin, in columns, or numbered


def prose(text: object) -> str:
    """Return text fit for a paragraph or a cell: Markdown's signs escaped, what is between backticks left as code."""
    parts = re.split(r"(`+[^`]*`+)", " ".join(str(text).split()))
    return "".join(
        part.replace("|", r"\|") if part.startswith("`") else re.sub(r"([\\*_<>|\[\]{}$~#])", r"\\\1", part)
        for part in parts
    )


def code(value: object) -> str:
    """Return a value as code in a cell; nothing for an empty one."""
    text = str(value).replace("|", r"\|").replace("\n", " ")
    return f"`` {text} ``" if "`" in text else f"`{text}`" if text else ""


def docstring(text: str | None) -> tuple[list[str], dict[str, str]]:
    """Return a docstring as Markdown, what is set in from the margin as it stands, and apart its `Attributes`."""
    about, _, listed = inspect.cleandoc(text or "").partition("\nAttributes:\n")
    lines: list[str] = []
    for block in about.strip().split("\n\n"):
        rows = block.splitlines()
        if _SET_OUT.search(f"\n{block}"):
            before = list(itertools.takewhile(lambda row: not _SET_OUT.search(f"\n{row}"), rows))
            lines += [prose(" ".join(before)), "", "```text"]
            lines += [*textwrap.dedent("\n".join(rows[len(before) :])).splitlines(), "```", ""]
        else:
            lines += [prose(block), ""]
    fields: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(listed).splitlines():
        found = re.match(r"(\w+):\s(.*)", line)
        name, more = (found[1], found[2]) if found else (name, line.strip())
        fields[name] = f"{fields.get(name, '')} {more}".strip()
    return lines, fields


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, with an empty one behind it; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines, ""] if lines else []
