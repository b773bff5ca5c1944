"""Run a compiled pipeline on this machine: `make run`.

    python -m pipelines.local [--group NAME] [--source PATH] [--model FILE] [--args "epochs=3 seed=1"]

The YAML is the committed one that a cluster gets; what differs is in `pipelines.load.for_place`. The embedded
services are started when they do not run and stay up. Every step's output is kept under ``.silhouette/runs``,
and a step whose inputs did not change is reused from there.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import os
import shlex
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
from pipelines.embedded.installation import locked
from pipelines.load import load_pipeline, parameters, required_environment
from pipelines.observe import StepRecord, observed
from pipelines.summary import print_summary
from samples.make import make_samples
from silhouette.config import load_config
from silhouette.errors import InputError, SettingError
from silhouette.step import step

TRAINING = compiler.COMPILED / "training.yaml"
SAMPLE_GROUP = "outfit"
LOCK_WAIT_S = 2.0
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}


def parse_arguments(pairs: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Turn ``name=value`` texts into the pipeline's typed arguments.

    Raises:
        InputError: A name is unknown (the nearest are listed), or a value is not of the parameter's type.
    """
    arguments: dict[str, Any] = {}
    for name, text in pairs.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or sorted(known)
            raise InputError(
                f"a parameter must be one of the pipeline's, got {name!r}; did you mean {', '.join(near)}?"
            )
        kind = known[name]["parameterType"]
        if kind == "STRING":
            arguments[name] = text
            continue
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise InputError(f"{name} must be a {kind.lower()}, got {text!r}; write ARGS='{name}=...'")
        if isinstance(value, int) and kind == "NUMBER_DOUBLE":
            value = float(value)  # kfp takes no 0 for 0.0
        arguments[name] = value
    return arguments


def overlay_arguments() -> dict[str, Any]:
    """Return what a configuration file of the user's sets; the defaults in the compiled YAML are the shipped ones."""
    if not os.environ.get("SILHOUETTE_CONFIG"):
        return {}
    config = load_config()
    recipe = config.training
    return {
        "model_path": config.segmentation.model_path,
        "backbone": recipe.backbone,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "seed": recipe.seed,
        "min_macro_f1": config.gate.min_macro_f1 or 0.0,  # a parameter cannot be null; 0 refuses nobody
    }


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


def _check_environment() -> None:
    missing = {name: step for name, step in required_environment(TRAINING).items() if not os.environ.get(name)}
    if missing:
        names = ", ".join(f"{name} (for {step})" for name, step in sorted(missing.items()))
        raise SettingError(f"every step's environment must be set, these are empty: {names}; run `make up`")


def execute(arguments: Mapping[str, Any], *, state_dir: Path, console: Console) -> list[StepRecord]:
    """Run the compiled training pipeline with kfp.local and return its steps; the last one failed if any did.

    Args:
        arguments: Typed pipeline parameters.
        state_dir: Where outputs and the cache are kept.
        console: Where progress is shown.
    """
    from kfp import local

    # the images are not python:3.11 and resources have no effect here: both are meant
    warnings.filterwarnings("ignore", message=r"You may be attemping to run a task|Task .* have no effect")
    pipeline = load_pipeline(TRAINING, retries=False)
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


def run(pairs: Mapping[str, str], *, state_dir: Path, console: Console) -> int:
    """Run the training pipeline from texts to the summary; return the exit code."""
    started = time.monotonic()
    arguments = {
        "gpus": 0,
        **overlay_arguments(),
        "group": SAMPLE_GROUP,
        **parse_arguments(pairs, parameters(TRAINING)),
    }
    for name in ("source", "background_pixsets"):
        if (given := arguments.get(name)) and "://" not in given:
            arguments[name] = str(Path(given).resolve())
    if stale := compiler.stale_pipelines():
        raise InputError(compiler.STALE.format(names=", ".join(stale)))
    with one_run_at_a_time(state_dir):
        from_service = not arguments.get("source") or bool(arguments.get("background_pixsets"))
        if from_service and not os.environ.get("SILHOUETTE_PICTURE_SERVICE_URL"):
            _draw_samples(state_dir / "samples", console=console)
        _start_services(state_dir, from_service=from_service, console=console)
        _check_environment()
        records = execute(arguments, state_dir=state_dir, console=console)
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
    parser = argparse.ArgumentParser(prog="python -m pipelines.local", description="Run the training pipeline here.")
    parser.add_argument("--group", default="", help=f"name of the group; default: the sample group {SAMPLE_GROUP!r}")
    parser.add_argument("--source", default="", help="a folder with one sub-folder per class; default: the service")
    parser.add_argument("--model", default="", help="a YOLO segmentation model; default: as in the configuration")
    parser.add_argument("--args", default="", help="more parameters, 'epochs=3 seed=1'")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(arguments)
    if options.debug:
        os.environ["SILHOUETTE_DEBUG"] = "1"
    with step():
        pairs = {"group": options.group, "source": options.source, "model_path": options.model}
        pairs = {name: value for name, value in pairs.items() if value}
        for pair in shlex.split(options.args):
            name, equals, value = pair.partition("=")
            if not equals:
                raise InputError(f"ARGS must be name=value pairs separated by spaces, got {pair!r}")
            pairs[name] = value
        logging.getLogger("kfp").setLevel(logging.ERROR)
        state_dir = Path(os.environ.get("SILHOUETTE_STATE_DIR") or ".silhouette").resolve()
        return run(pairs, state_dir=state_dir, console=Console(highlight=False))
    return 1


if __name__ == "__main__":
    sys.exit(main())
