"""The committed metadata pipeline, run through kfp.local as a laptop runs it, against a service on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import compile as compiler
from pipelines.load import parameters, required_environment
from silhouette.database import connect
from silhouette.store import Store
from tests.download_pictures.faulty_service import FaultyService, Served, refusal
from tests.ret_meta_world import World

CHECKOUT = Path(__file__).resolve().parents[2]
METADATA = compiler.COMPILED / "metadata.yaml"
GROUP = "summer “test” $1/Лето 'x' \"y\""
_RUN = """
import json, sys
from pathlib import Path
from kfp import local
from pipelines.load import load_pipeline
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], enable_caching=True)
load_pipeline(Path(sys.argv[1]), retries=False)(**json.loads(sys.argv[3]))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def service() -> Iterator[FaultyService]:
    with FaultyService({name: Served(data=b"x") for name in ("p0", "p1", "p2")}, group=GROUP) as opened:
        yield opened


@pytest.fixture(scope="module")
def environment(
    services_env: dict[str, str], store: Store, postgres_dsn: str, service: FaultyService,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:  # fmt: skip
    """A world with three pictures of one group, and where a step finds it."""
    folder = tmp_path_factory.mktemp("world")
    with connect(postgres_dsn) as connection:
        world = World(store, connection, folder)
        for name, colour in (("p0", "red"), ("p1", "green"), ("p2", "blue")):
            world.add(name, colour, [(colour, 80, 1.0)], groups=[GROUP])
        world.write()
        models = {GROUP: world.model(group=GROUP).model_dump(exclude_defaults=True)}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"models": models}, allow_unicode=True), encoding="utf-8")
    own = {"SILHOUETTE_S3_BUCKET": store.bucket, "SILHOUETTE_POSTGRES_DSN": postgres_dsn}
    return {**os.environ, **services_env, **service.environment, **own, "SILHOUETTE_CONFIG": str(folder / "mine.yaml")}


@pytest.fixture(scope="module")
def run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("runs")

    def start(**arguments: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _RUN, str(METADATA), str(root), json.dumps({"groups": [GROUP], **arguments})],
            cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return start


def test_its_parameters_say_what_and_its_environment_where() -> None:
    assert parameters(METADATA).keys() == {"groups", "accept_refused", "dry_run"}
    assert parameters(METADATA)["groups"]["parameterType"] == "LIST"
    needed = required_environment(METADATA)
    assert {"SILHOUETTE_POSTGRES_DSN", "SILHOUETTE_TRITON_URL", "SILHOUETTE_S3_ENDPOINT"} <= needed.keys()


def test_no_step_of_it_is_cached() -> None:
    spec = next(yaml.safe_load_all(METADATA.read_text(encoding="utf-8")))
    (inside,) = (content for name, content in spec["components"].items() if name.startswith("comp-exit-handler"))
    assert spec["root"]["dag"]["tasks"].keys() == {"exit-handler-1", "report-run"}
    tasks = inside["dag"]["tasks"]
    assert tasks.keys() == {"build-ret-meta", "post-ret-meta"}
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks.values())
    assert tasks["post-ret-meta"]["dependentTasks"] == ["build-ret-meta"]


def test_a_run_brings_every_document_to_the_service_once(run: Run, service: FaultyService) -> None:
    tried = run(dry_run=True)
    assert tried.returncode == 0, tried.stdout[-4000:] + tried.stderr[-2000:]
    assert service.puts.total() == 0
    service.fail_document("p1", refusal(422, "bad", "not today"))
    refused = run()
    assert refused.returncode == 1
    assert re.search(r"error: every document must arrive, 1 did not \(1 refused\)", refused.stdout + refused.stderr)
    for _ in range(2):
        done = run()
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert {name: len(found) for name, found in service.returned.items()} == {"p0": 1, "p1": 1, "p2": 1}
    assert service.puts.total() == 4
    sent = json.loads(service.returned["p1"][0].body)
    assert sent["people"][0]["predictions"][GROUP]["class"] == "green"
