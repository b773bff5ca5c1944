"""`silhouette ret-meta`: several names after one option, one line for what is wrong, a report for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.cli_ret_meta import repeated
from silhouette.contracts import ret_meta
from silhouette.database import connect
from silhouette.store import Store
from tests.download_pictures.faulty_service import FaultyService, Served, refusal
from tests.ret_meta_world import World

GROUPS = ["summer test", 'лето/пляж "1"', "test"]


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def service(
    environ: dict[str, str], fresh_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[FaultyService]:
    """A service with the first group, and a world in which its pictures are known; commands work there."""
    with connect() as connection:
        connection.execute("TRUNCATE segmentations, people, badlist, labels, datasets, groups, ret_meta_posts")
        world = World(fresh_store, connection, tmp_path)
        for number, group in enumerate(GROUPS):
            world.add(f"p{number}", "red", groups=[group])
        world.write()
        models = {group: world.model(group=group).model_dump(exclude_defaults=True) for group in GROUPS}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"models": models}, allow_unicode=True), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILHOUETTE_CONFIG", str(tmp_path / "mine.yaml"))
    monkeypatch.setenv("SILHOUETTE_S3_BUCKET", fresh_store.bucket)
    with FaultyService({f"p{number}": Served(data=b"x") for number in range(3)}, group=GROUPS[0]) as opened:
        for name, value in opened.environment.items():
            monkeypatch.setenv(name, value)
        yield opened


@pytest.mark.parametrize("command", ["build", "post", "schema"])
def test_every_command_says_what_it_does(command: str) -> None:
    assert len(say("ret-meta", command, "--help").output.splitlines()[2].strip()) > 20


@pytest.mark.parametrize(
    "spelt",
    [
        ["--groups", *GROUPS],
        ["--groups", GROUPS[0], "--groups", *GROUPS[1:]],
        [*(word for group in GROUPS for word in ("--groups", group))],
        [f"--groups={GROUPS[0]}", "-g", *GROUPS[1:]],
        ["--groups", *GROUPS, "--segmenter", "aa"],
        ["--segmenter", "aa", "--groups", *GROUPS],
    ],
)
def test_groups_may_be_spelt_in_any_way(service: FaultyService, spelt: list[str]) -> None:
    report = json.loads(say("--json", "ret-meta", "build", *spelt).stdout)
    assert (report["groups"], report["new"]) == (GROUPS, 3)


@given(st.lists(st.text().filter(lambda name: not name.startswith("-")), min_size=1))
def test_names_after_one_option_are_the_same_as_the_option_repeated(names: list[str]) -> None:
    once = ["--dry-run", "--groups", *names, "--ask"]
    assert repeated(once) == ["--dry-run", *(word for name in names for word in ("--groups", name)), "--ask"]
    assert repeated(repeated(once)) == repeated(once)


def test_a_report_for_people_and_the_files_of_a_run(service: FaultyService, tmp_path: Path) -> None:
    done = say("ret-meta", "build", "--groups", "summer test", "test")
    assert "new             2" in done.stdout
    assert {path.name for path in (tmp_path / ".silhouette/work/ret_meta").iterdir()} == {
        "manifest.json", "documents.csv"
    }  # fmt: skip


def test_post_tells_what_it_did_and_what_it_would_do(service: FaultyService) -> None:
    say("ret-meta", "build", "--groups", "summer test")
    dry = say("ret-meta", "post", "--groups", "summer test", "--dry-run")
    assert "p0\n    new: 1 person; the main one: " in dry.stdout
    assert service.puts.total() == 0
    report = json.loads(say("--json", "ret-meta", "post", "--groups", "summer test").stdout)
    assert (report["posted"], report["known"], report["failed"], report["service"]) == (1, 0, {}, service.url)


def test_a_partial_failure_is_named_and_ends_with_exit_code_1(service: FaultyService) -> None:
    service.classes = ("red", "green", "blue")
    say("ret-meta", "build", "--groups", "summer test")
    service.fail_document("p0", refusal(422, "bad", "no such class"))
    done = say("ret-meta", "post", "--groups", "summer test", code=1)
    assert "p0: the picture service at" in done.stderr
    assert "answered 422: no such class" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: every document must arrive, 1 did not (1 refused)")
    assert "posted" in done.stdout
    say("ret-meta", "post", "--groups", "summer test")


@pytest.mark.parametrize("command", ["build", "post"])
def test_an_unknown_group_is_one_line(service: FaultyService, command: str) -> None:
    done = say("ret-meta", command, "--groups", "nobody", code=1)
    assert done.stderr.startswith("error: a group must have been downloaded, 'nobody' was not")
    assert len(done.stderr.splitlines()) == 1


def test_the_schema_is_printed_for_people_and_machines() -> None:
    assert json.loads(say("ret-meta", "schema").stdout) == ret_meta.json_schema()
    assert json.loads(say("--json", "ret-meta", "schema").stdout) == ret_meta.json_schema()
