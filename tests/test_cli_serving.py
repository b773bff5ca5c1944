from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.serving import world


@pytest.fixture(scope="module")
def group(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = world.serve(tmp_path_factory.mktemp("served"), "our colours", store=served_store, triton=triton)
    yield "our colours"
    world.withdraw(made, store=served_store, triton=triton)


@pytest.fixture(autouse=True)
def _addresses(
    environ: dict[str, str], served_store: Store, triton_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SILHOUETTE_S3_BUCKET", served_store.bucket)
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in world.COLOURS:
        path = tmp_path / "my photos" / colour / "one.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(world.encoded(world.oval(colour), "PNG"))
    (tmp_path / "my photos" / "wall.png").write_bytes(world.encoded(np.full((80, 60, 3), 90, np.uint8), "PNG"))
    world.write_segmenter(tmp_path / "segmenter.onnx")
    return tmp_path / "my photos"


def infer(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["--json", "infer", "--model-path", "segmenter.onnx", *arguments])
    assert done.exit_code == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_infer_classifies_a_folder_by_a_groups_model_and_a_second_time_from_the_ledger(
    group: str, folder: Path, tmp_path: Path
) -> None:
    told = infer("--source", "my photos", "--group", group)
    assert (told["pictures"], told["people"], told["without_people"], told["labelled"], told["right"]) == (
        4,
        3,
        1,
        3,
        3,
    )
    assert (told["new"], told["is_complete"]) == (4, True)
    again = infer("--source", "my photos", "--group", group)
    assert (again["new"], again["pictures"]) == (0, 4)


def test_infer_keeps_to_the_badlist_from_one_run_to_the_next(group: str, folder: Path, tmp_path: Path) -> None:
    assert infer("--source", "my photos", "--group", group)["left_out"] == {}
    (tmp_path / "bad.txt").write_text("red/one.png\n")
    assert CliRunner().invoke(app, ["badlist", "push", "bad.txt"]).exit_code == 0
    told = infer("--source", "my photos", "--group", group)
    assert (told["left_out"], told["pictures"]) == ({"badlisted": ["red/one.png"]}, 3)
    assert CliRunner().invoke(app, ["badlist", "remove", "red/one.png"]).exit_code == 0


def test_infer_serves_a_bare_file_only_meanwhile(folder: Path, tmp_path: Path, triton: Triton) -> None:
    bundles.write_onnx(tmp_path / "mine.onnx", weights=(np.eye(3) * 9).astype(np.float32))
    before = {item.model for item in triton.index() if item.state == "READY"}
    told = infer("--source", "my photos", "--model", "mine.onnx")
    assert (told["people"], told["model"].startswith("mine (")) == (3, True)
    assert {item.model for item in triton.index() if item.state == "READY"} == before
    again = infer("--source", "my photos", "--model", "mine.onnx")
    assert again["new"] == 0, "the same file is the same model, whatever Triton called it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "infer must know what to classify"),
        (["--source", "my photos"], "infer must know which model answers"),
        (["--group", "unknown", "--shard", "2/2"], "a shard must be i/n with 0 <= i < n, got 2/2"),
        (["--group", "unknown", "--shard", "half"], "a shard must be i/n with 0 <= i < n, got 'half'"),
        (["--group", "unknown"], "run `silhouette download` first"),
        (["--source", "my photos", "--model", "missing.onnx"], "the model must exist"),
    ],
)
def test_infer_refuses_in_one_line(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["infer", *arguments])
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
