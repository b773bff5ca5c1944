from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from PIL import Image

from silhouette.classify_pictures.classify import GALLERY_NAME, REPORT_NAME, ClassifyReport, classify_pictures
from silhouette.config import DatasetConfig, load_config
from silhouette.contracts import contours, dataset, predictions, scores, snapshot, traffic
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.snapshot import SnapshotHead, SnapshotRow
from silhouette.database import connect
from silhouette.deploy_model.deploy import deploy_model
from silhouette.detector import DetectedPerson
from silhouette.errors import InputError, ServiceError
from silhouette.store import Store
from silhouette.triton_client import Triton, open_triton
from tests.deploy_model import bundles

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220)}
HOSTILE = "<script>alert(1)</script>\"'&лето/..\\{{ 7 * 7 }}"
Classify = Callable[..., ClassifyReport]


@pytest.fixture(scope="module")
def model(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    judged = bundles.make(folder, group="colours")
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=folder / "out"
    )
    yield deployed.model
    for key in list(served_store.list_keys(f"triton/{deployed.model}/")):
        served_store.remove(key)
    triton.unload(deployed.model)


@pytest.fixture
def connection(environ: dict[str, str]) -> Iterator[psycopg.Connection]:
    with connect() as opened:
        yield opened


@pytest.fixture
def config() -> DatasetConfig:
    return load_config().dataset


def person(
    colour: str, *, x: int, scale: float, number: int
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """A mask of an upright oval on 160 x 120, and its box."""
    import cv2

    mask = np.zeros((120, 160), np.uint8)
    cv2.ellipse(mask, (x, 60), (round(18 * scale), round(48 * scale)), 0, 0, 360, 255, -1)
    rows, columns = np.nonzero(mask)
    return mask, (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


class Group:
    """Pictures of ovals in the store, their dataset and snapshot."""

    def __init__(self, store: Store, folder: Path, name: str = "colours") -> None:
        self.store, self.folder, self.name = store, folder, name
        self.rows: list[PictureRow] = []
        self.people: list[SnapshotRow] = []

    def add(self, picture_id: str, label: str, people: Sequence[tuple[str, int, float]], *, data: bytes = b"") -> str:
        pixels = np.full((120, 160, 3), 128, np.uint8)
        pixels[0, 0] = len(self.rows)  # no two alike
        found = []
        for number, (colour, x, scale) in enumerate(people):
            mask, box = person(colour, x=x, scale=scale, number=number)
            pixels[mask > 0] = COLOURS[colour]
            found.append((mask, box))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        data = data or stream.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"pictures/{sha256[:2]}/{sha256}.png"
        self.store.put_bytes(key, data)
        self.rows.append(
            PictureRow(picture_id=picture_id, object_key=key, sha256=sha256, width=160, height=120, label=label)
        )
        common: dict[str, Any] = {"sha256": sha256, "width": 160, "height": 120, "status": "unchecked"}
        for number, (mask, box) in enumerate(found):
            outline = contours.encode(contours.from_mask(mask))
            row = SnapshotRow(person_index=number, box_xyxy=box, score=0.9, contours=outline, **common)
            self.people.append(row)
        if not found:
            self.people.append(SnapshotRow(person_index=-1, box_xyxy=(0, 0, 0, 0), score=0, contours=b"", **common))
        return sha256

    def write(self, **head: tuple[str, ...]) -> dict[str, Any]:
        rows = tuple(sorted(self.rows, key=lambda row: row.picture_id))
        dataset.write(self.folder, Dataset(group=self.name, classes=bundles.CLASSES, rows=rows))
        path = self.folder / "snapshot.arrow"
        digest = snapshot.write(path, self.people, head=SnapshotHead(model_digest="m", **head))
        self.store.put_file(snapshot.store_key(digest), path)
        return {"dataset": self.folder, "snapshot_digest": digest}


@pytest.fixture
def group(served_store: Store, tmp_path: Path) -> Group:
    return Group(served_store, tmp_path / "dataset")


@pytest.fixture
def classify(served_store: Store, triton: Triton, model: str, config: DatasetConfig, tmp_path: Path) -> Classify:
    def run(**options: Any) -> ClassifyReport:
        wanted = {"model": model, "out": tmp_path / "out", "store": served_store, "triton": triton, "config": config}
        return classify_pictures(**{**wanted, **options})

    return run


def test_people_are_classified_and_counted_against_their_labels(
    classify: Classify, group: Group, tmp_path: Path, served_store: Store, model: str
) -> None:
    for number, (name, label) in enumerate((c, c) for c in COLOURS for _ in range(15)):
        group.add(f"p{number:03d}", label, [(name, 80, 1.0)])
    group.add("p900", "red", [("blue", 80, 1.0)])
    report = classify(**group.write())
    assert (report.pictures, report.people, report.labelled, report.right) == (46, 46, 46, 45)
    assert report.accuracy == 45 / 46
    rows = predictions.read(tmp_path / "out")
    assert [row.picture_id for row in rows] == sorted(row.picture_id for row in rows)
    assert (rows[-1].label, rows[-1].predicted, rows[-1].model, rows[-1].version) == ("red", "blue", model, "1")
    assert all(row.probability > 0.4 for row in rows)
    for name in (predictions.FILE_NAME, predictions.PARQUET_NAME, GALLERY_NAME, REPORT_NAME):
        assert served_store.get_bytes(f"inference/colours/{name}") == (tmp_path / "out" / name).read_bytes()


def test_a_bounded_sample_of_the_crops_is_kept_and_taken_away_when_none_is_wanted(
    classify: Classify, group: Group, served_store: Store, model: str, config: DatasetConfig
) -> None:
    for number, name in enumerate([*COLOURS] * 3):
        group.add(f"p{number}", name, [(name, 80, 1.0)])
    given = group.write()
    assert classify(**given, recent_crops=4).new == 9
    kept = traffic.recent(served_store, model, crop_size=bundles.SIZE)
    assert kept.shape == (4, bundles.SIZE, bundles.SIZE, 3)
    centre = kept[:, bundles.SIZE // 2, bundles.SIZE // 2]
    assert all(any(np.abs(crop.astype(int) - colour).max() < 12 for colour in COLOURS.values()) for crop in centre)
    assert classify(**given, recent_crops=4).new == 0
    assert np.array_equal(traffic.recent(served_store, model, crop_size=bundles.SIZE), kept), "nothing was asked anew"
    classify(**given, recent_crops=0)
    assert not served_store.exists(traffic.key(model))


def test_label_is_the_largest_persons_and_the_others_are_classified_without(
    classify: Classify, group: Group, tmp_path: Path, config: DatasetConfig
) -> None:
    group.add("two", "green", [("red", 40, 0.5), ("green", 110, 1.0)])
    given = group.write()
    report = classify(**given)
    assert [(row.label, row.predicted) for row in predictions.read(tmp_path / "out")] == [("", "red"), ("green",) * 2]
    assert (report.people, report.labelled, report.right) == (2, 1, 1)
    everyone = classify(**given, config=config.model_copy(update={"people": "all"}))
    assert (everyone.people, everyone.labelled, everyone.right) == (2, 2, 1)


def test_picture_without_people_is_a_row_of_its_own(classify: Classify, group: Group, tmp_path: Path) -> None:
    group.add("empty", "red", [])
    report = classify(**group.write())
    assert (report.pictures, report.people, report.without_people, report.accuracy) == (1, 0, 1, None)
    (row,) = predictions.read(tmp_path / "out")
    assert (row.person_index, row.predicted, row.label) == (-1, "", "red")
    assert "no person found" in (tmp_path / "out" / GALLERY_NAME).read_text()


def test_badlisted_rejected_and_unsegmented_pictures_are_left_out(classify: Classify, group: Group) -> None:
    group.add("bad", "red", [("red", 80, 1.0)])
    rejected = group.add("rejected", "red", [("red", 80, 1.0)])
    unknown = group.add("unknown", "red", [("red", 80, 1.0)])
    group.add("good", "red", [("red", 80, 1.0)])
    group.people = [row for row in group.people if row.sha256 not in (rejected, unknown)]
    report = classify(**group.write(badlisted=("bad",), rejected=(rejected,)))
    assert report.pictures == 1
    assert report.left_out == {"badlisted": ["bad"], "rejected": ["rejected"], "not_segmented": ["unknown"]}


def test_same_again_gives_the_same_files(classify: Classify, group: Group, tmp_path: Path) -> None:
    for number, name in enumerate(COLOURS):
        group.add(f"p{number}", name, [(name, 80, 1.0)])
    given = group.write()
    classify(**given)
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    classify(**given)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_hostile_names_stay_text_on_the_page(classify: Classify, group: Group, tmp_path: Path) -> None:
    group.name = HOSTILE
    group.add(HOSTILE, "red", [("blue", 80, 1.0)])
    classify(**group.write())
    page = (tmp_path / "out" / GALLERY_NAME).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;лето/..\\{{ 7 * 7 }}" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page), "the page must need no other file"
    assert predictions.read(tmp_path / "out")[0].picture_id == HOSTILE


def test_page_shows_a_bounded_number_and_says_so(classify: Classify, group: Group, tmp_path: Path) -> None:
    for number in range(40):
        group.add(f"p{number:02d}", "red", [("red", 80, 1.0)])
    classify(**group.write(), gallery_limit=14)
    page = (tmp_path / "out" / GALLERY_NAME).read_text()
    assert "Shown are 2 of 40" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_no_half_file_is_visible_when_triton_goes_away(
    classify: Classify, group: Group, tmp_path: Path, unused_port: int, triton: Triton
) -> None:
    group.add("p", "red", [("red", 80, 1.0)])
    given = group.write()
    with pytest.raises(ServiceError, match="must answer, it did not"):
        classify(**given, triton=open_triton(f"http://127.0.0.1:{unused_port}"))

    class Dying(Triton):
        def infer(self, *args: Any, **options: Any) -> Any:
            raise ServiceError("Triton died")

    with pytest.raises(ServiceError, match="Triton died"):
        classify(**given, triton=Dying(triton.url))
    assert [path.name for path in (tmp_path / "out").iterdir()] == []
    assert classify(**given).people == 1


def test_model_that_is_not_served_is_refused(classify: Classify, group: Group) -> None:
    given = group.write()
    with pytest.raises(InputError, match=r"does not have 'nobody' \(served: none\); deploy it first"):
        classify(**given, model="nobody")
    with pytest.raises(InputError, match=r"version 7 \(served: 1\)"):
        classify(**given, version="7")


class OvalFinder:
    """A detector that finds what is not grey: quick, and exact on these pictures."""

    model_digest, lanes, at_once = "ovals", 2, 1

    def detect(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> list[list[DetectedPerson]]:
        found = []
        for picture in pixels:
            mask = (np.ptp(picture.astype(int), axis=2) > 60).astype(np.uint8)
            rows, columns = np.nonzero(mask)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
            found.append(
                [DetectedPerson(contours=contours.from_mask(mask), box_xyxy=tuple(map(float, box)), score=0.8)]
                if box
                else []
            )
        return found


def test_folder_is_classified_with_labels_from_sub_folders_and_refusals_with_reasons(
    classify: Classify, tmp_path: Path, group: Group, connection: psycopg.Connection
) -> None:
    source = tmp_path / "my pictures"
    for name in ("red", "other", ".hidden"):
        (source / name).mkdir(parents=True)
    for path, colour in (
        ("red/a.png", "red"),
        ("red/b.png", "blue"),
        ("other/c.png", "green"),
        (".hidden/d.png", "red"),
    ):
        group.add(path, "red", [(colour, 80, 1.0)])
        (source / path).write_bytes(group.store.get_bytes(group.rows[-1].object_key))
    (source / "notes.txt").write_text("no picture")
    (source / "cut.png").write_bytes((source / "red/a.png").read_bytes()[:150])
    report = classify(source=source, detector=OvalFinder(), connection=connection)
    assert (report.pictures, report.people, report.labelled, report.right) == (3, 3, 2, 1)
    assert {(item.picture_id, item.reason) for item in report.refused} == {
        ("notes.txt", "unsupported"),
        ("cut.png", "truncated"),
    }
    rows = predictions.read(tmp_path / "out")
    assert [(row.picture_id, row.label, row.predicted) for row in rows] == [
        ("other/c.png", "", "green"),
        ("red/a.png", "red", "red"),
        ("red/b.png", "red", "blue"),
    ]
    assert json.loads((tmp_path / "out" / REPORT_NAME).read_text())["refused"][0]["picture_id"] == "cut.png"


def test_folder_without_files_or_none_at_all_is_refused(
    classify: Classify, tmp_path: Path, connection: psycopg.Connection
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        classify(source=tmp_path / "empty", detector=OvalFinder(), connection=connection)
    with pytest.raises(InputError, match="must be a folder of pictures"):
        classify(source=tmp_path / "missing", detector=OvalFinder(), connection=connection)
    with pytest.raises(InputError, match="must get a dataset with its snapshot, or with masks and the database"):
        classify()


def test_drift_against_the_test_split_is_told(
    classify: Classify, group: Group, tmp_path: Path, served_store: Store, model: str
) -> None:
    for number in range(60):
        group.add(f"p{number:02d}", "red", [("red", 80, 1.0), ("blue", 30, 0.3)])
    given = group.write()
    assert classify(**given).drift is None, "nothing is known of the test split"
    test = scores.count(bundles.CLASSES, [(index % 3, 0.99) for index in range(90)])
    key = scores.store_key(model, "1")
    served_store.put_bytes(key, test.model_dump_json().encode())
    try:
        drift = classify(**given).drift
        assert drift is not None
        assert (drift.verdict, drift.answers, drift.test_answers) == ("different", 60, 90)
        assert drift.classes > 0.25
        assert "Unlike the test split" in (tmp_path / "out" / GALLERY_NAME).read_text()
        assert json.loads((tmp_path / "out" / REPORT_NAME).read_text())["drift"]["verdict"] == "different"
    finally:
        served_store.remove(key)


def test_group_without_a_snapshot_has_its_people_found(
    classify: Classify, group: Group, tmp_path: Path, connection: psycopg.Connection
) -> None:
    for number, colour in enumerate(COLOURS):
        group.add(f"p{number}", colour, [(colour, 80, 1.0)])
    group.add("nobody", "red", [])
    dataset_folder = group.write()["dataset"]
    report = classify(dataset=dataset_folder, detector=OvalFinder(), connection=connection)
    assert (report.pictures, report.people, report.right, report.without_people) == (4, 3, 3, 1)
