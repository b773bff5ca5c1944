"""People come from the masks of an export: as they were exported, or as somebody painted them since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from silhouette.classify_pictures.classify import ClassifyReport, classify_pictures
from silhouette.cli import app
from silhouette.config import load_config
from silhouette.contracts import contours, predictions, snapshot
from silhouette.contracts.markup import MASKS, TABLE_NAME, write_png
from silhouette.contracts.predictions import Prediction
from silhouette.contracts.snapshot import SnapshotHead, SnapshotRow
from silhouette.database import badlist
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import InputError
from silhouette.export_masks.export import export_masks
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HEIGHT, HOLED, PLAIN, WIDTH, World

Infer = Callable[..., tuple[ClassifyReport, dict[str, list[Prediction]]]]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> bundles.Judged:
    return bundles.make(tmp_path_factory.mktemp("model"), group="masked")


@pytest.fixture(scope="module")
def model(
    served_store: Store, triton: Triton, judged: bundles.Judged, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton,
        out=tmp_path_factory.mktemp("out"),
    )  # fmt: skip
    yield deployed.model
    for key in list(served_store.list_keys(f"triton/{deployed.model}/")):
        served_store.remove(key)
    triton.unload(deployed.model)


@pytest.fixture
def world(fresh_store: Store, connection: psycopg.Connection, tmp_path: Path) -> World:
    made = worlds.filled(fresh_store, connection)
    worlds.dataset_folder(made, tmp_path / "dataset")
    export_masks(group=GROUP, store=fresh_store, connection=connection, folder=tmp_path / "masks")
    return made


@pytest.fixture
def infer(world: World, triton: Triton, model: str, judged: bundles.Judged, tmp_path: Path) -> Infer:
    def run(**options: Any) -> tuple[ClassifyReport, dict[str, list[Prediction]]]:
        given: dict[str, Any] = {"masks": tmp_path / "masks", "connection": world.connection, **options}
        report = classify_pictures(
            model=model, out=tmp_path / "out", store=world.store, triton=triton, config=load_config({}).dataset,
            dataset=tmp_path / "dataset", card=judged.card, **given,
        )  # fmt: skip
        rows: dict[str, list[Prediction]] = {}
        for row in predictions.read(tmp_path / "out"):
            rows.setdefault(row.picture_id, []).append(row)
        return report, rows

    return run


def mask_of(world: World, folder: Path, picture_id: str) -> Path:
    return folder / "masks" / MASKS / f"{world.name(picture_id)}.png"


def test_they_are_the_people_that_a_snapshot_of_the_same_gives(infer: Infer, world: World, tmp_path: Path) -> None:
    report, rows = infer()
    assert (report.pictures, report.people, report.without_people, report.left_out) == (4, 5, 1, {})
    found = []
    for picture_id, masks in (("plain", PLAIN), ("holed/№ 1", HOLED)):
        common: dict[str, Any] = {
            "sha256": world.rows[picture_id].sha256, "width": WIDTH, "height": HEIGHT, "status": "unchecked",
        }  # fmt: skip
        for index, mask in enumerate(masks):
            drawn = worlds.person(mask)
            found.append(
                SnapshotRow(
                    person_index=index, box_xyxy=drawn.box_xyxy, score=1.0,
                    contours=contours.encode(contours.from_mask(mask)), **common,
                )
            )  # fmt: skip
    path = tmp_path / "snapshot.arrow"
    digest = snapshot.write(path, found, head=SnapshotHead(model_digest="m"))
    world.store.put_file(snapshot.store_key(digest), path)
    _, told = infer(masks=None, snapshot_digest=digest)
    assert {name: rows[name] for name in ("plain", "holed/№ 1")} == told


def test_a_mask_that_was_painted_since_counts_as_it_is_and_the_run_begins_anew(
    infer: Infer, world: World, tmp_path: Path
) -> None:
    assert infer()[0].new == 4
    assert infer()[0].new == 0, "the same masks are the same run"
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[20:60, 30:70] = 3
    mask_of(world, tmp_path, "plain").write_bytes(write_png(numbers))
    report, rows = infer()
    assert (report.new, report.people) == (4, 4)
    assert [(row.person_index, row.box_xyxy, row.person_score) for row in rows["plain"]] == [
        (2, "30.0 20.0 70.0 60.0", 1.0)
    ]


def test_badlisted_and_unmasked_pictures_are_left_out_and_a_bad_mask_is_told(
    infer: Infer, world: World, tmp_path: Path
) -> None:
    table = tmp_path / "masks" / TABLE_NAME
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if "overlapping" not in line) + "\n", encoding="utf-8")
    mask_of(world, tmp_path, "plain").write_bytes(write_png(np.zeros((HEIGHT, WIDTH - 1), np.uint8)))
    badlist.add(world.connection, ["holed/№ 1"], by="anna")
    report, rows = infer()
    assert report.left_out == {"badlisted": ["holed/№ 1"], "no_mask": ["overlapping"]}
    (refused,) = report.refused
    assert (refused.picture_id, refused.reason) == ("plain", "bad_mask")
    assert "must have the picture's size of 160x120, got 159x120" in refused.detail
    assert list(rows) == ["empty"]


def test_a_missing_mask_file_is_told_by_its_picture(infer: Infer, world: World, tmp_path: Path) -> None:
    mask_of(world, tmp_path, "plain").unlink()
    (refused,) = infer()[0].refused
    assert (refused.picture_id, refused.reason) == ("plain", "bad_mask")
    assert "must be readable" in refused.detail


def test_what_is_no_export_of_the_group_is_one_line(infer: Infer, world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no pictures\.csv; correct the path"):
        infer(masks=tmp_path)
    table = tmp_path / "masks" / TABLE_NAME
    text = table.read_text(encoding="utf-8")
    sha256 = world.rows["plain"].sha256
    table.write_text(text.replace(sha256, sha256[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match=r"pictures.csv line \d: sha256: .* got"):
        infer()
    table.write_bytes(b"name,sha256,status\n\xff\xfe,1,2\n")
    with pytest.raises(InputError, match="must be a table in UTF-8"):
        infer()
    table.write_text(text.splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"may be used, of its 4 .* has none; name another folder"):
        infer()


def test_masks_of_a_folder_are_refused_on_the_command_line() -> None:
    done = CliRunner().invoke(app, ["infer", "--source", "x", "--group", "g", "--masks", "m"])
    assert done.exit_code == 1
    assert "masks are of a group's pictures, got --masks with --source" in done.stderr


def test_the_command_takes_them(
    world: World, judged: bundles.Judged, environ: dict[str, str], triton_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SILHOUETTE_S3_BUCKET", world.store.bucket)
    monkeypatch.setenv("SILHOUETTE_TRITON_URL", triton_url)
    arguments = ["--group", GROUP, "--masks", str(tmp_path / "masks"), "--work", str(tmp_path)]
    done = CliRunner().invoke(app, ["--json", "infer", *arguments, "--model", str(judged.bundle / "model.onnx")])
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pictures"], told["people"], told["is_complete"]) == (4, 5, True)
