"""`silhouette deploy`, `rollback`, `status`, `history` and `reconcile`: what Triton serves."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from silhouette.command import Group, Work, answer, command, login, need, show, tell, work_folder
from silhouette.errors import ServiceError
from silhouette.names import safe_key

By = Annotated[str, typer.Option(help="Who does it. [default: your login here]")]


def register(app: typer.Typer) -> None:
    """Give the command line these commands."""
    for function in (deploy, rollback, status, history, reconcile):
        app.command()(function)


def deploy(
    group: Group,
    by: By = "",
    work: Work = None,
) -> None:
    """Serve the judged model from Triton.

    A new version is held over HTTP against its golden crops, and beside the served one, before it counts as deployed.
    """
    with command():
        from silhouette.config import load_config
        from silhouette.deploy_model.deploy import deploy_model
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton
        from silhouette.triton_replicas import other_replicas

        folder = work_folder(work, group)
        used = need(folder / "segmentation.json", "segment")
        report = deploy_model(
            bundle=need(folder / "model", "export"),
            evaluation=need(folder / "evaluation", "evaluate"),
            store=open_store(),
            triton=open_triton(),
            replicas=other_replicas(),
            out=folder / "deployment",
            serving=load_config().serving,
            segmenter=json.loads(used.read_text(encoding="utf-8"))["model_digest"],
            by=by or login(),
        )
        show(report)
        tell(f"\nAsk it for the class of a real test crop:\n\n  {report.curl}")
        if report.picture_model:
            tell(f"\nAsk it about a photo of yours:\n\n  {report.picture_curl}")


def rollback(
    group: Group,
    to: Annotated[str, typer.Option(help="A version that was served. [default: the last one below this one]")] = "",
    by: By = "",
) -> None:
    """Serve an earlier version again.

    It proves itself on the golden crops of its own deployment; when it does not, what is served stays.
    """
    with command():
        from silhouette.deploy_model import rollout
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton
        from silhouette.triton_replicas import other_replicas

        show(
            rollout.rollback(
                group=group,
                store=open_store(),
                triton=open_triton(),
                replicas=other_replicas(),
                by=by or login(),
                to=to,
            )
        )


def status(
    group: Annotated[str, typer.Option("--group", "-g", help="Only this group. [default: all models]")] = "",
) -> None:
    """Say what Triton serves.

    Versions that are wanted and that answer, on every replica; the exit code is 1 when one is not as it should be.
    """
    with command():
        from dataclasses import asdict

        from silhouette.deploy_model import rollout
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton
        from silhouette.triton_replicas import other_replicas

        servers = [open_triton(), *other_replicas()]
        found = rollout.status(store=open_store(), servers=servers, model=safe_key(group) if group else "")
        lines = [
            f"{item.model}  {'serves' if item.as_wanted else 'must serve'} version {' and '.join(item.wanted)}"
            f" at {item.url}{item.experiment and f', experiment {item.experiment}'}"
            f"{item.problem and f'; {item.problem}'}"
            for item in found
        ]
        answer([asdict(item) for item in found], lines or ["no model was deployed"])
        if wrong := [item for item in found if not item.as_wanted]:
            raise ServiceError(
                f"every model must be served as the repository says, {len(wrong)} of {len(found)} are not; run"
                " `silhouette reconcile`"
            )


def history(group: Group) -> None:
    """List what was done to a group's served model."""
    with command():
        from silhouette.deploy_model import events
        from silhouette.store import open_store

        past = events.history(open_store(), safe_key(group))
        lines = [
            f"{event.at:%Y-%m-%d %H:%M:%S}  {event.kind:11}  {f'version {event.version}' if event.version else '':10}"
            f"  {event.experiment}  {event.by}  {event.detail}"
            for event in past
        ]
        answer([event.model_dump(mode="json") for event in past], lines or [f"nothing was deployed for {group!r}"])


def reconcile(by: By = "") -> None:
    """Make Triton serve what the repository says.

    After a restart of the server, or on a new replica.
    """
    with command():
        from dataclasses import asdict

        from silhouette.deploy_model import rollout
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton
        from silhouette.triton_replicas import other_replicas

        store, servers = open_store(), [open_triton(), *other_replicas()]
        found = [rollout.reconcile(store=store, triton=server, by=by or login()) for server in servers]
        lines = [
            f"{report.url}: {len(report.as_wanted)} as wanted, loaded {', '.join(report.loaded) or 'none'}"
            for report in found
        ]
        answer([asdict(report) for report in found], lines)
        if failed := [f"{model}: {reason}" for report in found for model, reason in report.failed.items()]:
            raise ServiceError(f"every model must be loaded, {len(failed)} could not be: {'; '.join(failed)}")
