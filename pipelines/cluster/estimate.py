"""What a run would cost, before it: `make estimate`.

    python -m pipelines.cluster.estimate --group NAME [--pipeline NAME] [--source PATH] [--args "epochs=3"]

Lists the pictures at their source, and asks KFP for the newest runs of the same group and pipeline that succeeded:
which of their steps would be reused, and how long the steps with GPUs took. Where there is no such run it says so:
nothing is guessed. Starts, uploads and changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.arguments import add_run_options, given_pairs
from pipelines.cluster.access import open_access
from pipelines.cluster.checkout import CHECKOUT
from pipelines.cluster.follow import spoken, steps_of
from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.runs import experiment_name, version_name
from pipelines.cluster.settings import ClusterSettings, cluster_settings
from pipelines.load import Documents, dump, titles
from pipelines.submit import Order, make_order
from silhouette.config import load_config
from silhouette.picture_source.source import open_source
from silhouette.settings import StoreSettings
from silhouette.step import step
from silhouette.store import Store, open_store

RUNS = 10  # the newest ones
_LOCAL_INPUTS = ("source", "model_path", "background_pixsets")  # their addresses change with their content


@dataclass(frozen=True, kw_only=True)
class SourceSize:
    """What there is to work on; `size_bytes` is None where the source does not say."""

    where: str
    counts: Mapping[str, int]
    refused: int
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """An earlier run.

    Attributes:
        version: Name of the pipeline's version.
        arguments: What it was asked for.
        steps: Task names of its steps, by the time of their beginning.
        durations_s: How long they ran, seconds, all workers together; reused ones are left out.
    """

    version: str
    arguments: Mapping[str, Any]
    steps: tuple[str, ...]
    durations_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Which steps would be reused at most, and why not more."""

    steps: tuple[str, ...]
    why: str


def size_up(group: str, source: str) -> SourceSize:
    """List a group at its source.

    Raises:
        SilhouetteError: As `silhouette.picture_source.source.open_source`.
    """
    in_store = source.startswith("s3://")
    # a folder and the picture service are listed without the store: this one is never asked
    store = open_store() if in_store else Store(StoreSettings(endpoint="localhost:1", access_key="", secret_key=""))
    place = source if in_store or not source else str(CHECKOUT / Path(source).expanduser())
    with open_source(group=group, source=place, config=load_config(), store=store) as (opened, listing):
        size: int | None = None
        if in_store:
            bucket, _, prefix = source.removeprefix("s3://").partition("/")
            size = sum(item.size_bytes for item in store.of_bucket(bucket).list_objects(f"{prefix.rstrip('/')}/"))
        elif source:
            size = sum(Path(picture.locator).stat().st_size for picture in listing)
        return SourceSize(where=opened.where, counts=listing.counts(), refused=listing.refused_count(), size_bytes=size)


def recorded_runs(kfp: Kfp, order: Order, settings: ClusterSettings) -> list[RecordedRun]:
    """Return the newest runs of this group and pipeline that succeeded, the newest first.

    Raises:
        ServiceError: KFP does not answer.
    """
    namespace = settings.run_namespace if kfp.health().get("multi_user") else ""
    found = kfp.experiments(experiment_name(str(order.arguments.get("group", "")), order.pipeline), namespace=namespace)
    if not found:
        return []
    names, recorded = titles(order.documents), []
    for listed in kfp.runs(limit=RUNS, experiment_id=found[0].experiment_id, namespace=namespace):
        version = str(listed.description or "").rpartition(", ")[2]  # as `make submit` wrote it
        if listed.state != "SUCCEEDED" or not version.startswith(f"{order.pipeline}-"):
            continue
        durations: dict[str, float] = {}
        seen = steps_of(kfp.run(listed.run_id), names)
        for done in seen:
            if done.state == "done":
                durations[done.name] = durations.get(done.name, 0.0) + done.duration_s
        arguments = dict(listed.runtime_config.parameters or {}) if listed.runtime_config else {}
        steps = tuple(dict.fromkeys(done.name for done in seen))
        recorded.append(RecordedRun(version=version, arguments=arguments, steps=steps, durations_s=durations))
    return recorded


def cached_steps(documents: Documents) -> list[str]:
    """Return the task names of the steps whose results KFP may reuse."""
    components = documents[0]["components"]
    return [
        key
        for component in [documents[0]["root"], *components.values()]
        for key, task in component.get("dag", {}).get("tasks", {}).items()
        if "executorLabel" in components[task["componentRef"]["name"]]
        and task.get("cachingOptions", {}).get("enableCache")
    ]


def expected_reuse(order: Order, recorded: Sequence[RecordedRun]) -> Reuse:
    """Return the steps that would be reused if the pictures are those of the last run."""
    if not recorded:
        return Reuse(steps=(), why="there is no earlier run of this group that succeeded")
    if recorded[0].version != version_name(order.pipeline, dump(order.documents)):
        return Reuse(steps=(), why="the code has changed since the last run")
    known = order.documents[0]["root"]["inputDefinitions"]["parameters"]
    defaults = {name: spec.get("defaultValue") for name, spec in known.items()}
    then = {**defaults, **recorded[0].arguments}
    now = order.everything()
    changed = sorted(
        name for name in known if name not in _LOCAL_INPUTS and _plain(then.get(name)) != _plain(now.get(name))
    )
    cached = [name for name in recorded[0].steps if name in cached_steps(order.documents)]
    if changed:  # the download takes nothing but the pictures' version; what is behind it may take the rest
        steps = tuple(name for name in cached if name == "download-pictures")
        return Reuse(steps=steps, why=f"{', '.join(changed)} differ from the last run's")
    return Reuse(steps=tuple(cached), why="as long as pictures, reviews and badlist are the same")


def _plain(value: Any) -> Any:
    """Return a number as KFP keeps it: all are doubles there."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def gpu_steps(documents: Documents) -> set[str]:
    """Return the task names of the steps that ask for GPUs."""
    spec = documents[0]
    executors = spec["deploymentSpec"]["executors"]
    asking = {label for label, one in executors.items() if "accelerator" in one["container"].get("resources", {})}
    return {
        key
        for component in [spec["root"], *spec["components"].values()]
        for key, task in component.get("dag", {}).get("tasks", {}).items()
        if spec["components"][task["componentRef"]["name"]].get("executorLabel") in asking
    }


def gpu_hours(order: Order, recorded: Sequence[RecordedRun], reuse: Reuse) -> tuple[float, float] | None:
    """Return the least and the most GPU hours that the recorded runs let expect, or None without records.

    Least: each step as fast as it ever was, with everything reused that may be. Most: each as slow, nothing reused.
    """
    gpus = float(order.everything().get("gpus", 0))
    least = most = 0.0
    for name in gpu_steps(order.documents):
        seconds = [run.durations_s[name] for run in recorded if name in run.durations_s]
        if not seconds:
            return None
        least += 0.0 if name in reuse.steps else min(seconds)
        most += max(seconds)
    return least * gpus / 3600, most * gpus / 3600


def lines(order: Order, size: SourceSize, recorded: Sequence[RecordedRun]) -> list[tuple[str, str]]:
    """Return what is printed: name and value."""
    names = titles(order.documents)
    counts = ", ".join(f"{count} {label}" for label, count in size.counts.items())
    refused = f"; {size.refused} without a usable label" if size.refused else ""
    told = "not said by the source" if size.size_bytes is None else f"{size.size_bytes / 1e6:.1f} MB"
    reuse = expected_reuse(order, recorded)
    steps = ", ".join(names[name] for name in reuse.steps) or "none"
    rows = [
        ("pictures", f"{sum(size.counts.values())}: {counts}{refused}"),
        ("bytes", told),
        ("source", size.where),
        ("reused", f"{steps}; {reuse.why}"),
    ]
    hours = gpu_hours(order, recorded, reuse)
    if hours is None:
        rows.append(("GPU hours", "unknown: no earlier run of this group has recorded every step that asks for GPUs"))
    else:
        runs = "1 earlier run" if len(recorded) == 1 else f"{len(recorded)} earlier runs"
        rows.append(("GPU hours", f"{hours[0]:.2f} to {hours[1]:.2f}, by {runs} of this group, whatever its size was"))
        slowest = sorted(recorded[0].durations_s.items(), key=lambda pair: -pair[1])[:3]
        last = ", ".join(f"{names[name]} {spoken(seconds)}" for name, seconds in slowest)
        rows.append(("last run", f"{last or 'everything was reused'}"))
    return rows


def estimate(pairs: Mapping[str, str], *, pipeline: str) -> None:
    """Print what a run would cost."""
    settings = cluster_settings()
    order = make_order(pairs, pipeline=pipeline, settings=settings)
    size = size_up(str(order.arguments["group"]), str(order.everything().get("source", "")))
    kfp = Kfp(lambda: open_access(settings, os.environ))
    for name, value in lines(order, size, recorded_runs(kfp, order, settings)):
        print(f"{name:9}  {value}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and estimate."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.cluster.estimate", description="What a run would cost.")
    add_run_options(parser)
    options = parser.parse_args(arguments)
    with step():
        estimate(given_pairs(options), pipeline=options.pipeline or "training")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
