"""Follow a run: one line whenever a step begins or ends, readable at a terminal and in a log.

KFP lists Argo's nodes: a step is a node with its task's name, beside it its driver, below it ``executor``. An executor
that was skipped means that the result came from the cache, one that is pending waits for a place on a node. A
connection that is lost, and a login that expires, end nothing on the cluster: the first is tried again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.kfp_calls import RefusedLoginError, UnreachableError
from silhouette.errors import ServiceError

ENDED = {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}  # kfp.Client's own wait forgets CANCELED
EXIT_CODES = {"SUCCEEDED": 0, "SKIPPED": 0, "FAILED": 1, "CANCELED": 3}
POLL_S = 3.0
LOST_FOR_S = 1800.0
_EXECUTOR = re.compile(r"executor(\(\d+\))?")
_COLOURS = {"running": "cyan", "done": "green", "reused": "green", "failed": "red", "canceled": "yellow"}
_WORDS = {
    "RUNNING": "running", "SUCCEEDED": "done", "FAILED": "failed", "CANCELED": "canceled", "CANCELING": "canceled",
    "SKIPPED": "skipped",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StepState:
    """What a step does.

    Attributes:
        task_id: KFP's, one for every time that a loop runs the step.
        name: Task name.
        state: ``waiting`` for a node, ``running``, ``done``, ``reused``, ``failed``, ``canceled`` or ``skipped``.
        duration_s: Wall time so far, seconds.
        error: What KFP says of its failure, on one line.
    """

    task_id: str
    name: str
    state: str
    duration_s: float
    error: str


def steps_of(run: Any, names: Mapping[str, str]) -> list[StepState]:
    """Return the steps of a run that have begun, by the time of their beginning.

    Args:
        run: A `V2beta1Run`.
        names: Titles by task name; nodes with other names are none of ours.
    """
    details = list((run.run_details and run.run_details.task_details) or [])
    seen = [item for item in details if item.display_name in names and item.state in _WORDS]
    seen.sort(key=lambda item: (item.start_time or item.create_time or datetime.max.astimezone(), item.task_id))
    return [
        StepState(
            task_id=item.task_id,
            name=item.display_name,
            state=_word(item, details),
            duration_s=_seconds(item.start_time, item.end_time),
            error=" ".join(str(item.error.message if item.error else "").split()),
        )
        for item in seen
    ]


def executors_of(item: Any, details: list[Any]) -> Iterator[Any]:
    """Yield the executor nodes below a step, those of its retries included.

    A child is named by its node, a detail by its pod: both end in the same number.
    """
    numbers = {_number(child.pod_name) for child in item.child_tasks or []} - {""}
    for below in details:
        if below is not item and _EXECUTOR.fullmatch(below.display_name or "") and _number(below.pod_name) in numbers:
            yield below
            yield from executors_of(below, details)


def _number(name: str | None) -> str:
    return (name or "").rpartition("-")[2]


def _word(item: Any, details: list[Any]) -> str:
    word = _WORDS[item.state]
    below = {executor.state for executor in executors_of(item, details)}
    if word == "done" and below == {"SKIPPED"}:
        return "reused"
    if word == "running" and "PENDING" in below:
        return "waiting"
    return word


def _seconds(start: datetime | None, end: datetime | None) -> float:
    if start is None or start.timestamp() <= 0:
        return 0.0
    ended = end if end is not None and end.timestamp() > 0 else datetime.now(start.tzinfo)
    return max(0.0, (ended - start).total_seconds())


def spoken(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def follow(
    kfp: Kfp,
    run_id: str,
    *,
    names: Mapping[str, str],
    console: Console,
    poll_s: float = POLL_S,
    lost_for_s: float = LOST_FOR_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Tell what the steps do until the run has ended; return the run.

    Args:
        kfp: The API.
        run_id: The run.
        names: Titles by task name.
        console: Where it is told.
        poll_s: Seconds between two looks.
        lost_for_s: For how long a lost connection is tried again.
        sleep: Waits; for tests.

    Raises:
        ServiceError: KFP stayed away or refuses the login; the run itself goes on.
    """
    told: dict[str, str] = {}
    lost_at: float | None = None
    while True:
        try:
            run = kfp.run(run_id)
        except (UnreachableError, RefusedLoginError) as error:
            if lost_at is None:
                lost_at = time.monotonic()
                _tell(console, "[yellow]lost[/]", f"{error}; the run goes on, and this tries again")
            if isinstance(error, RefusedLoginError) or time.monotonic() - lost_at >= lost_for_s:
                raise ServiceError(f"{error}; the run goes on: `make follow RUN={run_id}` follows it again") from None
            sleep(poll_s)
            continue
        if lost_at is not None:
            _tell(console, "back", f"after {spoken(time.monotonic() - lost_at)}")
            lost_at = None
        for step in steps_of(run, names):
            if told.get(step.task_id) != step.state:
                told[step.task_id] = step.state
                _tell_step(console, step, names[step.name])
        if run.state in ENDED:
            return run
        sleep(poll_s)


def _tell_step(console: Console, step: StepState, title: str) -> None:
    after = f" in {spoken(step.duration_s)}" if step.state in ("done", "failed", "canceled") else ""
    error = f": {step.error}" if step.error else ""
    colour = _COLOURS.get(step.state, "default")
    _tell(console, f"[{colour}]{step.state:8}[/]", f"{title}{after}{error}")


def _tell(console: Console, head: str, line: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')}  {head}  {escape(line)}", soft_wrap=True)


def outcome(run: Any) -> str:
    """Return how a run ended, in one sentence."""
    took = spoken(_seconds(run.created_at, run.finished_at))
    said = " ".join(str(run.error.message).split()) if run.error and run.error.message else ""
    return f"the run {_WORDS.get(run.state, run.state).replace('done', 'succeeded')} after {took}" + (
        f": {said}" if said else ""
    )
