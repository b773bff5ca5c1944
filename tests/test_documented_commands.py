"""Every command that README and documentation show is one that there is, with options and values that it takes.

Of `silhouette`, `make` and `kubectl` lines everything is checked that can be known without running them. The `curl`
lines are run by tests/serving and tests/pipelines; the reference is made from the code (tests/docs/test_build.py).
"""

from __future__ import annotations

import argparse
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from pipelines.arguments import given_pairs, parse_arguments
from pipelines.load import parameters
from silhouette import settings
from silhouette.cli import app

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
ROOT = typer.main.get_command(app)
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
PROGRAMS = {
    ".",
    "cp",
    "curl",
    "docker",
    "done",
    "for",
    "git",
    "kubectl",
    "label-studio-converter",
    "make",
    "silhouette",
}
OF_OTHERS = {"WANDB_API_KEY", "WANDB_MODE"}  # variables of W&B's own


def blocks(page: Path) -> Iterator[str]:
    """Yield the lines of a page's blocks of shell, those that go on below as one."""
    for block in re.findall(
        r"^ *```(?:sh|bash|console)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        yield from (line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines())


def shown(page: Path) -> Iterator[str]:
    """Yield the commands in code blocks and in code spans."""
    yield from blocks(page)
    text = page.read_text(encoding="utf-8")
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


def why_not(words: list[str]) -> str:
    """Return why `silhouette` would not take these words, or nothing; whether files are there is not asked."""
    command, rest = ROOT, words[1:]
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(command.name or "silhouette", list(rest), parent=context)
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    try:
        command.make_context(command.name or "", list(rest), parent=context)
    except TyperException as error:
        told = str(error)
        return "" if "does not exist" in told else f"{' '.join(words)}: {told}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_silhouette_command_of_a_page_is_one(page: Path) -> None:
    lines = [words for words in map(words_of, shown(page)) if words and words[0] == "silhouette"]
    assert [told for told in map(unknown, lines) if told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_silhouette_line_of_a_block_is_complete_and_its_values_are_taken(page: Path) -> None:
    lines = [
        words for words in map(words_of, blocks(page)) if words and words[0] == "silhouette" and "..." not in words
    ]
    assert [told for told in map(why_not, lines) if told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_and_variable_of_make_of_a_page_is_one(page: Path) -> None:
    targets = set(re.findall(r"^([a-z/-]+)(?:%)?:", MAKEFILE, flags=re.MULTILINE))
    variables = set(re.findall(r"\$[({](?:value )?([A-Z]+)\b", MAKEFILE))
    for words in map(words_of, shown(page)):
        if words[:1] != ["make"]:
            continue
        given = dict(word.split("=", 1) for word in words[1:] if re.match("[A-Z]+=", word))
        assert given.keys() - variables == set(), words
        asked = {re.sub(r"(?<=/).*", "", word) for word in words[1:] if re.fullmatch(r"[a-z][a-z/-]*", word)}
        assert asked - targets == set(), words
        if given.keys() & {"GROUP", "ARGS", "PIPELINE"} and "..." not in given.values():
            compiled = CHECKOUT / "pipelines" / "compiled" / f"{given.get('PIPELINE', 'training')}.yaml"
            options = argparse.Namespace(group=given.get("GROUP", ""), source="", model="", args=given.get("ARGS", ""))
            parse_arguments(given_pairs(options), parameters(compiled))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_kubectl_line_of_a_page_names_what_the_manifests_have(page: Path) -> None:
    manifests = [path.read_text(encoding="utf-8") for path in (CHECKOUT / "manifests").rglob("*.yaml")]
    names = set(re.findall(r"^ +name: ([\w-]+)$", "\n".join(manifests), flags=re.MULTILINE))
    for words in map(words_of, shown(page)):
        if words[:1] != ["kubectl"]:
            continue
        for flag, value in itertools.pairwise(words):
            if flag in ("-f", "-k"):
                assert (CHECKOUT / value).exists(), words
            elif flag == "-n":
                assert value in {*names, "kubeflow", "team"}, (
                    words
                )  # where Kubeflow is, and a space that a page has as an example
            elif flag == "-l":
                assert value.rpartition("=")[2] in names, words
        for kind, name in re.findall(r"(cronjob|deployment)[/ ]([\w-]+)", " ".join(words)):
            assert name in names, (kind, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_of_a_block_begins_with_a_program_that_is_known(page: Path) -> None:
    for words in filter(None, map(words_of, blocks(page))):
        if words[0] == ".venv/bin/python" and words[1] != "-m":
            assert (CHECKOUT / words[1]).is_file(), words
        else:
            assert words[0] in PROGRAMS, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_that_a_line_sets_is_read(page: Path) -> None:
    for line in shown(page):
        for name in re.findall(r"(?:^|export )([A-Z][A-Z_]+)=", line):
            known = {*settings.VARIABLES, *OF_OTHERS}
            assert name in known or name.startswith("SILHOUETTE_CONFIG__") or name in MAKEFILE, line


@pytest.mark.parametrize(
    "then",
    [
        "load_group.py --group", "load_json.py --json_path", "segment_builder.py --model_path",
        "segment_builder.py --process_all", "segment_builder.py --mark_approved", "push_badlist.py --badlist_path",
        "mask_builder.py --group", "check_database.ipynb", "train.py --cat NAME --epochs",
        "segment_meta_builder.py --groups", "post_ret_meta.py --groups", "`MODELS`", "`DATA/`, `MARKUP/masks`",
        "`TEST/inference`",
    ],
)  # fmt: skip
def test_every_script_and_flag_of_before_has_a_home(then: str) -> None:
    rows = (CHECKOUT / "docs" / "old_commands.md").read_text(encoding="utf-8").splitlines()
    (now,) = (row.split(" | ")[1] for row in rows if row.startswith("| ") and then in row.split(" | ")[0])
    assert "silhouette " in now


def test_the_pages_show_commands_at_all_and_a_wrong_one_is_noticed() -> None:
    assert sum(words[:1] == ["silhouette"] for page in PAGES for words in map(words_of, shown(page))) > 60
    assert unknown(["silhouette", "segment", "--process_all"]) == "silhouette segment has no option --process_all"
    assert unknown(["silhouette", "masks", "exprot"]) == "silhouette masks has no command exprot"
    assert unknown(["silhouette", "segment", "--process-all"]) == ""
    assert "Missing parameter: group" in why_not(["silhouette", "rollback"])
    assert "epochs" in why_not(["silhouette", "train", "--group", "g", "--epochs", "few"])
