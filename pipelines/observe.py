"""Watch kfp.local run a pipeline: what each step was called, whether it ran or was reused, and what came out.

kfp.local has no call-backs, so the function through which it runs every task (`execute_single_task`) and the one
through which it starts a step's process (`run_local_subprocess`) are wrapped while a run lasts. kfp is pinned to
one version, and a test runs a pipeline through this module, so a change of theirs is noticed.
"""

from __future__ import annotations

import builtins
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

ERROR_PREFIX = "error: "  # what `silhouette.step` writes before the one line that matters


@dataclass(kw_only=True)
class StepRecord:
    """One task of the run.

    Attributes:
        name: Task name, e.g. ``download-pictures``.
        title: What the UI shows.
        duration_s: Wall time, seconds.
        reused: The result came from the cache.
        succeeded: The task ended well.
        error: The line that a failed step ended with, or empty.
        outputs: Parameters and KFP artifacts by name.
    """

    name: str
    title: str
    duration_s: float = 0.0
    reused: bool = False
    succeeded: bool = False
    error: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)


def _is_not_kfp_local(record: logging.LogRecord) -> bool:
    """Keep what other libraries log; what kfp.local repeats at length, the records here hold."""
    return "/kfp/local/" not in record.pathname


def _run_step(command: Sequence[str], env: Mapping[str, str], record: StepRecord, log: Path) -> int:
    """Run a step's process: what it tells people (standard error) is shown, KFP's own talk goes to `log` alone."""
    with (
        log.open("a", encoding="utf-8") as kept,
        subprocess.Popen(
            command, stdout=kept, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", env=env
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            kept.write(line)
            if line.startswith(ERROR_PREFIX):
                record.error = line.removeprefix(ERROR_PREFIX).strip()
            else:
                sys.stdout.write(f"    {line}")
                sys.stdout.flush()
        return process.wait()


@contextmanager
def observed(
    log: Path, *, on_start: Callable[[StepRecord], None], on_end: Callable[[StepRecord], None]
) -> Iterator[list[StepRecord]]:
    """Collect a record of every task that kfp.local executes inside the block, in order.

    Args:
        log: File to which everything that the steps print is appended.
        on_start: Called before a task is executed or taken from the cache.
        on_end: Called after it, with the record filled in.
    """
    from kfp.local import logging_utils, status, subprocess_task_handler
    from kfp.local.orchestrator import task_executor

    records: list[StepRecord] = []
    working = threading.local()  # a loop's steps run in threads of their own
    execute = task_executor.execute_single_task

    def watched_execute(task_name: str, task_spec: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
        record = StepRecord(name=task_name, title=task_spec.task_info.name or task_name, reused=True)
        records.append(record)
        working.record = record
        on_start(record)
        start = time.monotonic()
        outputs, task_status = execute(task_name=task_name, task_spec=task_spec, **kwargs)
        record.duration_s = time.monotonic() - start
        record.outputs = dict(outputs)
        record.succeeded = task_status == status.Status.SUCCESS
        on_end(record)
        return outputs, task_status

    def watched_process(full_command: Sequence[str], env_vars: Mapping[str, str] | None = None) -> int:
        working.record.reused = False
        return _run_step(full_command, {**os.environ, **(env_vars or {})}, working.record, log)

    root = logging.getLogger()
    root.addFilter(_is_not_kfp_local)
    plain_print = builtins.print  # a loop's threads may leave kfp.local's indented one behind
    try:
        with (
            patch.object(task_executor, "execute_single_task", watched_execute),
            patch.object(subprocess_task_handler, "run_local_subprocess", watched_process),
            patch.object(logging_utils, "print_horizontal_line", lambda: None),
        ):
            yield records
    finally:
        builtins.print = plain_print
        root.removeFilter(_is_not_kfp_local)
