"""The command line: it teaches, it answers for machines, and its refusals are one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.names import safe_key

CHECKOUT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "version", "download", "segment", "snapshot", "dataset", "train", "export", "evaluate", "deploy", "infer",
    "predict", "run", "badlist", "db", "config", "group", "reproduce", "tune", "wandb", "rollback", "status",
    "history", "reconcile", "review", "masks", "ret-meta", "pull", "explain",
]  # fmt: skip


def _silhouette(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from silhouette.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "components"), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_lists_every_command() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in COMMANDS if f"  {name} " not in listed] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()[2].strip()) > 20


def test_every_step_of_the_readme_is_a_command() -> None:
    lines = (CHECKOUT / "README.md").read_text().splitlines()
    used = {line.split()[1] for line in lines if line.startswith("silhouette ")}
    assert used
    assert used <= set(COMMANDS)


def test_missing_setting_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    done = _silhouette("download", "--group", "a", "--source", str(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: SILHOUETTE_S3_ENDPOINT must be set")
    assert len(done.stderr.splitlines()) == 1


def test_step_that_comes_too_early_names_the_one_before(tmp_path: Path) -> None:
    done = _silhouette("evaluate", "--group", "summer test", folder=tmp_path)
    assert done.returncode == 1
    assert "run `silhouette dataset` first" in done.stderr
    assert safe_key("summer test") in done.stderr


def test_run_outside_a_checkout_is_one_line(tmp_path: Path) -> None:
    done = _silhouette("run", folder=tmp_path)
    assert done.returncode == 1
    assert "must be started in a checkout" in done.stderr


def test_report_for_machines_is_json(tmp_path: Path, services_env: dict[str, str]) -> None:
    from samples.make import make_samples

    make_samples(tmp_path / "made", count=12, seed=3)
    for number, picture in enumerate(sorted((tmp_path / "made" / "pictures").glob("*.jpg"))):
        target = tmp_path / "source" / "ab"[number % 2] / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.rename(target)
    done = _silhouette(
        "--json", "download", "--group", "it's", "--source", str(tmp_path / "source"), folder=tmp_path, **services_env
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"a": 6, "b": 6}
