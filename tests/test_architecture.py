"""What import-linter reads in the code holds when the code runs: no torch in a cpu pod, nothing heavy behind --help."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "components" / "silhouette"
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
CPU_ROOMS = next(
    [name.removeprefix("silhouette.") for name in contract["source_modules"]]
    for contract in CONTRACTS
    if contract["name"].startswith("torch never")
)
HEAVY = {"torch", "torchvision", "lightning", "timm", "ultralytics"}
SLOW_TO_IMPORT = HEAVY | {"kfp", "cv2", "pyarrow", "onnxruntime", "sklearn", "matplotlib", "numpy", "psycopg", "minio"}


def modules_of(room: str) -> list[str]:
    paths = sorted((PACKAGE / room).rglob("*.py"))
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]


def imported_by(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh Python has loaded after importing `modules`."""
    program = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


CPU_MODULES = [module for room in CPU_ROOMS for module in modules_of(room)]


@pytest.mark.parametrize("room", CPU_ROOMS)
def test_room_has_a_component(room: str) -> None:
    assert f"silhouette.{room}.component" in CPU_MODULES


def test_rooms_of_the_cpu_image_import_no_torch() -> None:
    assert not imported_by(*CPU_MODULES) & HEAVY


def test_work_of_the_rooms_knows_no_kfp() -> None:
    assert "kfp" not in imported_by(*(name for name in CPU_MODULES if not name.endswith("component")))


def test_every_step_of_the_cpu_image_is_under_the_contract() -> None:
    specs = [
        next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "pipelines" / "compiled").glob("*.yaml"))
    ]
    steps = {
        label.removeprefix("exec-").replace("-", "_")
        for spec in specs
        for label, executor in spec["deploymentSpec"]["executors"].items()
        if re.search(r"(^|/)cpu:", executor["container"]["image"])
    }
    rooms = {step for step in steps if (PACKAGE / step).is_dir()}
    assert rooms == set(CPU_ROOMS)
    second = {
        "refuse_model",
        "classify_shard",
        "download_pixsets",
        "find_champion",
        "pictures_version",
    }  # steps of the rooms of their kind
    assert steps - rooms <= second


def test_command_line_imports_nothing_slow() -> None:
    assert not imported_by("silhouette.cli") & SLOW_TO_IMPORT


def test_every_contract_names_its_exceptions_by_module() -> None:
    for contract in CONTRACTS:
        assert "unmatched_ignore_imports_alerting" not in contract, "an exception that matches nothing must be an error"


def test_help_answers_without_the_checkout_and_without_services(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("silhouette")
    done = subprocess.run([command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
