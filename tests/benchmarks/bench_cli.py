"""How long a user waits for `silhouette --help`."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks import Benchmark

COMMAND = Path(sys.executable).with_name("silhouette")


def show_help() -> None:
    subprocess.run([COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)


BENCHMARK = Benchmark(name="cli.help", ours=show_help, other=0.5, repetitions=9)
