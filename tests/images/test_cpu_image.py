"""The cpu image, really built: every room imports as its unprivileged user, and two steps of the pipeline run in it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from images.build import ROOT
from silhouette.containers import image_reference
from silhouette.store import Store
from tests.images import engine
from tests.loopback import jpeg

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]  # a base image and a build on a busy machine

STEPS = ("source-version", "download-pictures")
IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys, silhouette
apart = {"detector", "detector_export"}  # of the yolo image
rooms = {"segment_people", "train_classifier", "export_model"}  # of torch and yolo
names = []
for module in pkgutil.walk_packages(silhouette.__path__, "silhouette."):
    parts = module.name.split(".")
    # what KFP sees is for the checkout that compiles; migrations and env are alembic's
    # and picture_backend runs inside Triton, which brings its half of it
    elsewhere = parts[-1].endswith("component") or parts[-1] in ("containers", "env", "picture_backend")
    if elsewhere or parts[1] in apart | rooms:
        continue
    importlib.import_module(module.name)
    names.append(module.name)
print(len(names), *sorted(names))
assert not {"torch", "ultralytics", "lightning"} & set(sys.modules), "torch came along"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engine.daemon(tmp_path_factory.mktemp("engine")) as address:
        yield address


@pytest.fixture(scope="module")
def image(host: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    base = engine.base(host, tmp_path_factory.mktemp("base"))
    done = subprocess.run(
        [sys.executable, "-m", "images.build", "cpu", "--", "--network=host"],
        cwd=ROOT, env={**os.environ, "DOCKER_HOST": host, "PYTHON_BASE": base}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return image_reference("cpu")


def run(host: str, image: str, *words: str) -> str:
    """Run a program in the image as a pod would: no root, a read-only root, /tmp to write to, no network."""
    read_only = ["--read-only", "--tmpfs=/tmp:mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    return engine.docker("run", "--rm", "--network=none", *read_only, image, *words, host=host, timeout_s=300)


def test_every_room_imports_as_the_unprivileged_user_on_a_read_only_root(host: str, image: str) -> None:
    count, *names = run(host, image, "python3", "-c", IMPORT_ALL).split()
    assert int(count) > 50
    assert {"silhouette.classify_pictures.classify", "silhouette.database.reviews", "silhouette.store"} <= set(names)
    assert run(host, image, "id", "-u").strip() == "1000"


def test_image_holds_no_compiler_no_cache_and_no_source_but_the_package(host: str, image: str) -> None:
    programs = run(host, image, "ls", "/usr/bin", "/opt/silhouette/bin").split()
    assert "silhouette" in programs
    assert not {"gcc", "cc", "g++", "make", "pip"} & set(programs)
    found = run(host, image, "sh", "-c", "ls -d /build /root/.cache 2>/dev/null || true")
    assert found.split() == []


def test_image_says_what_it_is(host: str, image: str) -> None:
    (described,) = json.loads(engine.docker("image", "inspect", image, host=host))
    labels = described["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == image.rpartition(":")[2]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    bill = json.loads((ROOT / "build" / "sbom" / "cpu.cdx.json").read_text())
    names = {part["name"] for part in bill["components"]}
    assert {"numpy", "kfp"} <= names  # of the lock
    assert {"libc6", "base-files"} <= names  # of Debian


def two_steps() -> str:
    """The compiled training pipeline without all but its first two steps, inside the handler that reports a run."""
    documents: list[dict[str, Any]] = list(
        yaml.safe_load_all((ROOT / "pipelines" / "compiled" / "training.yaml").read_text(encoding="utf-8"))
    )
    spec, platform = documents
    handler = spec["root"]["dag"]["tasks"]["exit-handler-1"]
    spec["root"]["dag"] = {"tasks": {"exit-handler-1": handler}}
    inside = spec["components"][handler["componentRef"]["name"]]
    inside["dag"] = {"tasks": {name: inside["dag"]["tasks"][name] for name in STEPS}}
    for task in inside["dag"]["tasks"].values():
        task.pop("retryPolicy", None)
    kept = {task["componentRef"]["name"] for task in (handler, *inside["dag"]["tasks"].values())}
    spec["components"] = {name: value for name, value in spec["components"].items() if name in kept}
    labels = {value["executorLabel"] for value in spec["components"].values() if "executorLabel" in value}
    executors = spec["deploymentSpec"]["executors"]
    spec["deploymentSpec"]["executors"] = {name: value for name, value in executors.items() if name in labels}
    platforms = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] = {
        name: value for name, value in platforms.items() if name in labels
    }
    return yaml.safe_dump_all(documents, sort_keys=False)


def test_two_steps_of_the_compiled_pipeline_run_in_the_image(
    host: str, image: str, environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        label = "skirt" if number % 2 else "trousers"
        store.put_bytes(f"source/{label}/{number}.jpg", jpeg(number, width=300, height=300))
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)  # the image's user is not ours, and must reach the folders that KFP makes here
    monkeypatch.setenv("DOCKER_HOST", host)
    program = tmp_path / "run.py"
    program.write_text(RUN)
    (tmp_path / "two.yaml").write_text(two_steps())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    names = sorted(name for name in environ if name.startswith("SILHOUETTE_"))
    words = [str(tmp_path / "two.yaml"), str(root), f"s3://{store.bucket}/source", *names]
    done = subprocess.run([sys.executable, program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert f"Found image {image!r}" in done.stdout

    (table,) = root.rglob("download-pictures/dataset/dataset.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["label"] for row in rows) == ["skirt"] * 6 + ["trousers"] * 6
    assert len(list(store.list_keys("pictures/"))) == 12
    metadata = next(root.rglob("download-pictures/executor_output.json"), None)
    assert metadata is not None
    version = json.loads(metadata.read_text())["artifacts"]["dataset"]["artifacts"][0]["metadata"]["version"]
    assert len(version) == 64


RUN = """
import os, sys
from kfp import components, local
pipeline, root, source, *names = sys.argv[1:]
local.init(
    runner=local.DockerRunner(
        network_mode="host", read_only=True, tmpfs={"/tmp": "mode=1777"}, cap_drop=["ALL"],
        environment={name: os.environ[name] for name in names},
    ),
    pipeline_root=root,
)
components.load_component_from_file(pipeline)(group="in an image", source=source, gpus=0)
"""
