"""A run's end is recorded and said, and saying it is no failure of its own."""

import json
import logging
from dataclasses import replace

import pytest

from silhouette.report_run.report import report_run
from silhouette.store import Store, open_store

GROUP = "summer “test” $1/Лето"


def test_end_is_recorded_under_the_pipeline(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = report_run(
        pipeline="training",
        run="0b9f-7",
        state="FAILED",
        error="Build dataset:\n  a class must have 5",
        parameters={"group": GROUP},
        store=store,
    )
    kept = json.loads(store.get_bytes(report.key))
    assert report.key.startswith("runs/training/2")
    assert (kept["state"], kept["error"], kept["run"]) == ("FAILED", "Build dataset: a class must have 5", "0b9f-7")
    assert kept["parameters"] == {"group": GROUP}
    assert f"training failed: Build dataset: a class must have 5; recorded as {report.key}" in caplog.text


def test_store_that_is_away_is_said_and_ends_nothing(
    store: Store, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    away = open_store(replace(store.settings, endpoint=f"127.0.0.1:{unused_port}"), patience_s=0)
    report = report_run(pipeline="training", run="1", state="SUCCEEDED", error="", parameters={}, store=away)
    assert report.key == ""
    assert "training succeeded; not recorded" in caplog.text


@pytest.mark.parametrize("run", ["a/b", "../../x", "Лето", ""])
def test_any_id_of_a_run_gives_a_key(store: Store, run: str) -> None:
    report = report_run(pipeline="markup", run=run, state="SUCCEEDED", error="", parameters={}, store=store)
    assert store.exists(report.key)
    assert report.key.count("/") == 2
