"""Run a compiled pipeline on a cluster: `make submit`, and again and again: `make schedule`.

    python -m pipelines.submit --group NAME [--pipeline NAME] [--source PATH] [--model FILE] [--args "epochs=3"]
                               [--wait 0] [--every --cron "0 3 * * 1"]

Everything that can be checked is checked before anything is started: the parameters before any call, then the
checkout, KFP, the images, what the run needs of the cluster, the group. The YAML is the committed one; what differs
is in `pipelines.load.for_place`. Exit code: 0 succeeded, 1 failed or refused, 3 canceled.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines import compile as compiler
from pipelines.arguments import add_run_options, given_pairs, overlay_arguments, parse_arguments, require_all
from pipelines.cluster import checkout, preflight, registry
from pipelines.cluster.access import open_access
from pipelines.cluster.follow import EXIT_CODES, follow, outcome
from pipelines.cluster.inputs import upload_inputs
from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.runs import (
    cron_of_kfp,
    experiment_name,
    require_release,
    run_body,
    run_name,
    version_name,
)
from pipelines.cluster.settings import ClusterSettings, cluster_settings
from pipelines.load import Documents, cluster_objects, dump, for_place, images, read_documents, titles
from silhouette.errors import InputError
from silhouette.step import step
from silhouette.store import open_store

INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run that was checked against the compiled pipeline, and against nothing else yet.

    Attributes:
        pipeline: Its name.
        documents: The YAML as the cluster gets it.
        arguments: What is sent; the rest are the pipeline's defaults.
    """

    pipeline: str
    documents: Documents
    arguments: dict[str, Any]

    def everything(self) -> dict[str, Any]:
        """Return all parameters, defaults included."""
        known = self.documents[0]["root"]["inputDefinitions"]["parameters"]
        defaults = {name: spec["defaultValue"] for name, spec in known.items() if "defaultValue" in spec}
        return {**defaults, **self.arguments}


def make_order(pairs: Mapping[str, str], *, pipeline: str, settings: ClusterSettings) -> Order:
    """Check a run's parameters.

    Raises:
        InputError: There is no such pipeline, or a parameter is unknown, missing or of the wrong type.
    """
    documents = read_documents(compiler.compiled_file(pipeline))
    known = documents[0]["root"]["inputDefinitions"]["parameters"]
    arguments = {**overlay_arguments(known), **parse_arguments(pairs, known)}
    require_all(arguments, known)
    name = documents[0]["pipelineInfo"]["name"]
    return Order(
        pipeline=name, documents=for_place(documents, retries=True, registry=settings.registry), arguments=arguments
    )


def check(order: Order, kfp: Kfp, settings: ClusterSettings, *, console: Console) -> bool:
    """See that the cluster has what the run needs; return whether KFP has many users.

    Raises:
        SilhouetteError: It has not, or does not answer.
    """
    health = kfp.health()
    require_release(health, pipeline=order.pipeline)
    if settings.asks_registry:
        registry.require_images(images(order.documents))
    everything = order.everything()
    if kfp.access.kubernetes is not None:
        objects = cluster_objects(order.documents)
        preflight.require_objects(kfp.access.kubernetes, objects, settings=settings, say=console.print)
        if settings.asks_gpu_nodes:
            preflight.require_gpu_nodes(kfp.access.kubernetes, everything, say=console.print)
    if everything.get("group") and not everything.get("source"):
        preflight.require_group(everything["group"], environ=os.environ)
    return bool(health.get("multi_user"))


def send(
    order: Order, kfp: Kfp, settings: ClusterSettings, *, commit: str, many_users: bool, cron: str, console: Console
) -> str:
    """Upload inputs and pipeline, start the run or make the recurring run; return its id."""
    everything = order.everything()
    sent = upload_inputs(everything, store=open_store, base=checkout.CHECKOUT, say=console.print)
    arguments = {**order.arguments, **{name: value for name, value in sent.items() if value != everything[name]}}
    namespace = settings.run_namespace if many_users else ""
    document = dump(order.documents)
    with tempfile.TemporaryDirectory(prefix="silhouette-submit-") as folder:
        file = Path(folder) / f"{order.pipeline}.yaml"
        file.write_text(document, encoding="utf-8")
        version = version_name(order.pipeline, document)
        pipeline_id, version_id = kfp.pipeline_version(
            pipeline=order.pipeline, version=version, document=file, namespace=namespace
        )
    experiment = experiment_name(str(arguments.get("group", "")), order.pipeline)
    experiment_id = kfp.experiment_id(experiment, namespace=namespace)
    name = run_name(experiment, order.pipeline)
    body = run_body(
        name=name,
        description=f"commit {commit}, {version}",
        experiment_id=experiment_id,
        pipeline_id=pipeline_id,
        version_id=version_id,
        arguments=arguments,
        settings=settings,
    )
    if cron:
        trigger = {"cron_schedule": {"cron": cron}}
        return _scheduled(kfp, {**body, "trigger": trigger}, console=console, settings=settings)
    run_id = str(kfp.create_run(body).run_id)
    console.print(f"run   {name}", markup=False, soft_wrap=True)
    console.print(f"id    {run_id}", markup=False, soft_wrap=True)
    console.print(f"see   {link(settings, f'runs/details/{run_id}')}", markup=False, soft_wrap=True)
    return run_id


def _scheduled(kfp: Kfp, body: dict[str, Any], *, console: Console, settings: ClusterSettings) -> str:
    # one at a time, and no runs made up for when the cluster was off: each looks at what there is by then
    recurring = {**body, "mode": "ENABLE", "max_concurrency": "1", "no_catchup": True}
    made = str(kfp.create_recurring_run(recurring).recurring_run_id)
    console.print(f"every  {body['trigger']['cron_schedule']['cron']} (seconds first, UTC unless KFP says otherwise)")
    console.print(f"id     {made}", soft_wrap=True)
    console.print(f"see    {link(settings, f'recurringrun/details/{made}')}", markup=False, soft_wrap=True)
    return made


def link(settings: ClusterSettings, page: str) -> str:
    """Return where the UI shows something; where it has no address of its own, how to get one."""
    base = settings.ui_url or settings.kfp_url
    if base:
        return f"{base}/#/{page}"
    forward = f"kubectl -n {settings.kfp_namespace} port-forward svc/ml-pipeline-ui 8080:80"
    return f"http://localhost:8080/#/{page} behind `{forward}`"


def submit(pairs: Mapping[str, str], *, pipeline: str, wait: bool, cron: str, console: Console, poll_s: float) -> int:
    """Check, send and follow a run; return the exit code."""
    settings = cluster_settings()
    order = make_order(pairs, pipeline=pipeline, settings=settings)
    if stale := compiler.stale_pipelines([pipeline]):
        raise InputError(compiler.STALE.format(names=", ".join(stale)))
    commit = checkout.committed()
    kfp = Kfp(lambda: open_access(settings))
    many_users = check(order, kfp, settings, console=console)
    run_id = send(order, kfp, settings, commit=commit, many_users=many_users, cron=cron, console=console)
    if cron or not wait:
        return 0
    return watch(kfp, run_id, names=titles(order.documents), console=console, poll_s=poll_s)


def watch(kfp: Kfp, run_id: str, *, names: Mapping[str, str], console: Console, poll_s: float) -> int:
    """Follow a run to its end, say how it ended, and return the exit code."""
    try:
        run = follow(kfp, run_id, names=names, console=console, poll_s=poll_s)
    except KeyboardInterrupt:
        print(f"\nthe run goes on; `make follow RUN={run_id}` follows it, `make cancel RUN={run_id}` ends it")
        return INTERRUPTED
    if EXIT_CODES[run.state] == 0:
        print(outcome(run))
    else:
        print(f"error: {outcome(run)}; `make logs RUN={run_id}` shows what its steps printed", file=sys.stderr)
    return EXIT_CODES[run.state]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and submit."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.submit", description="Run a pipeline on a cluster.")
    add_run_options(parser)
    parser.add_argument("--wait", default="1", help="0: start the run and leave it alone")
    parser.add_argument("--every", action="store_true", help="make a recurring run by --cron instead")
    parser.add_argument("--cron", default="", help="minute hour day month weekday")
    parser.add_argument("--poll-s", type=float, default=3.0, help="seconds between two looks at the run")
    options = parser.parse_args(arguments)
    with step():
        if options.wait not in ("0", "1", ""):
            raise InputError(f"WAIT must be 0 or 1, got {options.wait!r}; leave it out to follow the run")
        return submit(
            given_pairs(options),
            pipeline=options.pipeline or "training",
            wait=options.wait != "0",
            cron=cron_of_kfp(options.cron) if options.every else "",
            console=Console(highlight=False),
            poll_s=options.poll_s,
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
