"""A picture that was put on the badlist is in nothing that is made afterwards: neither its id nor its bytes.

One group goes through the steps twice, on real services, before and after `silhouette badlist push`. `ARTIFACTS` is
every artifact that shows pictures: a new one is one more row.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from PIL import Image
from typer.testing import CliRunner

from silhouette.build_dataset.build import build_dataset
from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.classify_pictures.classify import GALLERY_NAME, REPORT_NAME, classify_pictures
from silhouette.cli import app
from silhouette.config import Config, load_config
from silhouette.contracts import contours, crops, predictions, snapshot
from silhouette.contracts import dataset as datasets
from silhouette.database import connect, groups
from silhouette.database.review_queue import Filters
from silhouette.deploy_model.deploy import deploy_model
from silhouette.detection import DetectedPerson
from silhouette.download_pictures.download import download_pictures
from silhouette.export_masks.export import export_masks
from silhouette.imaging import open_picture
from silhouette.names import safe_key
from silhouette.pull_folders.kind import Kind
from silhouette.pull_folders.pull import pull
from silhouette.review.connections import Connections
from silhouette.review.desk import Desk
from silhouette.review.preparation import Preparation
from silhouette.segment_people.segment import segment_people
from silhouette.snapshot_contours.snapshot import snapshot_contours
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.segment_people import pictures, tiny_models

BAD = "red/the bad one.png"
TWIN = "red/another name of it.png"  # the same bytes
EACH = 8
COLOUR = (210, 40, 210)  # no other picture is as pink
WORKING_SIDE = 256


def bad_png() -> bytes:
    """A picture that is large enough for a working copy."""
    noise = np.random.default_rng(1000).integers(-20, 20, (300, 320, 3))
    stream = io.BytesIO()
    Image.fromarray((np.array(COLOUR) + noise).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@dataclass(frozen=True, kw_only=True)
class World:
    """What the artifacts are made of and with."""

    dataset: Path
    source: Path
    connection: psycopg.Connection
    snapshot_digest: str
    folder: Path
    store: Store
    triton: Triton
    model: str
    config: Config


def _crops(world: World) -> bytes:
    out = world.folder / "crops"
    build_dataset(
        dataset=world.dataset, snapshot_digest=world.snapshot_digest, out=out, store=world.store,
        config=world.config.dataset, seed=1,
    )  # fmt: skip
    head = crops.read_head(out).model_copy(update={"skipped": {}})  # where it is named as left out
    return b"".join(path.read_bytes() for path in out.glob("*.arrow")) + head.model_dump_json().encode()


def _snapshot(world: World) -> bytes:
    path = world.folder / "snapshot.arrow"
    world.store.get_file(snapshot.store_key(world.snapshot_digest), path)
    head = snapshot.read_head(path).model_copy(update={"badlisted": ()})  # where it is named as left out
    return head.model_dump_json().encode() + "\n".join(row.sha256 for row in snapshot.read(path)).encode()


def _inference(name: str) -> Callable[[World], bytes]:
    def show(world: World) -> bytes:
        out = world.folder / "inference"
        report = classify_pictures(
            dataset=world.dataset, snapshot_digest=world.snapshot_digest, model=world.model, out=out,
            store=world.store, triton=world.triton, config=world.config.dataset,
        )  # fmt: skip
        stored = world.store.get_bytes(f"{report.key}/{name}")
        assert stored == (out / name).read_bytes()
        if name == REPORT_NAME:
            return json.dumps({**json.loads(stored), "left_out": {}}, ensure_ascii=False).encode()
        return stored

    return show


def _downloaded(world: World) -> Path:
    """Bring the group in again, once; what is named as left out stays away from what is looked at."""
    out = world.folder / "downloaded"
    if not out.exists():
        download_pictures(
            group="badlist", source=world.source, out=out, store=world.store, connection=world.connection,
            config=world.config,
        )  # fmt: skip
    return out


def _dataset(world: World) -> bytes:
    """The table of the run, which is the one in the store too."""
    (stored,) = world.store.list_keys(f"datasets/{safe_key('badlist')}")
    table = (_downloaded(world) / datasets.CSV_NAME).read_bytes()
    assert world.store.get_bytes(stored) == table
    return table


def _quality(world: World) -> bytes:
    """The page without the card of what was refused, and the SHA-256 of the bad picture when it has its thumbnail."""
    before, heading, refused = (_downloaded(world) / datasets.QUALITY_NAME).read_text().partition("<h2>Refused</h2>")
    assert heading
    page = before + refused.partition("</section>")[2]
    thumbnails = [base64.b64decode(data) for data in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)]
    assert len(thumbnails) >= EACH
    colours = [open_picture(data).pixels.mean((0, 1)) for data in thumbnails]
    shown = any(np.abs(colour - COLOUR).max() < 20 for colour in colours)
    return page.encode() + (hashlib.sha256(bad_png()).hexdigest().encode() if shown else b"")


def _working_copies(world: World) -> bytes:
    """Their keys as the dataset lists them; nothing else is so large that it has one."""
    rows = datasets.read(_downloaded(world)).rows
    assert len(rows) >= 2 * EACH
    return "\n".join([*(row.working_key for row in rows), f"of {len(rows)} pictures"]).encode()


def _review(world: World) -> bytes:
    connections = Connections()
    group_id = connections.run(lambda connection: groups.find_group(connection, "badlist"))
    desk = Desk(connections, group="badlist", group_id=group_id)
    (model,) = desk.models()
    Preparation(connections, group_id=group_id).prepare(model.model_digest)
    page = desk.page(model_digest=model.model_digest, filters=Filters(), order="doubtful", after=None, limit=200)
    connections.close()
    return repr(page).encode()


def _masks(world: World) -> bytes:
    """Names and content of all files of the export, in the store and in a folder."""
    out = world.folder / "masks"
    report = export_masks(group="badlist", store=world.store, connection=world.connection, folder=out)
    stored = {key.removeprefix(f"{report.key}/") for key in world.store.list_keys(f"{report.key}/")}
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert stored == {name for name in files if not name.startswith("images/")}
    return b"".join(name.encode() + data for name, data in sorted(files.items()))


def _ret_meta(world: World) -> bytes:
    """Return all documents, and what a run says of those that it made or kept."""
    out = world.folder / "ret_meta"
    build_ret_meta(
        groups=["badlist"], out=out, store=world.store, connection=world.connection, triton=world.triton,
        config=world.config,
    )  # fmt: skip
    rows = [row for row in (out / "documents.csv").read_text().splitlines() if ",left out," not in row]
    documents = [data for _, data in world.store.get_many(list(world.store.list_keys("ret_meta/"))) if data[:1] == b"{"]
    shown = "\n".join(row for row in rows if ",withdrawn," not in row)  # where it is named as taken away
    return b"".join(documents) + shown.encode()


def _pulled(world: World) -> bytes:
    """Names and content of all that `silhouette pull pictures` lays out."""
    out = world.folder / f"pulled {len(list(world.folder.iterdir()))}"
    pull(kind=Kind.PICTURES, name="badlist", to=out, store=world.store, connection=world.connection)
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    known = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files).encode()
    return known + b"".join(path.name.encode() + path.read_bytes() for path in files)


@dataclass(frozen=True, kw_only=True)
class Shows:
    """An artifact: what it shows of pictures, without its list of what was left out; by id, by SHA-256 or both."""

    made: Callable[[World], bytes]
    by_id: bool
    by_sha256: bool


class Everybody:
    """A segmenter that takes the whole picture for a person."""

    model_digest, lanes, at_once = "everybody", 2, 1

    def detect(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> list[list[DetectedPerson]]:
        found = []
        for picture in pixels:
            height, width = picture.shape[:2]
            whole = contours.from_mask(np.ones((height, width), np.uint8))
            found.append([DetectedPerson(contours=whole, box_xyxy=(0.0, 0.0, width, height), score=0.9)])
        return found


def _folder_inference(name: str, *, by_bytes: bool = False) -> Callable[[World], bytes]:
    """A folder classified: the source itself, or copies of the bytes under other names."""

    def show(world: World) -> bytes:
        source, out = world.folder / "a folder", world.folder / "of folder"
        for number, path in enumerate(sorted(p for p in world.source.rglob("*") if p.is_file())):
            copy = source / (f"renamed/{number}.png" if by_bytes else path.relative_to(world.source))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        names = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in source.rglob("*.png")}
        classify_pictures(
            source=source, detector=Everybody(), connection=world.connection, model=world.model, out=out,
            store=world.store, triton=world.triton, config=world.config.dataset,
        )  # fmt: skip
        rows = (out / name).read_bytes()
        if not by_bytes:
            return rows
        shown = {row.picture_id for row in predictions.read(out)}
        bytes_shown = [sha256 for sha256, path in names.items() if path.relative_to(source).as_posix() in shown]
        return "\n".join(bytes_shown).encode()

    return show


def _group_with_detector(world: World) -> bytes:
    out = world.folder / "of detector"
    classify_pictures(
        dataset=world.dataset, detector=Everybody(), connection=world.connection, model=world.model, out=out,
        store=world.store, triton=world.triton, config=world.config.dataset,
    )  # fmt: skip
    return (out / predictions.FILE_NAME).read_bytes()


ARTIFACTS = {
    "folder predictions": Shows(made=_folder_inference(predictions.FILE_NAME), by_id=True, by_sha256=False),
    "folder gallery": Shows(made=_folder_inference(GALLERY_NAME), by_id=True, by_sha256=False),
    "folder of other names": Shows(
        made=_folder_inference(predictions.FILE_NAME, by_bytes=True), by_id=False, by_sha256=True
    ),
    "group without a snapshot": Shows(made=_group_with_detector, by_id=True, by_sha256=True),
    "crops": Shows(made=_crops, by_id=True, by_sha256=True),
    "snapshot": Shows(made=_snapshot, by_id=False, by_sha256=True),
    "predictions": Shows(made=_inference(predictions.FILE_NAME), by_id=True, by_sha256=True),
    "gallery": Shows(made=_inference(GALLERY_NAME), by_id=True, by_sha256=False),
    "review page": Shows(made=_review, by_id=True, by_sha256=True),
    "mask export": Shows(made=_masks, by_id=True, by_sha256=True),
    "inference report": Shows(made=_inference(REPORT_NAME), by_id=False, by_sha256=False),
    "ret_meta": Shows(made=_ret_meta, by_id=True, by_sha256=True),
    "pull pictures": Shows(made=_pulled, by_id=True, by_sha256=True),
    # from here on the group is downloaded anew; what is above is made of the dataset from before
    "dataset": Shows(made=_dataset, by_id=True, by_sha256=True),
    "quality page": Shows(made=_quality, by_id=True, by_sha256=True),
    "working copies": Shows(made=_working_copies, by_id=False, by_sha256=True),
    "pull pictures downloaded anew": Shows(made=_pulled, by_id=True, by_sha256=True),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for offset, label in enumerate(bundles.CLASSES):
        (root / label).mkdir(parents=True)
        for number in range(EACH):
            (root / label / f"picture {number}.png").write_bytes(pictures.png(offset * EACH + number))
    for name in (BAD, TWIN):
        (root / name).write_bytes(bad_png())
    return root


@pytest.fixture
def config() -> Config:
    shipped = load_config()
    segmentation = shipped.segmentation.model_copy(update={"image_size": 64, "runtime": "torch"})
    return shipped.model_copy(
        update={
            "segmentation": segmentation,
            "dataset": shipped.dataset.model_copy(update={"crop_size": 32}),
            "pictures": shipped.pictures.model_copy(update={"working_side": WORKING_SIDE}),
        }
    )


@pytest.fixture
def connection(environ: dict[str, str]) -> Iterator[psycopg.Connection]:
    with connect() as opened:
        yield opened


@pytest.fixture
def model(served_store: Store, triton: Triton, tmp_path: Path) -> Iterator[str]:
    judged = bundles.make(tmp_path / "model", group="badlist")
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=tmp_path / "deployed"
    )
    yield deployed.model
    for key in list(served_store.list_keys(f"triton/{deployed.model}/")):
        served_store.remove(key)
    triton.unload(deployed.model)


def test_a_badlisted_picture_appears_in_nothing(
    source: Path, config: Config, connection: psycopg.Connection, served_store: Store, triton: Triton, model: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store, folder = served_store, tmp_path / "dataset"
    download_pictures(group="badlist", source=source, out=folder, store=store, connection=connection, config=config)
    segmented = segment_people(
        dataset=folder, model=str(tiny_models.write_segmenter(tmp_path / "tiny.pt")), store=store,
        connection=connection, config=config.segmentation,
    )  # fmt: skip
    (sha256,) = {row.sha256 for row in datasets.read(folder).rows if row.picture_id in (BAD, TWIN)}

    def made_now(name: str) -> dict[str, bytes]:
        frozen = snapshot_contours(
            dataset=folder, model_digest=segmented.model_digest, store=store, connection=connection
        )
        (tmp_path / name).mkdir()
        world = World(
            dataset=folder, source=source, connection=connection, snapshot_digest=frozen.digest,
            folder=tmp_path / name, store=store, triton=triton, model=model, config=config,
        )  # fmt: skip
        return {name: artifact.made(world) for name, artifact in ARTIFACTS.items()}

    for name, content in made_now("before").items():
        shows = ARTIFACTS[name]
        assert all((item.encode() in content) == shows.by_id for item in (BAD, TWIN)), name
        assert (sha256.encode() in content) == shows.by_sha256, name

    (tmp_path / "bad.txt").write_text(f"{BAD}\n")
    monkeypatch.chdir(tmp_path)
    pushed = CliRunner().invoke(app, ["badlist", "push", "bad.txt"])
    assert (pushed.exit_code, pushed.stdout) == (0, "1 listed: 1 new on the badlist, 0 on it before\n")

    for name, content in made_now("after").items():
        assert content, name
        for trace in (BAD, TWIN, sha256):
            assert trace.encode() not in content, f"{name} shows {trace}"
