"""How long a pod of the cpu image imports before its step works: the slowest of its steps, against the limit.

In seconds of CPU, user and system: on a quiet machine that is what the clock shows, and a busy one does not change it.
"""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import Benchmark
from tests.test_architecture import CPU_ROOMS, PACKAGE

LIMIT_S = 1.0


def imports_of_steps() -> Iterator[str]:
    """Yield, for each component of the cpu image, the imports of its body as a program."""
    for room in CPU_ROOMS:
        for path in sorted((PACKAGE / room).glob("*component.py")):
            text = path.read_text(encoding="utf-8")
            bodies = re.split(r"(?m)^@cpu_step$", text)[1:]
            for body in bodies:
                yield "\n".join(line.strip() for line in re.findall(r"(?m)^ +(?:from|import) .+$", body))


def start(program: str) -> float:
    """Return how many seconds of CPU a fresh Python takes for `program`, its own start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], cwd=Path("/"), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slowest() -> float:
    return max(start(program) for program in imports_of_steps())


BENCHMARK = Benchmark(name="images.cold_start", ours=slowest, other=LIMIT_S, unit="s", repetitions=5)
