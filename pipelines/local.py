"""Run a compiled pipeline on this machine: `make run`.

    python -m pipelines.local [--pipeline NAME] [--group NAME] [--source PATH] [--model FILE] [--args "epochs=3 seed=1"]

The YAML is the committed one that a cluster gets; what differs is in `pipelines.load.for_place`. The embedded
services are started when they do not run and stay up. Every step's output is kept under ``.silhouette/runs``,
and a step whose inputs did not change is reused from there.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines import compile as compiler
from pipelines import embedded
from pipelines.arguments import (
    PATHS,
    add_run_options,
    given_pairs,
    overlay_arguments,
    parse_arguments,
    require_all,
)
from pipelines.embedded.installation import locked
from pipelines.load import load_pipeline, parameters, required_environment
from pipelines.observe import StepRecord, observed
from pipelines.summary import print_summary
from samples.make import make_samples
from silhouette.errors import InputError, SettingError
from silhouette.step import step

SAMPLE_GROUP = "outfit"
HERE = {"gpus": 0, "extra_workers": [], "group": SAMPLE_GROUP}  # what a laptop says where the user says nothing
LOCK_WAIT_S = 2.0


@contextmanager
def one_run_at_a_time(state_dir: Path) -> Iterator[None]:
    """Hold the installation's run lock.

    Raises:
        ServiceError: Another run holds it, or the state folder cannot be made.
    """
    with locked(state_dir, file="run.lock", rule="one run at a time may use", wait_s=LOCK_WAIT_S):
        yield


def _draw_samples(folder: Path, *, console: Console) -> None:
    """Draw the sample group unless it is there; say how far it is, four times."""
    shown = 0

    def say(done: int, total: int) -> None:
        nonlocal shown
        if done * 4 // total > shown:
            shown = done * 4 // total
            console.print(f"drawing the sample pictures: {done} of {total}")

    make_samples(folder, progress=say)


def _start_services(state_dir: Path, *, from_service: bool, console: Console) -> None:
    """Bring up what the run needs and put the addresses into the environment that the steps inherit."""
    names = [name for name in embedded.ALL if name != "picture_service" or from_service]
    services = embedded.up(state_dir, services=names, say=console.print)
    os.environ.update(services.environment)


def _check_environment(path: Path) -> None:
    missing = {name: step for name, step in required_environment(path).items() if not os.environ.get(name)}
    if missing:
        names = ", ".join(f"{name} (for {step})" for name, step in sorted(missing.items()))
        raise SettingError(f"every step's environment must be set, these are empty: {names}; run `make up`")


def execute(path: Path, arguments: Mapping[str, Any], *, state_dir: Path, console: Console) -> list[StepRecord]:
    """Run a compiled pipeline with kfp.local and return its steps; some failed if any did.

    Args:
        path: The compiled pipeline.
        arguments: Typed pipeline parameters.
        state_dir: Where outputs and the cache are kept.
        console: Where progress is shown.
    """
    from kfp import local

    # the images are not python:3.11 and resources have no effect here: both are meant
    warnings.filterwarnings("ignore", message=r"You may be attemping to run a task|Task .* have no effect")
    pipeline = load_pipeline(path, retries=False)
    log = state_dir / "logs" / "run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    local.init(
        runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(state_dir / "runs"), enable_caching=True
    )

    def on_start(record: StepRecord) -> None:
        console.print(f"[bold cyan]▸ {record.title}[/]")

    def on_end(record: StepRecord) -> None:
        if not record.succeeded:
            console.print(f"    [red]failed[/] after {record.duration_s:.1f} s")
        elif record.reused:
            console.print("    [green]reused[/]: nothing that goes into it has changed")
        else:
            console.print(f"    [green]done[/] in {record.duration_s:.1f} s")

    with observed(log, on_start=on_start, on_end=on_end) as records:
        try:
            pipeline(**arguments)
        except RuntimeError:
            if all(record.succeeded for record in records):
                raise  # not a step's failure but kfp's own
    return records


def run(pairs: Mapping[str, str], *, state_dir: Path, console: Console, pipeline: str = "training") -> int:
    """Run a pipeline from texts to the summary; return the exit code."""
    started = time.monotonic()
    path = compiler.compiled_file(pipeline)
    known = parameters(path)
    here = {name: value for name, value in HERE.items() if name in known}
    arguments = {**here, **overlay_arguments(known), **parse_arguments(pairs, known)}
    require_all(arguments, known)
    for name in set(PATHS) - {"model_path"}:  # a model may be a key of the store
        if (given := arguments.get(name)) and "://" not in given:
            arguments[name] = str(Path(given).resolve())
    if stale := compiler.stale_pipelines([pipeline]):
        raise InputError(compiler.STALE.format(names=", ".join(stale)))
    with one_run_at_a_time(state_dir):
        from_service = not arguments.get("source") or bool(arguments.get("background_pixsets"))
        if from_service and not os.environ.get("SILHOUETTE_PICTURE_SERVICE_URL"):
            _draw_samples(state_dir / "samples", console=console)
        _start_services(state_dir, from_service=from_service, console=console)
        _check_environment(path)
        records = execute(path, arguments, state_dir=state_dir, console=console)
    print_summary(records)
    reused = [record.title for record in records if record.reused]
    steps = "1 step" if len(records) == 1 else f"{len(records)} steps"
    print(f"{steps} in {time.monotonic() - started:.0f} s; reused: {', '.join(reused) or 'none'}")
    failed = [record for record in records if not record.succeeded]
    for record in failed:
        told = record.error or f"its process ended without a word; everything it printed is in {state_dir}/logs/run.log"
        print(f"error: {record.title}: {told}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local", description="Run a pipeline here.")
    add_run_options(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(arguments)
    if options.debug:
        os.environ["SILHOUETTE_DEBUG"] = "1"
    with step():
        logging.getLogger("kfp").setLevel(logging.ERROR)
        state_dir = Path(os.environ.get("SILHOUETTE_STATE_DIR") or ".silhouette").resolve()
        return run(
            given_pairs(options),
            state_dir=state_dir,
            console=Console(highlight=False),
            pipeline=options.pipeline or "training",
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
