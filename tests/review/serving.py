"""`silhouette review` as a process of its own, as a reviewer starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-c", "from silhouette.cli import main; main()"]


@contextmanager
def reviewing(
    group: str, *arguments: str, environ: dict[str, str], folder: Path
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run it and yield the address that it printed; it is ended by Ctrl-C."""
    command = [*PROGRAM, "review", "--group", group, *arguments]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **environ}, **pipes) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            assert ": http://" in said, said + process.communicate(timeout=60)[1]
            yield said.rpartition(": ")[2].strip(), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.communicate(timeout=20)
                finally:
                    process.kill()


def refused(*arguments: str, environ: dict[str, str], folder: Path) -> str:
    """Run it where it must not start, and return the one line that it says."""
    done = subprocess.run(
        [*PROGRAM, "review", *arguments], cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line
