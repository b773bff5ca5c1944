"""Benchmarks: `make bench`, or `python -m tests.benchmarks [NAME...]` for some (`cli`, `cli.help`).

A file `bench_<area>.py` beside this one holds one benchmark, or a tuple of them, named ``<area>.<what>``:

    BENCHMARK = Benchmark(name="names.safe_key", ours=thousand_keys, other=thousand_digests, target=3.0)

`ours` and `other` are called in turn: a warm-up each, then ours, other, ours, other. What a call took is its
measurement, or what it returned when that is a number (a rate, a cost without its set-up). Medians are compared:
`ratio` is ours / other, and `target` is what the ratio must reach. Where there is no peer, `other` is the limit
itself and `target` stays 1. Each file runs as a process of its own, so nothing that one imports slows another.

A table is printed, and build/bench.json gets a list of
``{"name", "ours", "other", "unit", "ratio", "target", "better", "how"}``. A benchmark that raises is reported, the
others go on, and the exit code is 1. A missed target is shown and is no failure: clocks of shared machines lie.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

Side = Callable[..., float | None]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One comparison.

    Attributes:
        name: ``<area>.<what>``; the area is that of the file.
        ours: What is measured; returns its measurement, or None to be timed.
        other: A peer that does the same work, or a limit in `unit`, above 0.
        unit: Of both sides; seconds unless the sides return something else.
        better: Which way is good.
        target: What ours / other must reach: at most this when lower is better, at least when higher is.
        repetitions: Of each side, after the warm-up.
        warmups: Of each side.
        setup: Makes what both sides need; its value becomes their one argument.
        small: The same with less of it, for the tests, which run ours once; None: they take `setup`.
        needs: Programs; while one of them is not on the PATH, the benchmark is left out and that is said.
    """

    name: str
    ours: Side
    other: Side | float
    unit: str = "s"
    better: Literal["lower", "higher"] = "lower"
    target: float = 1.0
    repetitions: int = 5
    warmups: int = 1
    setup: Callable[[], AbstractContextManager[Any]] | None = None
    small: Callable[[], AbstractContextManager[Any]] | None = None
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name.count(".") != 1 or not all(self.name.split(".")):
            raise ValueError(f"a benchmark's name must be area.what, got {self.name!r}")
        if not callable(self.other) and self.other <= 0:
            raise ValueError(f"{self.name}: a limit must be above 0, got {self.other}")
        if self.repetitions < 1 or self.warmups < 0:
            raise ValueError(f"{self.name}: repetitions must be at least 1 and warmups 0 or more")
