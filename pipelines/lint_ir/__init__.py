"""Find in a compiled pipeline, in half a second, what a cluster would find only at run time.

    python -m pipelines.lint_ir pipelines/compiled/*.yaml

Reads compiled YAML (the pipeline document and, behind it, the platform document); prints one line a finding and
exits 1 when there is one.

    ir.py        strict parse of both documents: an unknown or misspelt field is refused
    wiring.py    every component, executor, producer, parameter and artifact that a task names exists and is passed
    caching.py   no cached step takes an artifact from an uncached one
    executors.py what a pod needs: pinned image, memory limit, timeout, a user that is not root, names, sizes
    platform.py  what a pod's settings name is passed; names that Kubernetes takes; shared memory; how long runs stay
    control.py   loops, retries, conditions and choices that work in both places
    secrecy.py   no host, port, URL, bucket or secret is a parameter, a default, a constant or an environment literal
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.lint_ir import caching, control, executors, platform, secrecy, wiring
from pipelines.lint_ir.ir import Ir, MalformedIrError, parse

Rule = Callable[[Ir], Iterator[str]]
RULES: tuple[Rule, ...] = (
    *wiring.RULES,
    *caching.RULES,
    *executors.RULES,
    *platform.RULES,
    *control.RULES,
    *secrecy.RULES,
)


def lint(text: str) -> list[str]:
    """Return one line per finding in a compiled pipeline; empty when there is none.

    Args:
        text: The compiled YAML, one or two documents.
    """
    try:
        ir = parse(text)
    except MalformedIrError as error:
        return [str(error)]
    return [finding for rule in RULES for finding in rule(ir)]
