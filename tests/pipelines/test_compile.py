"""The committed pipelines are what the code compiles to, and an image's tag says what is in it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines import compile as compiler
from silhouette import containers

CHECKOUT = Path(__file__).resolve().parents[2]


def test_committed_pipelines_are_fresh() -> None:
    assert compiler.stale_pipelines() == []


def test_a_changed_file_is_named_as_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(compiler.COMPILED, tmp_path / "compiled")
    committed = tmp_path / "compiled" / "training.yaml"
    committed.write_text(committed.read_text().replace("Download pictures", "Fetch pictures"))
    monkeypatch.setattr(compiler, "COMPILED", tmp_path / "compiled")
    assert compiler.stale_pipelines() == ["training.yaml"]


def test_every_step_runs_in_one_of_three_images_tagged_by_content() -> None:
    spec = next(yaml.safe_load_all((compiler.COMPILED / "training.yaml").read_text()))
    images = {executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}
    assert images == {containers.image_reference(name) for name in ("cpu", "torch", "yolo")}


def test_tag_changes_with_the_code_and_not_with_docs_or_tests(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("components", "config", "images"):
        shutil.copytree(CHECKOUT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))

    def tag() -> str:
        code = "from silhouette.containers import image_reference; print(image_reference('cpu'))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=clone,
            env={"PYTHONPATH": str(clone / "components"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    first = tag()
    (clone / "docs").mkdir()
    (clone / "docs" / "page.md").write_text("new")
    (clone / "images" / "torch" / "requirements.lock").write_text("another torch\n")
    assert tag() == first
    with (clone / "components" / "silhouette" / "names.py").open("a") as file:
        file.write("# a change\n")
    assert tag() != first
