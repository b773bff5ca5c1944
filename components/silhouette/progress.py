"""Show how far a long loop is: a bar with rate and time left on a terminal, a plain log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_LOG = logging.getLogger(__name__)
_LOG_EVERY_S = 10.0

T = TypeVar("T")


def track(items: Iterable[T], *, total: int, description: str) -> Iterator[T]:
    """Yield `items` and show the progress through them on standard error.

    Args:
        items: What is worked through, in order.
        total: How many there are.
        description: What is being done, e.g. ``downloading``.
    """
    return _bar(items, total, description) if sys.stderr.isatty() else _lines(items, total, description)


def _bar(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, rate="")
        for item in items:
            yield item
            progress.advance(task)
            speed = progress.tasks[task].speed
            progress.update(task, rate=f"{speed:.1f}/s" if speed else "")


def _lines(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    start = shown = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= _LOG_EVERY_S:
            shown, rate = now, number / (now - start)
            _LOG.info(
                "%s: %d of %d, %.1f/s, about %.0f s left", description, number, total, rate, (total - number) / rate
            )
