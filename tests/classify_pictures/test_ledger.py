# ruff: noqa: F811 - fixtures are imported, and asked for by their names
"""Killed runs, shards, and that each picture has its row exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from silhouette.classify_pictures.classify import REPORT_NAME, Shard
from silhouette.contracts import predictions
from silhouette.errors import InputError
from silhouette.store import Store
from tests.classify_pictures.test_classify import (  # noqa: F401 - fixtures
    COLOURS,
    Classify,
    Group,
    classify,
    config,
    group,
    model,
)

CHUNK, PICTURES = 8, 90


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ledger", "classify"):
        monkeypatch.setattr(f"silhouette.classify_pictures.{module}.CHUNK", CHUNK)


@pytest.fixture
def given(group: Group) -> dict[str, Any]:
    group.name = f"many {random.getrandbits(40):x}"
    names = list(COLOURS)
    for number in range(PICTURES):
        people = [(names[number % 3], 40, 0.6), (names[(number + 1) % 3], 110, 1.0)][: number % 4]
        group.add(f"p{number:03d}", names[number % 3], people)
    group.add("p900", "red", [], data=b"\xff\xd8\xff cut")
    return group.write()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def each_once(folder: Path) -> None:
    rows = predictions.read(folder)
    assert [row.picture_id for row in rows if row.is_main] == [f"p{number:03d}" for number in range(PICTURES)]
    assert max(Counter((row.picture_id, row.person_index) for row in rows).values()) == 1
    assert pq.read_table(folder / predictions.PARQUET_NAME).to_pylist() == [vars(row) for row in rows]


def same_but_for_rounding(folder: Path, other: Path) -> None:
    """Compare two runs: a kill cuts batches otherwise, and the last digit of a probability may follow the batch."""
    ours, theirs = (predictions.read(place) for place in (folder, other))
    assert [{**vars(row), "probability": 0} for row in ours] == [{**vars(row), "probability": 0} for row in theirs]
    assert [row.probability for row in ours] == pytest.approx([row.probability for row in theirs], abs=1e-4)
    each_once(folder)
    assert files_of(folder).keys() == files_of(other).keys()
    assert (folder / REPORT_NAME).read_bytes() == (other / REPORT_NAME).read_bytes()


def run_process(settings: dict[str, Any], environ: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.classify_pictures.killed_run", json.dumps(settings, default=str)]
    return subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.PIPE)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_each_picture_has_its_rows_exactly_once(
    classify: Classify, given: dict[str, Any], small_chunks: None, tmp_path: Path, served_store: Store,
    model: str, services_env: dict[str, str], triton_url: str, seed: int,
) -> None:  # fmt: skip
    environ = {**services_env, "SILHOUETTE_TRITON_URL": triton_url}
    settings = {
        "model": model, "out": tmp_path / "killed", "dataset": given["dataset"], "chunk": CHUNK, "slow_s": 0.5,
        "snapshot_digest": given["snapshot_digest"], "shard": 0, "shards": 1,
    }  # fmt: skip
    chance, kills = random.Random(seed), 0
    for attempt in range(20):
        process = run_process(settings, environ)
        try:
            process.wait(timeout=chance.uniform(1.0, 2.0) + 0.2 * attempt)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        _, said = process.communicate()
        if process.returncode == 0:
            break
    assert (process.returncode, kills >= 2) == (0, True), said.decode()
    each_once(tmp_path / "killed")
    report = classify(**given, out=tmp_path / "again")
    assert report.new == 0, "all of it was in the ledger"
    assert files_of(tmp_path / "again") == files_of(tmp_path / "killed")
    for key in list(served_store.list_keys(f"{report.key}/")):
        served_store.remove(key)
    assert classify(**given, out=tmp_path / "at once").new == PICTURES + 1
    same_but_for_rounding(tmp_path / "at once", tmp_path / "killed")


def test_shards_meet_in_the_store_and_the_last_one_merges(
    classify: Classify,
    given: dict[str, Any],
    small_chunks: None,
    tmp_path: Path,
    served_store: Store,
) -> None:
    whole = classify(**given, out=tmp_path / "whole")
    for key in list(served_store.list_keys(f"{whole.key}/")):
        served_store.remove(key)
    reports = [
        classify(**given, out=tmp_path / str(number), shard=Shard(number=number, count=3)) for number in (2, 0, 1)
    ]
    assert [report.is_complete for report in reports] == [False, False, True]
    assert sum(report.new for report in reports) == PICTURES + 1
    assert sum(report.pictures for report in reports[:2]) < PICTURES
    assert files_of(tmp_path / "1") == files_of(tmp_path / "whole")
    each_once(tmp_path / "1")
    assert served_store.get_bytes(f"{whole.key}/predictions.csv") == (tmp_path / "1/predictions.csv").read_bytes()


def test_more_shards_than_chunks_leave_nothing_to_some(
    classify: Classify,
    given: dict[str, Any],
    tmp_path: Path,
) -> None:
    assert classify(**given, shard=Shard(number=4, count=5)).pictures == 0
    assert classify(**given, shard=Shard(number=0, count=5)).is_complete


@pytest.mark.parametrize(("number", "count"), [(1, 1), (-1, 2), (0, 0)])
def test_a_shard_that_cannot_be_is_refused(number: int, count: int) -> None:
    with pytest.raises(InputError, match=r"a shard must be i/n with 0 <= i < n"):
        Shard(number=number, count=count)


def test_another_run_replaces_the_results_and_the_parts_of_the_one_before(
    classify: Classify,
    given: dict[str, Any],
    served_store: Store,
    config: Any,
) -> None:
    first = classify(**given)
    second = classify(**given, config=config.model_copy(update={"people": "all"}))
    assert first.run != second.run
    parts = {key.split("/")[3] for key in served_store.list_keys(f"{first.key}/parts/")}
    assert parts == {second.run}
