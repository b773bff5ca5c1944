"""`silhouette`: every step, and the whole pipeline, as a command over the same work functions.

Steps hand over through a work folder, one per group (``.silhouette/work/<group>`` unless --work says
otherwise), so that they can be run one after the other, alone, and again. In a checkout the addresses of the
embedded services are used where the environment names none.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silhouette import (
    __version__,
    cli_config,
    cli_database,
    cli_masks,
    cli_pull,
    cli_ret_meta,
    cli_review,
    cli_rollout,
    cli_serving,
    cli_training,
)
from silhouette.command import Group, Output, Work, answer, command, login, need, show, state_dir, tell, work_folder
from silhouette.errors import InputError, SilhouetteError
from silhouette.names import safe_key
from silhouette.step import step

if TYPE_CHECKING:
    from silhouette.config import Config

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From pictures of people to a classifier served by Triton.\n\n"
    "A first run: `silhouette run`. Step by step: version, download, segment, snapshot, dataset, train, export,"
    " evaluate, deploy, infer, each with --group NAME; every command has --help.",
)

app.add_typer(cli_database.badlist, name="badlist")
app.add_typer(cli_database.db, name="db")
app.command()(cli_serving.infer)
app.command()(cli_serving.predict)
app.add_typer(cli_config.config, name="config")
app.add_typer(cli_config.group, name="group")
cli_rollout.register(app)
cli_training.register(app)
app.command()(cli_review.review)
app.add_typer(cli_masks.masks, name="masks")
app.add_typer(cli_ret_meta.ret_meta, name="ret-meta")
app.command()(cli_pull.pull)
app.command()(cli_pull.explain)

Source = Annotated[
    str,
    typer.Option(
        help="Where the pictures are: a folder with one sub-folder per class or s3://bucket/prefix; empty: the service."
    ),
]
Pixsets = Annotated[
    str, typer.Option(help="Instead of a group: a background set, by the name or the file of its list of pixsets.")
]


def _set_folder(work: Path | None, pixsets: str) -> Path:
    """Return where the steps hand a background set over: by its name, or by its file, whose ending is no part of it."""
    sets, path = (work or state_dir() / "work") / "pixsets", Path(pixsets)
    named = sets / safe_key(path.name)
    return named if named.is_dir() else sets / safe_key(path.stem)


def _one_folder(work: Path | None, group: str, pixsets: str) -> Path:
    if bool(group) == bool(pixsets):
        raise InputError(
            f"this step works on a group or on a background set, got {'both' if group else 'neither'};"
            " say --group NAME or --pixsets NAME"
        )
    return work_folder(work, group) if group else _set_folder(work, pixsets)


def _config() -> Config:
    from silhouette.config import load_config

    return load_config()


def _snapshot_digest(folder: Path, command: str = "snapshot") -> str:
    return str(json.loads(need(folder / "snapshot.json", command).read_text(encoding="utf-8"))["digest"])


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print reports as JSON, for machines.")] = False,
) -> None:
    Output.as_json = as_json
    if debug:
        os.environ["SILHOUETTE_DEBUG"] = "1"


@app.command()
def version(group: Group, source: Source = "") -> None:
    """Digest what there is to work on.

    A different digest means that pictures, labels, settings or what the badlist says of the pictures changed.
    """
    with command():
        from silhouette.database import connect
        from silhouette.source_version.version import source_version
        from silhouette.store import open_store

        with connect() as connection:
            show(
                source_version(group=group, source=source, store=open_store(), connection=connection, config=_config())
            )


@app.command()
def download(
    group: Group = "",
    source: Source = "",
    pixsets: Annotated[
        str, typer.Option(help="Pictures of pixsets, without labels: a JSON list, FILE or s3://bucket/key.")
    ] = "",
    work: Work = None,
) -> None:
    """Bring a group's pictures and labels, or those of pixsets, into the store.

    What cannot be opened goes to quarantine with its reason; what is there already is not fetched again. The folder
    gets the dataset with its quality report.
    """
    with command():
        from silhouette.contracts.dataset import QUALITY_NAME
        from silhouette.database import connect
        from silhouette.download_pictures.download import PATIENCE_S, download_pictures, download_pixsets
        from silhouette.input_file import resolve_file
        from silhouette.store import open_store

        if not group and not pixsets:
            raise InputError("download must know what to bring, got neither; say --group NAME, --pixsets FILE or both")
        open_store().ensure_bucket()  # a wrong address is told at once; a server that goes away later is waited for
        store, config = open_store(patience_s=PATIENCE_S), _config()
        with connect() as connection, tempfile.TemporaryDirectory() as scratch:
            common: dict[str, Any] = {"store": store, "connection": connection, "config": config}
            if group:
                out = work_folder(work, group) / "dataset"
                show(download_pictures(group=group, source=source, out=out, **common))
                tell(f"quality report: {out / QUALITY_NAME}")
            if pixsets:
                path = resolve_file(pixsets, what="the list of pixsets", folder=Path(scratch), store=store)
                out = _set_folder(work, pixsets) / "dataset"
                show(download_pixsets(pixsets=path, out=out, **common))
                tell(f"quality report: {out / QUALITY_NAME}")


@app.command()
def segment(
    group: Group = "",
    pixsets: Pixsets = "",
    model_path: Annotated[
        str, typer.Option(help="YOLO segmentation model: FILE, s3:// or wandb: address. [default: as configured]")
    ] = "",
    process_all: Annotated[
        bool, typer.Option("--process-all", help="Do pictures again that it has seen; not those with a verdict.")
    ] = False,
    redo_reviewed: Annotated[
        list[str] | None, typer.Option(metavar="PICTURE_ID", help="Do this picture again, whatever its verdict.")
    ] = None,
    mark_approved: Annotated[
        bool, typer.Option("--mark-approved", help="Mark what is found as approved, without a look at it.")
    ] = False,
    reviewer: Annotated[str, typer.Option(help="Who gives these verdicts. [default: your login here]")] = "",
    work: Work = None,
) -> None:
    """Find the people on the pictures.

    Pictures that this model has seen are skipped; contours go to PostgreSQL, marked unchecked. Several workers may
    do one group at the same time.
    """
    with command():
        from silhouette.database import connect
        from silhouette.segment_people.records import Orders
        from silhouette.segment_people.segment import segment_people
        from silhouette.store import open_store

        config, folder = _config().segmentation, _one_folder(work, group, pixsets)
        orders = Orders(
            process_all=process_all,
            mark_approved=mark_approved,
            redo_reviewed=redo_reviewed or (),
            reviewer=reviewer or login(),
        )
        with connect() as connection:
            report = segment_people(
                dataset=need(folder / "dataset", "download"),
                model=model_path or config.model_path,
                store=open_store(),
                connection=connection,
                config=config,
                orders=orders,
            )
        (folder / "segmentation.json").write_text(json.dumps({"model_digest": report.model_digest}), encoding="utf-8")
        show(report)


@app.command()
def snapshot(group: Group = "", pixsets: Pixsets = "", work: Work = None) -> None:
    """Freeze the reviewed contours.

    Contours, review states and badlist go to the store under their digest; of a background set, which pictures nobody
    is on.
    """
    with command():
        from silhouette.database import connect
        from silhouette.snapshot_contours.background import snapshot_background
        from silhouette.snapshot_contours.snapshot import snapshot_contours
        from silhouette.store import open_store

        folder = _one_folder(work, group, pixsets)
        used = json.loads(need(folder / "segmentation.json", "segment").read_text(encoding="utf-8"))
        freeze = snapshot_contours if group else snapshot_background
        with connect() as connection:
            report = freeze(
                dataset=need(folder / "dataset", "download"),
                model_digest=used["model_digest"],
                store=open_store(),
                connection=connection,
            )
        (folder / "snapshot.json").write_text(json.dumps({"digest": report.digest}), encoding="utf-8")
        show(report)


@app.command()
def dataset(
    group: Group,
    background: Annotated[
        str, typer.Option(help="A background set that was frozen, by the name or the file of its list of pixsets.")
    ] = "",
    work: Work = None,
) -> None:
    """Cut person crops and make the splits.

    A picture, its duplicates and its shoot never straddle two splits.
    """
    with command():
        from silhouette.build_dataset.build import build_dataset
        from silhouette.store import open_store

        config, folder = _config(), work_folder(work, group)
        places = _snapshot_digest(_set_folder(work, background), "snapshot --pixsets") if background else ""
        report = build_dataset(
            dataset=need(folder / "dataset", "download"),
            snapshot_digest=_snapshot_digest(folder),
            background_digest=places,
            out=folder / "crops",
            store=open_store(),
            config=config.dataset,
            seed=config.training.seed,
        )
        show(report)


@app.command()
def train(
    group: Group,
    epochs: Annotated[int, typer.Option(help="Passes over the training split; 0: as configured.")] = 0,
    backbone: Annotated[str, typer.Option(help="A timm model; empty: as configured.")] = "",
    experiment: Annotated[str, typer.Option(help="Name of the run; empty: derived from the inputs.")] = "",
    work: Work = None,
) -> None:
    """Train a classifier on the crops.

    An interrupted run goes on from its last checkpoint.
    """
    with command():
        from silhouette.contracts.crops import read_head
        from silhouette.contracts.training import experiment_name
        from silhouette.input_file import pin_file
        from silhouette.store import open_store
        from silhouette.train_classifier.train import train_classifier

        given = {name: value for name, value in (("epochs", epochs), ("backbone", backbone)) if value}
        config, store = _config().for_run(training=given, gate={}, gpus=None).training, open_store()
        if config.weights:
            pinned = pin_file(config.weights, what="the file of training.weights", store=store)
            config = config.model_copy(update={"weights": pinned})
        folder = work_folder(work, group)
        crops = need(folder / "crops", "dataset")
        name = experiment or experiment_name(
            crops_digest=read_head(crops).digest, settings=config.model_dump_json(), code_version=__version__
        )
        report = train_classifier(
            crops=crops,
            out=folder / "training",
            experiment=name,
            config=config,
            store=store,
        )
        show(report)


@app.command()
def export(group: Group, work: Work = None) -> None:
    """Export to TorchScript and ONNX.

    Pre-processing, temperature and softmax are in the graph; a breach of parity stops the release.
    """
    with command():
        from silhouette.export_model.export import export_model
        from silhouette.store import open_store

        folder = work_folder(work, group)
        show(
            export_model(
                crops=need(folder / "crops", "dataset"),
                training=need(folder / "training", "train"),
                out=folder / "model",
                store=open_store(),
                config=_config().export,
            )
        )


@app.command()
def evaluate(group: Group, work: Work = None) -> None:
    """Judge the model on the test split, beside the one that is served.

    Writes metrics.json and report.html, and says the gate's verdict.
    """
    with command():
        from silhouette.contracts import model_bundle
        from silhouette.contracts.evaluation import REPORT_NAME
        from silhouette.deploy_model.champion import find_champion
        from silhouette.evaluate_model.champion import fetch_champion
        from silhouette.evaluate_model.evaluate import evaluate_model
        from silhouette.store import open_store

        folder = work_folder(work, group)
        crops, bundle = need(folder / "crops", "dataset"), need(folder / "model", "export")
        store, config = open_store(), _config()
        served = find_champion(group=group, onnx_sha256=model_bundle.read(bundle).onnx_sha256, store=store)
        with tempfile.TemporaryDirectory() as scratch:
            judged = evaluate_model(
                crops=crops,
                bundle=bundle,
                out=folder / "evaluation",
                gate=config.gate,
                config=config.evaluate,
                champion=fetch_champion(served, group=group, store=store, folder=Path(scratch)),
            )
        numbers = [f"{name:26}  {value:.3f}" for name, value in judged.scalars().items()]
        answer(judged.model_dump(), [*numbers, *(rule.verdict() for rule in judged.rules)])
        tell(f"report: {folder / 'evaluation' / REPORT_NAME}")


@app.command()
def run(
    group: Annotated[str, typer.Option("--group", "-g", help="Name of the group; empty: the sample group.")] = "",
    source: Source = "",
    model: Annotated[str, typer.Option(help="YOLO segmentation model. [default: as configured]")] = "",
    args: Annotated[str, typer.Option(help="More parameters of the pipeline: 'epochs=3 seed=1'.")] = "",
) -> None:
    """Run the whole training pipeline here.

    The compiled YAML on the embedded services, as `make run` does; needs a checkout.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        main_of_local: Callable[[list[str]], int] = importlib.import_module("pipelines.local").main
    except ModuleNotFoundError as error:
        if error.name not in ("pipelines", "pipelines.local"):
            raise
        with step():
            raise InputError(
                f"`silhouette run` must be started in a checkout, {Path.cwd()} is none; change into it, or submit a run"
            ) from None
    arguments = ["--group", group, "--source", source, "--model", model, "--args", args]
    raise typer.Exit(main_of_local(arguments))


def main() -> None:
    """Run the command line; what is not a step's own error is told in one line as well."""
    try:
        app()
    except SilhouetteError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
