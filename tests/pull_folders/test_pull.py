"""`silhouette pull`, on a real store and database: what lies where, what stays, what never comes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from silhouette.cli import app
from silhouette.contracts import dataset as datasets
from silhouette.contracts import predictions
from silhouette.contracts.dataset import Dataset, RefusedPicture
from silhouette.contracts.predictions import Prediction
from silhouette.database import badlist, connect, labels
from silhouette.export_masks.export import export_masks
from silhouette.names import file_name, safe_key
from silhouette.pull_folders import place
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, World

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    for key in list(store.list_keys("")):
        if key != "installation-id":
            store.remove(key)
    with connect() as connection:
        connection.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups")
        made = worlds.filled(store, connection)
        keep_tables(made)
        yield made


def keep_tables(world: World, *, refused: tuple[RefusedPicture, ...] = ()) -> None:
    folder = Path("dataset")
    rows = tuple(sorted(world.rows.values(), key=lambda row: row.picture_id))
    datasets.write(folder, Dataset(group=GROUP, classes=("dress",), rows=rows, refused=refused))
    world.store.put_file(f"datasets/{safe_key(GROUP)}.csv", folder / datasets.CSV_NAME)
    world.store.put_file(f"quarantine/{safe_key(GROUP)}.csv", folder / datasets.QUARANTINE_NAME)


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def pulled(*arguments: str) -> dict[str, object]:
    return dict(json.loads(say("--json", "pull", *arguments, "--to", "out").stdout))


def table_of(folder: Path) -> dict[str, str]:
    with (folder / "files.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row["file"] for row in csv.DictReader(file)}


def data_folder() -> Path:
    return Path("out/DATA") / file_name(GROUP)


def test_pictures_lie_in_a_folder_for_each_class_and_a_table_says_which_is_which(world: World) -> None:
    report = pulled("pictures", GROUP)
    assert (report["pictures"], report["fetched"], report["badlisted"], report["missing"]) == (4, 4, 0, 0)
    files = table_of(data_folder())
    assert files.keys() == world.rows.keys()
    assert files["plain"] == "dress/plain.jpg"
    assert files["holed/№ 1"] == f"dress/{safe_key('holed/№ 1')}.jpg"
    for name, file in files.items():
        assert hashlib.sha256((data_folder() / file).read_bytes()).hexdigest() == world.rows[name].sha256
    assert {row.picture_id for row in datasets.read_rows(data_folder() / "dataset.csv", None)} == world.rows.keys()


def test_what_is_there_is_not_fetched_again_and_what_was_damaged_is(world: World) -> None:
    pulled("pictures", GROUP)
    (data_folder() / "dress/plain.jpg").write_bytes(b"half a picture")
    before = (data_folder() / "dress/empty.jpg").stat().st_mtime_ns
    report = pulled("pictures", GROUP)
    assert (report["pictures"], report["fetched"]) == (4, 1)
    assert hashlib.sha256((data_folder() / "dress/plain.jpg").read_bytes()).hexdigest() == world.rows["plain"].sha256
    assert (data_folder() / "dress/empty.jpg").stat().st_mtime_ns == before


def test_badlisted_and_withdrawn_pictures_are_left_out_counted_and_removed_from_an_earlier_pull(world: World) -> None:
    pulled("pictures", GROUP)
    badlist.add(world.connection, ["plain"])
    rest = [row for name, row in world.rows.items() if name != "empty"]
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=rest)
    done = say("pull", "pictures", GROUP, "--to", "out").stdout
    assert "left out: 1 on the badlist, 1 withdrawn" in done
    assert "removed: 2 files" in done
    assert table_of(data_folder()).keys() == {"holed/№ 1", "overlapping"}
    assert sorted(path.stem for path in (data_folder() / "dress").iterdir()) == [safe_key("holed/№ 1"), "overlapping"]
    assert "plain" not in (data_folder() / "dataset.csv").read_text()


def test_a_picture_with_another_label_moves_to_its_folder(world: World) -> None:
    import dataclasses

    pulled("pictures", GROUP)
    world.rows["plain"] = dataclasses.replace(world.rows["plain"], label="files.csv")
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=world.rows.values())
    folder = Path("dataset")
    rows = tuple(sorted(world.rows.values(), key=lambda row: row.picture_id))
    datasets.write(folder, Dataset(group=GROUP, classes=("dress", "files.csv"), rows=rows))
    world.store.put_file(f"datasets/{safe_key(GROUP)}.csv", folder / datasets.CSV_NAME)
    assert pulled("pictures", GROUP)["removed"] == 1
    assert not (data_folder() / "dress/plain.jpg").exists()
    assert (data_folder() / safe_key("files.csv") / "plain.jpg").is_file()


def test_withdrawn_pictures_of_the_quarantine_are_counted(world: World) -> None:
    keep_tables(world, refused=(RefusedPicture(picture_id="old", reason="withdrawn", detail="gone"),))
    report = pulled("datasets", GROUP)
    assert (report["files"], report["withdrawn"], report["pictures"]) == (2, 1, 0)
    assert [item.picture_id for item in datasets.read_refused(data_folder() / "quarantine.csv")] == ["old"]


def test_a_limit_brings_the_first_and_a_later_pull_the_rest(world: World) -> None:
    assert pulled("pictures", GROUP, "--limit", "1")["pictures"] == 1
    assert pulled("pictures", GROUP)["fetched"] == 3
    assert pulled("pictures", GROUP, "--limit", "1")["pictures"] == 4
    assert "--limit must be at least 0" in say("pull", "pictures", GROUP, "--to", "out", "--limit=-1", code=1).stderr


def test_pictures_that_the_store_lost_are_told(world: World) -> None:
    world.store.remove(world.rows["plain"].object_key)
    done = say("pull", "pictures", GROUP, "--to", "out").stdout
    assert "missing in the store: 1 pictures" in done
    assert "plain" not in table_of(data_folder())


def test_bytes_that_are_not_those_of_their_name_never_become_visible(world: World) -> None:
    world.store.put_bytes(world.rows["plain"].object_key, b"others")
    done = say("pull", "pictures", GROUP, "--to", "out", code=1)
    assert "must have the SHA-256 of its name" in done.stderr
    assert not (data_folder() / "dress/plain.jpg").exists()
    assert not list(data_folder().rglob("*.partial"))


def test_models_lie_in_the_folders_of_the_team_by_group_or_experiment(world: World) -> None:
    prefix = f"models/{safe_key(GROUP)}/{safe_key('the first')}"
    record = json.dumps({"group": GROUP, "experiment": "the first"}).encode()
    large = os.urandom(12 << 20)  # sent in parts: its ETag is no MD5
    Path("large").write_bytes(large)
    world.store.put_file(f"{prefix}/checkpoints/best.ckpt", Path("large"))
    world.store.put_bytes(f"{prefix}/onnx/model.onnx", b"onnx")
    world.store.put_bytes(f"{prefix}/training.json", record)
    for name in (GROUP, "the first"):
        report = pulled("models", name)
        folder = Path("out/MODELS") / file_name(GROUP) / "the first"
        assert report["folders"] == [str(folder)]
        assert report["fetched"] == (3 if name == GROUP else 0)
        assert {path.name for path in folder.iterdir() if path.is_dir()} == {
            "checkpoints", "csv_logs", "torchscripts", "train_batches", "onnx",
        }  # fmt: skip
        assert (folder / "checkpoints/best.ckpt").read_bytes() == large
    (folder / "onnx/model.onnx").write_bytes(b"0nnx")  # of the same size
    assert pulled("models", GROUP)["fetched"] == 1


def test_masks_are_laid_out_unless_they_show_what_must_not_be_shown(world: World) -> None:
    assert "run `silhouette masks export` first" in say("pull", "masks", GROUP, "--to", "out", code=1).stderr
    export_masks(group=GROUP, store=world.store, connection=world.connection)
    pulled("masks", GROUP)
    folder = Path("out/MARKUP/masks") / file_name(GROUP)
    assert (folder / f"masks/{world.name('plain')}.png").is_file()
    badlist.add(world.connection, ["plain"])
    assert "show 1; make them again" in say("pull", "masks", GROUP, "--to", "other", code=1).stderr
    assert not list(Path("other").rglob("*.png"))


def test_inference_is_laid_out_without_its_ledger(world: World) -> None:
    row = Prediction(
        picture_id="plain", object_key="", person_index=0, box_xyxy="", person_score=1, label="", predicted="dress",
        probability=1, model="m", version="1",
    )  # fmt: skip
    predictions.write(Path("answers"), [row])
    prefix = f"inference/{safe_key(GROUP)}"
    world.store.put_tree(prefix, Path("answers"))
    world.store.put_bytes(f"{prefix}/parts/x/00000000.parquet", b"x")
    pulled("inference", GROUP)
    folder = Path("out/TEST/inference") / file_name(GROUP)
    assert {path.name for path in folder.iterdir()} == {"files.csv", "predictions.csv", "predictions.parquet"}
    badlist.add(world.connection, ["plain"])
    assert "make them again with `silhouette infer`" in say("pull", "inference", GROUP, "--to", "o", code=1).stderr


def test_what_is_not_there_is_one_line_with_the_way_out(world: World) -> None:
    wrong = say("pull", "pictures", GROUP[:-1], "--to", "out", code=1).stderr
    assert f"nearest: {GROUP!r}" in wrong
    assert "run `silhouette train --group ...` first" in say("pull", "models", GROUP, "--to", "out", code=1).stderr
    assert "run `silhouette infer` first" in say("pull", "inference", GROUP, "--to", "out", code=1).stderr
    world.store.remove(f"datasets/{safe_key(GROUP)}.csv")
    assert "run `silhouette download" in say("pull", "pictures", GROUP, "--to", "out", code=1).stderr
    Path("a file").write_text("x")
    assert "a file is a file; name another" in say("pull", "pictures", GROUP, "--to", "a file", code=1).stderr


def test_a_second_pull_into_the_same_folder_waits_its_turn(world: World) -> None:
    with place.locked(Path("out")):
        assert "one pull at a time" in say("pull", "pictures", GROUP, "--to", "out", code=1).stderr
    pulled("pictures", GROUP)


def process(to: Path, environ: dict[str, str], *, most_bytes: int = 0) -> subprocess.Popen[str]:
    limits = (most_bytes, most_bytes)
    return subprocess.Popen(
        [sys.executable, "-c", "from silhouette.cli import main; main()", "pull", "pictures", GROUP, "--to", str(to)],
        env={**os.environ, **environ, "PYTHONPATH": str(CHECKOUT / "components"), "TMPDIR": str(to.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)) if most_bytes else None,
    )  # fmt: skip


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_no_half_file(
    world: World, environ: dict[str, str], tmp_path: Path
) -> None:
    sizes = [world.store.size(row.object_key) or 0 for row in world.rows.values()]
    with process(tmp_path / "full", environ, most_bytes=min(sizes) - 1) as running:
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "free space or correct the rights" in errors.splitlines()[-1]
    assert not [path for path in (tmp_path / "full").rglob("*") if path.suffix in (".jpg", ".partial")]


def test_a_pull_killed_at_any_moment_shows_whole_files_only_and_goes_on(
    world: World, environ: dict[str, str], tmp_path: Path
) -> None:
    many = [f"more {number}" for number in range(300)]
    world.rows.update(worlds.bring(world.store, world.connection, many).rows)
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=world.rows.values())
    keep_tables(world)
    folder = tmp_path / "killed" / "DATA" / file_name(GROUP)
    known = {row.sha256 for row in world.rows.values()}
    for wanted in (1, 60, 150):
        with process(tmp_path / "killed", environ) as running:
            while running.poll() is None and len(list(folder.rglob("*/[!.]*.jpg"))) < wanted:
                time.sleep(0.005)
            os.kill(running.pid, signal.SIGKILL)
        seen = list(folder.rglob("*/[!.]*.jpg"))
        assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in seen} <= known
    (folder / "dress/.old.jpg.partial").write_bytes(b"half")
    report = json.loads(say("--json", "pull", "pictures", GROUP, "--to", str(tmp_path / "killed")).stdout)
    assert report["pictures"] == len(world.rows) == 304
    assert report["fetched"] < 304
    assert not list(folder.rglob("*.partial"))
