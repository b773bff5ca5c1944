"""`silhouette reproduce`, `tune`, `wandb` and `fetch-model`: around a training."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from silhouette.command import Group, Work, answer, command, need, show, state_dir, tell, work_folder
from silhouette.errors import SilhouetteError
from silhouette.names import safe_key

wandb = typer.Typer(no_args_is_help=True, help="Records of trainings at Weights & Biases.")

Experiment = Annotated[str, typer.Argument(help="Name of the experiment, as `silhouette train` said it.")]
OfGroup = Annotated[str, typer.Option("--group", "-g", help="Its group, where several have one of this name.")]
Device = Annotated[str, typer.Option(help="auto, cpu or gpu.")]


def register(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command()(reproduce)
    app.command()(tune)
    app.command("fetch-model")(fetch_model)
    app.add_typer(wandb, name="wandb")


def reproduce(
    experiment: Experiment,
    group: OfGroup = "",
    device: Device = "auto",
    work: Annotated[
        Path | None, typer.Option(help="Folder to work in. [default: .silhouette/work/reproduce/<experiment>]")
    ] = None,
) -> None:
    """Train an experiment again.

    From its recorded crops and recipe; the csv logs are compared, and on a CPU they are the same bytes.
    """
    with command():
        from silhouette.store import open_store
        from silhouette.train_classifier.reproduce import reproduce

        out = work or state_dir() / "work" / "reproduce" / safe_key(experiment)
        report = reproduce(experiment=experiment, group=group, store=open_store(), out=out, device=device)
        show(report)
        if not report.identical:
            raise SilhouetteError(
                f"the csv log must be that of the first training, it is not: {report.first_difference}; other code,"
                " packages or hardware change it"
            )


def tune(
    group: Group,
    trials: Annotated[int, typer.Option(min=1, help="Recipes to try in all; a stopped search goes on.")] = 20,
    parameters: Annotated[
        str, typer.Option(help="What to search, by commas. [default: the two rates, decay and smoothing]")
    ] = "",
    epochs: Annotated[int, typer.Option(help="Passes over the training split of each; 0: as configured.")] = 0,
    device: Device = "auto",
    work: Work = None,
) -> None:
    """Search for a better recipe.

    Trains on the group's crops with values that optuna proposes; writes the best as a file for SILHOUETTE_CONFIG.
    """
    with command():
        from silhouette.config import load_config
        from silhouette.train_classifier.tune import parameter_names, tune

        folder = work_folder(work, group)
        given = {"epochs": epochs} if epochs else {}
        report = tune(
            crops=need(folder / "crops", "dataset"),
            out=folder / "tuning",
            config=load_config().for_run(training=given, gate={}, gpus=None).training,
            trials=trials,
            parameters=parameter_names(parameters),
            device=device,
        )
        show(report)


def fetch_model(
    artifact_name: Annotated[
        str, typer.Option(help="ENTITY/PROJECT/ARTIFACT:ALIAS at Weights & Biases; /path behind it for one file alone.")
    ],
    to: Annotated[Path | None, typer.Option(help="Folder for its files. [default: the artifact's name]")] = None,
) -> None:
    """Fetch a model from Weights & Biases.

    All files of the artifact, proved to have the digests that it was logged with; WANDB_API_KEY must be set.
    """
    with command():
        from silhouette.wandb_artifacts.fetch import fetch_artifact

        report = fetch_artifact(artifact_name, to=to)
        lines = [f"{digest}  {name}" for name, digest in report.files.items()]
        answer(dataclasses.asdict(report), [f"{report.artifact}, digest {report.digest}, in {report.folder}", *lines])


@wandb.command()
def sync(experiment: Experiment, group: OfGroup = "") -> None:
    """Send the record of a training that had no account.

    Takes it from the store, where a pod's training leaves it; WANDB_API_KEY must be set.
    """
    with command():
        from silhouette.store import open_store
        from silhouette.train_classifier import tracking
        from silhouette.train_classifier.reproduce import find_experiment

        store = open_store()
        prefix = find_experiment(experiment, group=group, store=store)
        with tempfile.TemporaryDirectory() as scratch:
            store.get_tree(f"{prefix}/{tracking.FOLDER}", Path(scratch) / tracking.FOLDER)
            for name in tracking.sync(Path(scratch)):
                tell(f"sent {name}")
