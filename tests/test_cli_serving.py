from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.serving import world


@pytest.fixture(scope="module")
def group(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = world.serve(tmp_path_factory.mktemp("served"), "our colours", store=served_store, triton=triton)
    yield "our colours"
    world.withdraw(made, store=served_store, triton=triton)


@pytest.fixture(autouse=True)
def _addresses(triton_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SILHOUETTE_TRITON_URL", triton_url)
    monkeypatch.chdir(tmp_path)


def test_predict_tells_the_label_the_people_and_who_answered(group: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(world.encoded(world.oval("green")))
    done = CliRunner().invoke(app, ["predict", "photo.jpg", "--group", group])
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].startswith("green  0.")
    assert lines[1].startswith("  person 1 at 2")
    assert lines[1].endswith(", the main person")
    assert "_picture version 1" in lines[2]
    assert json.loads(CliRunner().invoke(app, ["--json", "predict", "photo.jpg", "-g", group]).stdout)["main"] == 0


def test_predict_says_when_nobody_is_there(group: str, tmp_path: Path) -> None:
    (tmp_path / "wall.png").write_bytes(world.encoded(np.full((80, 60, 3), 90, np.uint8), "PNG"))
    done = CliRunner().invoke(app, ["predict", "wall.png", "--group", group])
    assert done.stdout.startswith("nobody was found\n")


def test_predict_refuses_in_one_line(group: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture at all")
    for arguments, words in (
        (["notes.txt", "--group", group], "error: unsupported: a picture must be one of JPEG"),
        (["missing.jpg", "--group", group], "error: predict must be given a picture file, missing.jpg is none"),
        (["notes.txt", "--group", "unknown"], "does not have 'unknown_picture'"),
    ):
        done = CliRunner().invoke(app, ["predict", *arguments])
        assert done.exit_code == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
