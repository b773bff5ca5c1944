"""How long `make compile` takes: a fresh process, all pipelines, written to a folder of its own."""

import subprocess
import sys
import tempfile

from tests.benchmarks import Benchmark

PROGRAM = "import sys, pathlib, pipelines.compile as c; c.compile_pipelines(pathlib.Path(sys.argv[1]))"


def compile_all() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", PROGRAM, folder], check=True)


BENCHMARK = Benchmark(name="compile.training", ours=compile_all, other=3.0)
