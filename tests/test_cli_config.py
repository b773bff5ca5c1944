"""`silhouette config` and `silhouette group` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.settings import OURS, VARIABLES

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands run in a folder of their own, with a configuration of their own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("training:\n  epochs: 20\n", encoding="utf-8")
    monkeypatch.setenv("SILHOUETTE_CONFIG", str(path))
    return path


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def test_every_value_is_shown_with_its_place(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_CONFIG__TRAINING__SEED", "5")
    shown = json.loads(say("--json", "config", "show").stdout)["configuration"]
    assert shown["training.epochs"] == {"value": 20, "from": f"{mine}, line 2"}
    assert shown["training.seed"] == {"value": 5, "from": "SILHOUETTE_CONFIG__TRAINING__SEED"}
    assert shown["training.batch_size"]["from"] == "shipped"
    assert shown["groups.outfit.classes"]["from"] == "shipped"
    lines = say("config", "show", "training").stdout.splitlines()
    assert all(line.startswith("training.") for line in lines)
    assert "got 'trainin'" in say("config", "show", "trainin", code=1).output


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_POSTGRES_DSN", "postgresql://me:hush1@localhost:5432/db")
    monkeypatch.setenv("SILHOUETTE_S3_SECRET_KEY", "hush2")
    monkeypatch.setenv("WANDB_API_KEY", "hush3")
    for output in (say("config", "show").output, say("--json", "config", "show").output):
        assert "hush" not in output
        assert "localhost:5432" in output


def test_a_check_lists_every_mistake(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"files over the shipped one: {mine}" in say("config", "check").stdout
    mine.write_text("training:\n  epoch: 3\n  seed: x\n", encoding="utf-8")
    monkeypatch.setenv("SILHOUETTE_S3_ENDPONT", "x")
    said = say("config", "check", code=1).output
    assert f"do you mean epochs? Correct it in {mine}, line 2" in said
    assert f"{mine}, line 3" in said
    assert "got SILHOUETTE_S3_ENDPONT; do you mean SILHOUETTE_S3_ENDPOINT?" in said


def test_a_group_is_added_once_and_listed(mine: Path) -> None:
    say("group", "add", "summer test", "--classes", "short sleeves", "--classes", "long sleeves")
    assert json.loads(say("--json", "group", "list").stdout)["summer test"] == ["short sleeves", "long sleeves"]
    assert "epochs: 20" in mine.read_text()
    again = ("group", "add", "summer test", "--classes", "a", "--classes", "b")
    assert "'summer test' is configured" in say(*again, code=1).output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "g", "--classes", "a"], "at least 2 items"),
        (["add", "g", "--classes", "a", "--classes", "a"], "a name of its own"),
        (["add", " ", "--classes", "a", "--classes", "b"], "must have a name"),
    ],
)
def test_a_group_that_cannot_be_is_one_line(arguments: list[str], told: str, mine: Path) -> None:
    assert told in say("group", *arguments, code=1).output
    assert mine.read_text() == "training:\n  epochs: 20\n"


def test_a_group_needs_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SILHOUETTE_CONFIG")
    add = ("group", "add", "g", "--classes", "a", "--classes", "b")
    assert "say --file or SILHOUETTE_CONFIG" in say(*add, code=1).output
    say(*add, "--file", str(tmp_path / "new.yaml"))
    assert (tmp_path / "new.yaml").read_text() == "groups:\n  g:\n    classes:\n    - a\n    - b\n"


def test_every_variable_that_the_code_reads_is_a_known_one() -> None:
    sources = [path for folder in ("components", "pipelines") for path in (CHECKOUT / folder).rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"\bSILHOUETTE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text())}
    assert {name for name in named if not name.startswith(OURS)} <= set(VARIABLES)
