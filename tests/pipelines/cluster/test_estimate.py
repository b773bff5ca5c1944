"""`make estimate`: what is there, what would be reused, what GPUs cost, and nothing made up."""

from pathlib import Path

import pytest

from pipelines.cluster import estimate
from silhouette.store import Store
from tests.loopback import write_classes
from tests.pipelines.cluster.conftest import Cluster, Done, Program
from tests.pipelines.cluster.kfp_server import Plan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "pictures", {"a": 6, "b": 5})


def _rows(done: Done) -> dict[str, str]:
    assert done.code == 0, done.err
    return dict(line.split("  ", 1) for line in done.out.replace("   ", "  ").splitlines())


def _estimate(program: Program, source: object, *more: str) -> dict[str, str]:
    done = program("--group", "g", "--source", str(source), *more, main=estimate.main)
    return {name.strip(): value.strip() for name, value in _rows(done).items()}


def test_without_an_earlier_run_nothing_is_guessed(program: Program, cluster: Cluster, source: Path) -> None:
    rows = _estimate(program, source)
    size = sum(path.stat().st_size for path in source.rglob("*.jpg"))
    assert rows["pictures"] == "11: 6 a, 5 b"
    assert rows["bytes"] == f"{size / 1e6:.1f} MB"
    assert rows["reused"] == "none; there is no earlier run of this group that succeeded"
    assert rows["GPU hours"].startswith("unknown: no earlier run of this group")
    assert {asked.method for asked in cluster.kube.asked} == {"GET"}  # it starts and makes nothing


def test_same_run_again_reuses_its_cached_steps_and_costs_what_it_cost(
    program: Program, cluster: Cluster, source: Path
) -> None:
    cluster.kube.step_s = {"segment-people": 1800, "train-classifier": 3600}
    program("--group", "g", "--source", str(source))
    cluster.kube.step_s = {"segment-people": 3600, "train-classifier": 7200}
    program("--group", "g", "--source", str(source))
    rows = _estimate(program, source)
    steps, _, why = rows["reused"].partition("; ")
    cached = ("Download background", "Download pictures", "Build dataset", "Export model", "Evaluate model")
    assert set(steps.split(", ")) == {*cached, "Train classifier"}
    assert why == "as long as pictures, reviews and badlist are the same"
    assert rows["GPU hours"] == "0.50 to 3.00, by 2 earlier runs of this group, whatever its size was"
    assert rows["last run"].startswith("Train classifier 2 h, Segment people 1 h")


def test_other_parameters_reuse_the_download_alone(program: Program, cluster: Cluster, source: Path) -> None:
    cluster.kube.step_s = {"segment-people": 1800, "train-classifier": 3600}
    program("--group", "g", "--source", str(source))
    rows = _estimate(program, source, "--args", "epochs=99 gpus=4")
    assert rows["reused"] == "Download pictures; epochs, gpus differ from the last run's"
    assert rows["GPU hours"].startswith("6.00 to 6.00, by 1 earlier run")


def test_step_that_was_reused_in_one_run_is_known_from_another(
    program: Program, cluster: Cluster, source: Path
) -> None:
    cluster.kube.step_s = {"segment-people": 1800, "train-classifier": 3600}
    program("--group", "g", "--source", str(source))
    cluster.kube.plan = Plan(cached={"train-classifier"})
    program("--group", "g", "--source", str(source))
    assert _estimate(program, source)["GPU hours"].startswith("0.50 to 1.50, by 2 earlier runs")


def test_failed_runs_and_other_groups_count_for_nothing(program: Program, cluster: Cluster, source: Path) -> None:
    program("--group", "another", "--source", str(source))
    cluster.kube.plan = Plan(fails={"evaluate-model": "no"})
    program("--group", "g", "--source", str(source))
    assert _estimate(program, source)["reused"].startswith("none; there is no earlier run")


def test_changed_code_reuses_nothing(
    program: Program, cluster: Cluster, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("--group", "g", "--source", str(source))
    monkeypatch.setattr(estimate, "version_name", lambda pipeline, document: f"{pipeline}-another")
    assert _estimate(program, source)["reused"] == "none; the code has changed since the last run"


def test_prefix_in_the_store_is_sized_by_its_listing(
    program: Program, cluster: Cluster, source: Path, store: Store
) -> None:
    store.put_tree("estimated", source)
    rows = _estimate(program, f"s3://{store.bucket}/estimated")
    assert rows["pictures"] == "11: 6 a, 5 b"
    assert rows["bytes"] == _estimate(program, source)["bytes"]


def test_wrong_words_are_one_line(program: Program, cluster: Cluster, source: Path) -> None:
    done = program("--group", "g", "--source", str(source / "a"), main=estimate.main)
    assert done.code == 1
    assert done.err.startswith("error: SOURCE must")
