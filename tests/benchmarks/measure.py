"""Measure the benchmarks of one file: the process that `python -m tests.benchmarks` starts per file.

python -m tests.benchmarks.measure FILE RESULT [NAME...]

Writes RESULT: ``{"results": [...], "failures": {name: message}, "left_out": {name: reason}}``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.benchmarks import Benchmark, Side

HOW = "python -m tests.benchmarks {name}"


def load(path: Path) -> list[Benchmark]:
    """Import a benchmark file and return what its BENCHMARK holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    found = module.BENCHMARK
    benchmarks = [found] if isinstance(found, Benchmark) else list(found)
    area = path.stem.removeprefix("bench_")
    for benchmark in benchmarks:
        if benchmark.name.split(".")[0] != area:
            raise ValueError(f"benchmarks of {path.name} must be named {area}.what, got {benchmark.name!r}")
    return benchmarks


def _once(side: Side, arguments: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    value = side(*arguments)
    duration_s = time.perf_counter() - start
    return duration_s if value is None else float(value)


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """Run both sides in turn and return one entry of bench.json."""
    ours: list[float] = []
    other: list[float] = []
    with contextlib.ExitStack() as stack:
        arguments = (stack.enter_context(benchmark.setup()),) if benchmark.setup else ()
        for number in range(-benchmark.warmups, benchmark.repetitions):
            mine = _once(benchmark.ours, arguments)
            theirs = _once(benchmark.other, arguments) if callable(benchmark.other) else float(benchmark.other)
            if number >= 0:
                ours.append(mine)
                other.append(theirs)
    ours_median, other_median = statistics.median(ours), statistics.median(other)
    return {
        "name": benchmark.name,
        "ours": ours_median,
        "other": other_median,
        "unit": benchmark.unit,
        "ratio": ours_median / other_median,
        "target": benchmark.target,
        "better": benchmark.better,
        "how": HOW.format(name=benchmark.name),
    }


def main(path: Path, result: Path, names: list[str]) -> None:
    """Measure the benchmarks of `path`, or those of `names`, and write `result`."""
    results, failures, left_out = [], {}, {}
    benchmarks = load(path)
    known = [benchmark.name for benchmark in benchmarks]
    for name in names:
        if name not in known:
            failures[name] = f"a benchmark must be one of {', '.join(known)}, got {name!r}"
    for benchmark in benchmarks:
        if names and benchmark.name not in names:
            continue
        if missing := [program for program in benchmark.needs if shutil.which(program) is None]:
            left_out[benchmark.name] = f"needs {' and '.join(missing)} on the PATH"
            continue
        try:
            results.append(measure(benchmark))
        except Exception as error:  # noqa: BLE001 - reported as this benchmark's failure; the others go on
            traceback.print_exc()
            failures[benchmark.name] = f"{type(error).__name__}: {error}"
    result.write_text(json.dumps({"results": results, "failures": failures, "left_out": left_out}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
