"""The segmentation pipeline whole, as `make run PIPELINE=segmentation` runs it: with extra workers and with none.

And on what it left the search pipeline, whose workers share a study.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from pipelines import embedded
from samples.make import make_samples
from silhouette.config import load_config
from tests.pipelines.test_training_run import CHECKOUT, sorted_by_class

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
PICTURES = 140  # more than a worker claims at once


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("segmentation") / "state"
    yield folder
    embedded.down(folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("drawn")
    make_samples(made, count=PICTURES, seed=7)
    return sorted_by_class(made, tmp_path_factory.mktemp("source"))


def _run(state: Path, source: Path, args: str = "", *, pipeline: str = "segmentation") -> str:
    program = [sys.executable, "-m", "pipelines.local", "--pipeline", pipeline, "--group", "Лето 1"]
    done = subprocess.run(
        [*program, "--source", str(source), "--args", args],
        cwd=CHECKOUT,
        env={**os.environ, "SILHOUETTE_STATE_DIR": str(state), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_workers_share_the_pictures_and_a_run_without_them_finds_nothing_left(state: Path, source: Path) -> None:
    shared = _run(state, source, "extra_workers='[1, 2]'")
    assert len(re.findall("^▸ Segment people", shared, re.MULTILINE)) == 3
    assert re.search(rf"^segmented +{PICTURES} new, ", shared, re.MULTILINE)
    by_worker = [int(count) for count in re.findall(r"segmented (\d+) pictures", shared)]
    assert sum(by_worker) == PICTURES  # none twice
    assert re.search(r"^people +\d+ on 140 pictures", shared, re.MULTILINE)
    assert "segmentation succeeded; recorded as runs/segmentation/" in shared
    with psycopg.connect(embedded.environment(state)["SILHOUETTE_POSTGRES_DSN"]) as connection:
        rows = connection.execute("SELECT count(*), count(DISTINCT picture_sha256) FROM segmentations").fetchone()
    assert rows == (PICTURES, PICTURES)
    alone = _run(state, source, "extra_workers='[]'")
    assert len(re.findall("^▸ Segment people", alone, re.MULTILINE)) == 1
    assert re.search(rf"^segmented +0 new, {PICTURES} known", alone, re.MULTILINE)


def test_workers_search_for_a_recipe_together(state: Path, source: Path) -> None:
    asked = "trials=2 epochs=1 batch_size=32 backbone=random:test_efficientnet parameters=learning_rate,mixup"
    done = _run(state, source, f"{asked} extra_workers='[1]'", pipeline="search")
    assert len(re.findall("^▸ Try recipes", done, re.MULTILINE)) == 2
    assert re.search("^trials +2, [0-9] given up early; val macro-F1 [01][.][0-9]{3} at best", done, re.MULTILINE)
    (tuned,) = re.findall("^recipe +(.*tuned.yaml)", done, re.MULTILINE)
    found = yaml.safe_load(Path(tuned).read_text())["training"]
    assert set(found) == {"learning_rate", "mixup"}
    assert load_config({"SILHOUETTE_CONFIG": tuned}).training.learning_rate == found["learning_rate"]
    with psycopg.connect(embedded.environment(state)["SILHOUETTE_POSTGRES_DSN"]) as connection:
        assert connection.execute("SELECT count(*) FROM search.trials WHERE state = 'COMPLETE'").fetchone() == (2,)
