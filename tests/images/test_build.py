"""Images are built parents first, by the engine that is there, under the names that the pipelines name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from images import build, sbom
from silhouette import containers
from silhouette.errors import InputError, ServiceError


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH; the programs in it are all that is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_parents_come_first() -> None:
    assert build.with_parents(["yolo"]) == ["cpu", "torch", "yolo"]
    assert build.with_parents(["triton", "cpu"]) == ["cpu", "triton"]


def test_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="must be one of cpu, torch, yolo, triton, got 'gpu'"):
        build.with_parents(["gpu"])


def test_without_an_engine_the_message_names_the_three(bin_folder: Path) -> None:
    with pytest.raises(ServiceError, match="docker, podman, buildah: none is on the PATH; install or start one"):
        build.find_engine()


def test_engine_that_does_not_answer_is_named_with_its_reason(bin_folder: Path) -> None:
    program(bin_folder, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(ServiceError, match="docker is installed and says: Cannot connect"):
        build.find_engine()


def test_next_engine_is_taken_when_the_first_does_not_answer(bin_folder: Path) -> None:
    program(bin_folder, "docker", "exit 1")
    program(bin_folder, "buildah", "exit 0")
    assert build.find_engine().name == "buildah"


def test_image_that_fails_to_build_stops_the_rest(bin_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    program(bin_folder, "docker", f'echo "$1" >> {log}; test "$1" = info')
    with pytest.raises(ServiceError, match=r"docker must build silhouette/cpu:\S+, it failed"):
        build.build(["torch"])
    assert log.read_text().split() == ["info", "image", "build"]


def test_each_build_is_given_the_arguments_that_its_file_asks_for() -> None:
    bases = build.read_bases()
    words = build.build_words("torch", bases=bases, registry="r.example/x/", more=["--network=host"])
    assert f"PARENT=r.example/x/{containers.image_reference('cpu')}" in words
    assert not [word for word in words if word.startswith(("PYTHON_BASE=", "TRITON_BASE="))]
    assert words[-2:] == ["--network=host", str(build.ROOT)]
    assert f"r.example/x/{containers.image_reference('torch')}" in words
    assert f"PYTHON_BASE={bases['PYTHON_BASE']}" in build.build_words("cpu", bases=bases, registry="", more=())


@pytest.mark.parametrize(
    ("reference", "floats"),
    [
        ("python", True),
        ("python:latest", True),
        ("host:5000/python", True),
        ("host:5000/python:3.11.14", False),
        ("python:3.11.14-slim", False),
        ("python@sha256:" + "a" * 64, False),
    ],
)
def test_floating_base_is_told(reference: str, floats: bool) -> None:
    assert build.is_floating(reference) is floats


def test_floating_base_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bases.env").write_text("# why\nPYTHON_BASE=python:latest\n")
    with pytest.raises(InputError, match="PYTHON_BASE must be name:version"):
        build.read_bases(tmp_path / "bases.env")


@pytest.mark.parametrize("image", containers.PARENTS)
@pytest.mark.parametrize("entering", ["images/bases.env", "images/{image}/Dockerfile"])
def test_tag_changes_with_what_enters_the_image(
    image: str, entering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("components/silhouette", "config", "images"):
        shutil.copytree(build.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(containers, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(containers, "_PACKAGE", tmp_path / "components" / "silhouette")
    compute = containers.image_reference.__wrapped__
    before = compute(image)
    path = tmp_path / entering.format(image=image)
    path.write_text(path.read_text() + "\n# changed\n")
    assert compute(image) != before


def test_tag_of_triton_does_not_change_with_our_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = containers.image_reference.__wrapped__("triton")
    monkeypatch.setattr(containers, "_PACKAGE", tmp_path)
    assert containers.image_reference.__wrapped__("triton") == before


def test_bill_of_material_names_every_pin_of_the_lock_with_its_hashes() -> None:
    document = sbom.of_lock(sbom.lock_of("cpu"))
    parts = {part["name"]: part for part in document["components"]}
    assert {"numpy", "kfp", "minio"} <= parts.keys()
    assert parts["kfp"]["purl"].startswith("pkg:pypi/kfp@2.17.0")
    assert "hashes" in json.dumps(parts["kfp"])


def test_bill_of_material_lists_debian_packages_by_their_address() -> None:
    (part,) = sbom.debian_components("libstdc++6\t12.2.0-14+deb12u1\tamd64\n")
    assert part["purl"] == "pkg:deb/debian/libstdc++6@12.2.0-14%2Bdeb12u1?arch=amd64"


def test_command_line_says_the_reason_in_one_line_and_exits_with_1() -> None:
    done = subprocess.run([sys.executable, "-m", "images.build", "gpu"], cwd=build.ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: an image must be one of")
    assert len(done.stderr.splitlines()) == 1
