"""Every command and option that the README and the documentation show is one that there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from silhouette.cli import app

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
ROOT = typer.main.get_command(app)


def shown(page: Path) -> Iterator[str]:
    """Yield the commands in code blocks and in code spans."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:sh|bash|console)?\n(.*?)```", text, flags=re.DOTALL):
        yield from (line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def words_of(line: str) -> list[str]:
    """Return a line's words up to a comment or the next program, without variables before the program."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a sentence with an apostrophe
        return []
    end = next((number for number, word in enumerate(words) if word in ("|", "&&", ";", ">")), len(words))
    words = words[:end]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def unknown(words: list[str]) -> str:
    """Return the first word that is no command or option of `silhouette`, or nothing."""
    command: Any = ROOT  # typer brings a click of its own
    path = ["silhouette"]
    for word in words[1:]:
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("--"):
            if word.split("=")[0] not in options | {"--help"}:
                return f"{' '.join(path)} has no option {word}"
        elif hasattr(command, "commands") and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in command.commands:
                return f"{' '.join(path)} has no command {word}"
            command = command.commands[word]
            path.append(word)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_silhouette_command_of_a_page_is_one(page: Path) -> None:
    lines = [words for words in map(words_of, shown(page)) if words and words[0] == "silhouette"]
    assert [told for told in map(unknown, lines) if told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_of_a_page_is_one(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    lines = [words for words in map(words_of, shown(page)) if words and words[0] == "make"]
    asked = {word for words in lines for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
    assert asked - targets == set()


def test_the_pages_show_commands_at_all_and_a_wrong_one_is_noticed() -> None:
    assert sum(words[:1] == ["silhouette"] for page in PAGES for words in map(words_of, shown(page))) > 60
    assert unknown(["silhouette", "segment", "--process_all"]) == "silhouette segment has no option --process_all"
    assert unknown(["silhouette", "masks", "exprot"]) == "silhouette masks has no command exprot"
    assert unknown(["silhouette", "segment", "--process-all"]) == ""
