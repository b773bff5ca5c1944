"""Ask about runs on the cluster and end them: `make runs`, `follow`, `logs`, `cancel`.

python -m pipelines.cluster {runs,follow,logs,cancel} [--run ID] [--step NAME] [--group NAME] ...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipelines import submit
from pipelines.cluster.access import open_access
from pipelines.cluster.follow import ENDED, outcome, spoken, steps_of
from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.kfp_calls import NOT_FOUND, RefusedError
from pipelines.cluster.logs import step_logs
from pipelines.cluster.runs import experiment_name
from pipelines.cluster.settings import ClusterSettings, cluster_settings
from pipelines.compile import PIPELINES, compiled_file
from pipelines.load import read_documents, titles
from silhouette.errors import InputError
from silhouette.step import step

_SHOWN = 20
_WAY_OUT = "`make runs` lists them"


def _names() -> dict[str, str]:
    """Return the titles of all steps that there are, whatever pipeline a run is of."""
    return {key: title for name in PIPELINES for key, title in titles(read_documents(compiled_file(name))).items()}


def _run_id(options: argparse.Namespace) -> str:
    if not options.run:
        raise InputError(f"RUN must be a run's id, it is empty; {_WAY_OUT}")
    return str(options.run)


def runs(kfp: Kfp, options: argparse.Namespace, settings: ClusterSettings) -> int:
    """List the newest runs, of a group or of all."""
    namespace = settings.run_namespace if kfp.health().get("multi_user") else ""
    experiment_id = ""
    if options.group:
        found = kfp.experiments(experiment_name(options.group, ""), namespace=namespace)
        if not found:
            raise InputError(f"a group must have been run here, {options.group!r} was not; `make runs` lists all")
        experiment_id = found[0].experiment_id
    recurring = kfp.recurring_runs(limit=_SHOWN, experiment_id=experiment_id, namespace=namespace)
    for made in recurring:
        cron = made.trigger.cron_schedule.cron if made.trigger and made.trigger.cron_schedule else ""
        print(f"{made.recurring_run_id}  scheduled  {cron:>12}  {made.display_name}")
    listed = kfp.runs(limit=_SHOWN, experiment_id=experiment_id, namespace=namespace)
    for run in listed:
        print(f"{run.run_id}  {(run.state or 'PENDING').lower():9}  {_took(run):>12}  {run.display_name}")
    if not listed and not recurring:
        print("no run yet; `make submit GROUP=...` starts one")
    return 0


def _took(run: Any) -> str:
    if run.state not in ENDED or not run.created_at or not run.finished_at:
        return ""
    return spoken((run.finished_at - run.created_at).total_seconds())


def follow(kfp: Kfp, options: argparse.Namespace, _: ClusterSettings) -> int:
    """Follow a run; the exit code is the run's."""
    console = Console(highlight=False)
    return submit.watch(kfp, _run_id(options), names=_names(), console=console, poll_s=options.poll_s)


def logs(kfp: Kfp, options: argparse.Namespace, _: ClusterSettings) -> int:
    """Print what the steps of a run printed, or one of them."""
    names = _names()
    for name, text in step_logs(kfp, _run_id(options), step=options.step):
        print(f"==> {names.get(name, name)} ({name})")
        print(text, end="" if text.endswith("\n") else "\n")
    return 0


def cancel(kfp: Kfp, options: argparse.Namespace, _: ClusterSettings) -> int:
    """Ask KFP to end a run, or end a recurring run."""
    run_id = _run_id(options)
    try:
        run = kfp.run(run_id)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        return _end_schedule(kfp, run_id)
    if run.state in ENDED:
        print(f"{outcome(run)}; there is nothing to cancel")
        return 0
    kfp.cancel(run_id)
    running = [step.name for step in steps_of(run, _names()) if step.state == "running"]
    print(f"{run.display_name} is being canceled" + (f", it was at {', '.join(running)}" if running else ""))
    return 0


def _end_schedule(kfp: Kfp, recurring_run_id: str) -> int:
    try:
        kfp.delete_recurring_run(recurring_run_id)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        raise InputError(
            f"RUN must be the id of a run or schedule, there is no {recurring_run_id}; {_WAY_OUT}"
        ) from None
    print(f"the schedule {recurring_run_id} is ended; the runs that it made stay")
    return 0


COMMANDS = {"runs": runs, "follow": follow, "logs": logs, "cancel": cancel}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do one thing."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.cluster", description="Runs on the cluster.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--run", default="", help="a run's id")
    parser.add_argument("--step", default="", help="a step's task name")
    parser.add_argument("--group", default="", help="only this group's runs")
    parser.add_argument("--poll-s", type=float, default=3.0, help="seconds between two looks at the run")
    options = parser.parse_args(arguments)
    with step():
        settings = cluster_settings()
        kfp = Kfp(lambda: open_access(settings))
        return COMMANDS[options.command](kfp, options, settings)
    return 1


if __name__ == "__main__":
    sys.exit(main())
