"""`silhouette infer` and `silhouette predict`: pictures through Triton, many of them or one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silhouette.command import Group, Work, answer, command, need, show, work_folder
from silhouette.errors import InputError

if TYPE_CHECKING:
    from silhouette.config import Config
    from silhouette.store import Store
    from silhouette.triton_client import Triton

_ONNX = ".onnx"


def infer(
    group: Group = "",
    source: Annotated[str, typer.Option(help="A folder of pictures to classify instead of a group's.")] = "",
    model: Annotated[
        str,
        typer.Option(help="Triton's name of the model, or FILE.onnx, served only meanwhile. [default: the group's]"),
    ] = "",
    model_path: Annotated[
        str, typer.Option(help="YOLO segmentation model, where nobody was reviewed. [default: as configured]")
    ] = "",
    masks: Annotated[
        Path | None,
        typer.Option(help="A folder of `silhouette masks export --to`: the group's people are those in it."),
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Be worker I, from 0, of N; the last one merges.")] = "0/1",
    work: Work = None,
) -> None:
    """Classify pictures through Triton.

    A group's pictures, or a folder's, over HTTP, into rows and a gallery. People are those of exported masks where they
    are named, else of the group's snapshot; the segmentation model finds them where there is none. What is done is
    kept: a run that was killed goes on.
    """
    with command():
        from silhouette.classify_pictures.classify import Shard, classify_pictures
        from silhouette.config import load_config
        from silhouette.database import connect
        from silhouette.names import safe_key
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton

        if not group and not source:
            raise InputError("infer must know what to classify, got neither; say --group NAME or --source FOLDER")
        if source and not (model or group):
            raise InputError("infer must know which model answers, got none; say --model NAME or --group NAME")
        if masks and source:
            raise InputError("masks are of a group's pictures, got --masks with --source; say --group NAME alone")
        config, store, worker = load_config(), open_store(), Shard.of(shard)
        folder = work_folder(work, source or group)
        with open_triton() as triton, ExitStack() as stack:
            asked = stack.enter_context(_model(model or safe_key(group), store, triton, config))
            pictures: dict[str, Any] = {"source": Path(source)} if source else _of_group(folder)
            if masks:
                pictures = {"dataset": pictures["dataset"], "masks": masks}
                pictures["connection"] = stack.enter_context(connect())
            elif "snapshot_digest" not in pictures:
                pictures |= stack.enter_context(_detector(model_path, store, config))
            show(
                classify_pictures(
                    out=folder / "inference", store=store, triton=triton, config=config.dataset, shard=worker,
                    recent_crops=config.serving.recent_crops,
                    **asked, **pictures,
                )
            )  # fmt: skip


def _of_group(folder: Path) -> dict[str, Any]:
    dataset = need(folder / "dataset", "download")
    frozen = folder / "snapshot.json"
    digest = {"snapshot_digest": json.loads(frozen.read_text(encoding="utf-8"))["digest"]} if frozen.exists() else {}
    return {"dataset": dataset, **digest}


@contextmanager
def _model(name: str, store: Store, triton: Triton, config: Config) -> Iterator[dict[str, Any]]:
    """Give what `classify_pictures` wants to know of a served model, or of a file that is served meanwhile."""
    from silhouette.classify_pictures.temporary_model import served_file
    from silhouette.model_source import resolve_model

    if not name.endswith(_ONNX):
        yield {"model": name}
        return
    with tempfile.TemporaryDirectory(prefix="silhouette-infer-") as scratch:
        path = resolve_model(name, folder=Path(scratch), store=store)
        with served_file(path, store=store, triton=triton, config=config.dataset) as served:
            yield {"model": served.model, "told_as": served.told_as, "card": served.card}


@contextmanager
def _detector(model_path: str, store: Store, config: Config) -> Iterator[dict[str, Any]]:
    """Give the segmenter as `silhouette segment` runs it, and the database that has the badlist."""
    from silhouette.database import connect
    from silhouette.detector import load_detector
    from silhouette.model_source import resolve_model

    known = config.segmentation
    with connect() as connection, tempfile.TemporaryDirectory(prefix="silhouette-infer-") as scratch:
        path = resolve_model(model_path or known.model_path, folder=Path(scratch), store=store)
        yield {"detector": load_detector(path, store=store, **known.for_detector()), "connection": connection}


def predict(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    group: Annotated[str, typer.Option("--group", "-g", help="Name of the group whose model answers.")],
) -> None:
    """Say what a group's model makes of one picture.

    The file's bytes go to Triton as they are; there it is decoded, its people are found and classified.
    """
    with command():
        from silhouette.names import safe_key
        from silhouette.picture_answer import SUFFIX
        from silhouette.triton_client import open_triton

        if not picture.is_file():
            raise InputError(f"predict must be given a picture file, {picture} is none; correct the path")
        with open_triton() as triton:
            told = triton.answer_picture(f"{safe_key(group)}{SUFFIX}", picture.read_bytes())
        answer(told, _lines(told))


def _lines(told: dict[str, Any]) -> list[str]:
    models = ", ".join(f"{part['model']} version {part['version']}" for part in told["models"].values())
    if told["main"] is None:
        return ["nobody was found", f"answered by {models}"]
    lines = [f"{told['label']}  {told['probability']:.3f}"]
    for index, person in enumerate(told["people"]):
        box = " ".join(f"{value:.0f}" for value in person["box_xyxy"])
        main = ", the main person" if index == told["main"] else ""
        lines.append(f"  person {index + 1} at {box}: {person['label']} {person['probability']:.3f}{main}")
    return [*lines, f"answered by {models}"]
