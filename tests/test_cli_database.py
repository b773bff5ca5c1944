"""`silhouette badlist` and `silhouette db` say what they did, to people and to machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.database import badlist, connect, labels, reviews, segmentations
from silhouette.database.reviews import Verdict
from silhouette.database.segmentations import Segmentation
from silhouette.store import Store
from tests.segment_people import pictures

MODEL = "a" * 64


@pytest.fixture(autouse=True)
def database(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Commands run in a folder of their own, on this module's database, which is empty."""
    monkeypatch.chdir(tmp_path)
    with connect() as connection:
        connection.execute("TRUNCATE segmentations, people, badlist, labels, datasets, groups")
    return environ["SILHOUETTE_POSTGRES_DSN"]


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def as_json(*arguments: str) -> Any:
    return json.loads(say("--json", *arguments).stdout)


def fill() -> list[str]:
    rows = [pictures.row(f"picture {number}", b"%d" % number) for number in range(3)]
    with connect() as connection:
        labels.replace(connection, group="лето", dataset_digest="d" * 64, pictures=rows)
        found = [Segmentation(picture_sha256=row.sha256, width=1, height=1, people=()) for row in rows[:2]]
        segmentations.add(connection, model_digest=MODEL, found=found)
        verdict = Verdict(
            picture_sha256=rows[0].sha256, model_digest=MODEL, status="nobody", revision=0, reviewer="anna"
        )
        reviews.decide(connection, [verdict])
    return [row.picture_id for row in rows]


@pytest.mark.parametrize(
    "command", [("badlist", "push"), ("badlist", "list"), ("badlist", "remove"), ("db", "report"), ("db", "upgrade")]
)
def test_every_command_says_what_it_does(command: tuple[str, ...]) -> None:
    assert len(say(*command, "--help").output.splitlines()[2].strip()) > 20


def test_a_pushed_file_is_reported_with_what_is_odd_about_it(tmp_path: Path) -> None:
    known = fill()[0]
    (tmp_path / "bad.txt").write_text(f"# why\n\n{known}\nnew\n{known}\nesc\x1b[2J\n")
    said = say("badlist", "push", "bad.txt", "--by", "anna", "--reason", "no consent").output
    assert said.splitlines() == [
        "3 listed: 3 new on the badlist, 0 on it before",
        "repeated: picture 0 in lines 3, 5",
        "unknown so far, listed all the same: 2: 'esc\\x1b[2J', new",
    ]
    again = as_json("badlist", "push", "bad.txt", "--by", "boris")
    assert again == {
        "listed": 3, "added": 0, "known": 3, "repeated": {known: [3, 5]}, "unknown": 2,
        "unknown_examples": ["esc\x1b[2J", "new"],
    }  # fmt: skip
    listed = as_json("badlist", "list")
    assert [(item["picture_id"], item["added_by"], item["reason"]) for item in listed] == [
        ("esc\x1b[2J", "anna", "no consent"), ("new", "anna", "no consent"), (known, "anna", "no consent"),
    ]  # fmt: skip
    assert "\x1b" not in say("badlist", "list").output


def test_the_login_here_is_the_author_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "clara")
    (tmp_path / "bad.txt").write_text("a\n")
    say("badlist", "push", "bad.txt")
    assert as_json("badlist", "list")[0]["added_by"] == "clara"


def test_a_badlist_may_be_in_the_store(store: Store) -> None:
    store.put_bytes("inputs/bad.txt", b"a\nb\n")
    assert as_json("badlist", "push", f"s3://{store.bucket}/inputs/bad.txt")["added"] == 2


def test_an_id_that_is_not_on_the_list_is_told_when_it_is_removed(database: str) -> None:
    with connect() as connection:
        badlist.add(connection, ["a", "b"])
    assert say("badlist", "remove", "a", "z").output == "1 off the badlist\n1 were not on it: z\n"
    assert as_json("badlist", "remove", "a", "b") == {"removed": ["b"], "not_listed": ["a"]}
    assert say("badlist", "list").output == "the badlist is empty\n"
    assert as_json("badlist", "list") == []


def test_what_cannot_be_pushed_is_one_line_and_nothing_is_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "good.txt").write_text("a\n")
    (tmp_path / "bad.txt").write_bytes(b"a\n\xff\n")
    for arguments, message in (
        (["missing.txt"], "error: a badlist must be a readable file"),
        (["empty.txt"], "error: a badlist must list at least one picture id"),
        (["bad.txt"], "error: bad.txt:2: a badlist must be UTF-8"),
        (["good.txt", "--reason", "x" * 2001], "error: the reason must have at most 2000 characters"),
        (["s3://bucket"], "error: an address in S3 must be s3://bucket/key"),
    ):
        done = say("badlist", "push", *arguments, code=1)
        assert done.stderr.startswith(message)
        assert len(done.stderr.splitlines()) == 1
    assert as_json("badlist", "list") == []


def test_counts_are_a_table_for_people_and_json_for_machines(database: str) -> None:
    assert say("db", "report").output == "no group has been downloaded\n"
    fill()
    with connect() as connection:
        badlist.add(connection, ["picture 1"])
    assert say("db", "report").output == (
        "лето: 3 pictures (3 dress), 3 by content, 1 on the badlist\n\n"
        "group  model         status         pictures  people  < day  < week  < month  older\n"
        "лето   aaaaaaaaaaaa  unchecked             1       0      1       0        0      0\n"
        "лето   aaaaaaaaaaaa  nobody                1       0      1       0        0      0\n"
        "лето   aaaaaaaaaaaa  not_segmented         1       0\n"
    )
    (group,) = as_json("db", "report", "--group", "лето")["groups"]
    assert (group["group"], group["pictures"], group["labels"]) == ("лето", 3, {"dress": 3})
    assert group["statuses"][1] == {
        "model_digest": MODEL, "status": "nobody", "pictures": 1, "people": 0,
        "by_age": {"day": 1, "week": 0, "month": 0, "older": 0},
    }  # fmt: skip
    assert "group 'other' must have been downloaded" in say("db", "report", "-g", "other", code=1).stderr


def test_the_counts_come_as_a_page_as_well(database: str, tmp_path: Path, store: Store) -> None:
    for row in fill():
        assert row
    store.put_bytes(pictures.row("picture 0", b"0").object_key, b"no picture")
    assert say("db", "report", "--gallery", "g.html").output.endswith("\ng.html: 2 pictures shown\n")
    assert "лето" in (tmp_path / "g.html").read_text(encoding="utf-8")
    assert (
        "--samples must be from 1 to 200" in say("db", "report", "--gallery", "g.html", "--samples", "0", code=1).stderr
    )


def test_a_login_without_the_right_is_told_which_role_it_needs(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.database.conftest import login

    (tmp_path / "bad.txt").write_text("a\n")
    with login(database, role="silhouette_read") as dsn:
        monkeypatch.setenv("SILHOUETTE_POSTGRES_DSN", dsn)
        say("db", "report")
        assert "must have the rights of this step" in say("badlist", "push", "bad.txt", code=1).stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM badlist").fetchone() == (0,)
