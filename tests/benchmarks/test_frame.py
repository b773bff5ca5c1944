"""The benchmark frame: turns, medians, the JSON that others read, and failures that are told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import Benchmark
from tests.benchmarks.__main__ import met, select
from tests.benchmarks.measure import load, measure

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["name", "ours", "other", "unit", "ratio", "target", "better", "how"]
# half a minute each
WITH_SERVICES = {"bench_serving", "bench_ingest", "bench_segment", "bench_ret_meta", "bench_background"}
TRIVIAL = """
from tests.benchmarks import Benchmark
BENCHMARK = (
    Benchmark(name="trivial.rate", ours=lambda: 30.0, other=lambda: 20.0, unit="pictures/s", better="higher"),
    Benchmark(name="trivial.limit", ours=lambda: 2.0, other=1.0, unit="s"),
)
"""


def run(folder: Path, *names: str) -> "tuple[subprocess.CompletedProcess[str], Any]":
    out = folder / "build" / "bench.json"
    command = [sys.executable, "-m", "tests.benchmarks", *names, "--folder", str(folder), "--out", str(out)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    return done, json.loads(out.read_text()) if out.exists() else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bench_trivial.py").write_text(TRIVIAL)
    return tmp_path


def test_sides_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    measure(
        Benchmark(
            name="a.b", ours=lambda: calls.append("ours"), other=lambda: calls.append("other"), repetitions=2, warmups=1
        )
    )
    assert calls == ["ours", "other"] * 3


def test_median_leaves_out_the_warm_up_and_one_bad_repetition() -> None:
    values = iter([1000.0, 2.0, 900.0, 4.0])
    result = measure(Benchmark(name="a.b", ours=lambda: next(values), other=2.0, repetitions=3))
    assert (result["ours"], result["ratio"]) == (4.0, 2.0)


def test_benchmark_without_its_programs_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "bench_trivial.py").write_text(TRIVIAL.replace('unit="s")', 'unit="s", needs=("no-such-program",))'))
    done, results = run(tmp_path)
    assert done.returncode == 0
    assert "trivial.limit is left out: it needs no-such-program on the PATH" in done.stdout
    assert [result["name"] for result in results] == ["trivial.rate"]


def test_side_that_returns_nothing_is_timed() -> None:
    result = measure(Benchmark(name="a.b", ours=lambda: None, other=1.0, repetitions=1))
    assert result["ours"] > 0


def test_both_sides_get_what_setup_made_and_it_is_taken_down() -> None:
    events: list[str] = []

    @contextmanager
    def setup() -> Iterator[str]:
        yield "made"
        events.append("down")

    def side(value: str) -> float:
        events.append(value)
        return 1.0

    measure(Benchmark(name="a.b", ours=side, other=side, setup=setup, repetitions=1, warmups=0))
    assert events == ["made", "made", "down"]


def test_json_has_the_promised_keys_and_types(folder: Path) -> None:
    done, results = run(folder)
    assert done.returncode == 0, done.stderr
    assert [list(result) for result in results] == [KEYS, KEYS]
    rate = results[0]
    assert rate == {
        "name": "trivial.rate",
        "ours": 30.0,
        "other": 20.0,
        "unit": "pictures/s",
        "ratio": 1.5,
        "target": 1.0,
        "better": "higher",
        "how": "python -m tests.benchmarks trivial.rate",
    }


def test_table_says_what_was_reached_and_what_was_missed(folder: Path) -> None:
    done, _ = run(folder)
    lines = done.stdout.splitlines()
    assert any("trivial.rate" in line and "reached" in line for line in lines)
    assert any("trivial.limit" in line and "missed" in line for line in lines)


def test_single_benchmark_can_be_named(folder: Path) -> None:
    _, results = run(folder, "trivial.limit")
    assert [result["name"] for result in results] == ["trivial.limit"]


def test_benchmark_that_raises_is_reported_and_the_others_go_on(folder: Path) -> None:
    (folder / "bench_broken.py").write_text(
        "from tests.benchmarks import Benchmark\n"
        "def fail(): raise OSError('no [room] left')\n"
        "BENCHMARK = Benchmark(name='broken.disk', ours=fail, other=1.0)\n"
    )
    done, results = run(folder)
    assert done.returncode == 1
    assert "OSError: no [room] left" in done.stdout
    assert [result["name"] for result in results] == ["trivial.rate", "trivial.limit"]


def test_file_that_does_not_import_is_reported_with_its_traceback(folder: Path) -> None:
    (folder / "bench_absent.py").write_text("import no_such_module_anywhere\n")
    done, results = run(folder)
    assert done.returncode == 1
    assert "bench_absent.py" in done.stdout
    assert "no_such_module_anywhere" in done.stderr
    assert len(results) == 2


def test_unknown_area_is_refused_with_the_known_ones(folder: Path) -> None:
    done, results = run(folder, "elsewhere")
    assert done.returncode == 1
    assert "a benchmark's area must be one of trivial, got 'elsewhere'" in done.stderr
    assert results is None


def test_unknown_benchmark_is_reported_with_the_known_ones(folder: Path) -> None:
    done, _ = run(folder, "trivial.none")
    assert done.returncode == 1
    assert "a benchmark must be one of trivial.rate, trivial.limit, got 'trivial.none'" in done.stdout


def test_naming_an_area_and_one_of_its_benchmarks_runs_the_area(folder: Path) -> None:
    assert select(folder, ["trivial.rate", "trivial"]) == {folder / "bench_trivial.py": []}


def test_file_holds_benchmarks_of_its_own_area_only(folder: Path) -> None:
    wrong = folder / "bench_other.py"
    wrong.write_text(TRIVIAL)
    with pytest.raises(ValueError, match=r"bench_other\.py must be named other\.what, got 'trivial\.rate'"):
        load(wrong)


@pytest.mark.parametrize(
    ("ratio", "better", "expected"),
    [(1.0, "lower", True), (1.01, "lower", False), (1.0, "higher", True), (0.99, "higher", False)],
)
def test_target_is_reached_from_the_right_side(ratio: float, better: str, expected: bool) -> None:
    assert met({"ratio": ratio, "better": better, "target": 1.0}) is expected


@pytest.mark.parametrize(
    "fields", [{"name": "noarea"}, {"name": "a."}, {"name": "a.b.c"}, {"other": 0.0}, {"repetitions": 0}]
)
def test_malformed_benchmark_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Benchmark(**{"name": "a.b", "ours": lambda: 1.0, "other": 1.0, **fields})


def test_shipped_benchmarks_load_and_have_names_of_their_own() -> None:
    names = [item.name for path in select(ROOT / "tests" / "benchmarks", []) for item in load(path)]
    assert len(names) == len(set(names)) >= 3
    assert {"framework.step_cost", "cli.help", "compile.training"} <= set(names)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.long] if path.stem in WITH_SERVICES else [])
        for path in sorted(Path(__file__).parent.glob("bench_*.py"))
    ],
)
def test_shipped_benchmark_runs_once(file: Path) -> None:
    """No clock is looked at: that the sides still fit the code that they measure is what counts."""
    program = (
        f"from tests.benchmarks.{file.stem} import BENCHMARK as found\n"
        "for one in found if isinstance(found, tuple) else (found,):\n"
        "    setup = one.small or one.setup\n"
        "    with setup() if setup else __import__('contextlib').nullcontext() as made:\n"
        "        one.ours(made) if setup else one.ours()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
