"""What the framework itself costs a step: kfp.local, the process start, its imports; the step does nothing.

A chain of steps of our own decorator, compiled, loaded and run as `make run` does it, without the cache. The
price of a bare Python start is taken off: no framework could avoid it.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from kfp import compiler, dsl, local

from pipelines.load import load_pipeline
from pipelines.observe import StepRecord, observed
from silhouette.containers import cpu_step
from tests.benchmarks import Benchmark

STEPS = 4


@cpu_step
def pass_on(text: str) -> str:
    """Do nothing, through the door that every step goes through."""
    from silhouette.step import step

    with step():
        return text


@dsl.pipeline(name="idle")  # type: ignore[untyped-decorator]
def idle(text: str = "x") -> None:
    """Pass a text on, several times."""
    for _ in range(STEPS):
        text = pass_on(text=text).output


def _ignore(_record: StepRecord) -> None:
    """Show nothing."""


def bare_start_s() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


def step_cost_s() -> float:
    bare = bare_start_s()
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "idle.yaml", Path(folder) / "run.log"
        compiler.Compiler().compile(idle, str(path))
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=folder, enable_caching=False)
        start = time.perf_counter()
        with warnings.catch_warnings(), observed(log, on_start=_ignore, on_end=_ignore) as records:
            warnings.simplefilter("ignore")
            load_pipeline(path, retries=False)()
        wall = time.perf_counter() - start
    if [record.succeeded for record in records] != [True] * STEPS:
        raise RuntimeError(f"{STEPS} steps must succeed, got {records}")
    return wall / STEPS - bare


BENCHMARK = Benchmark(name="framework.step_cost", ours=step_cost_s, other=3.0)
