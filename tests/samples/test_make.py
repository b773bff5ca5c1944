"""The sample group: drawn the same everywhere, its masks true, its labels independent, a killed run done again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from samples.make import CLASSES, COMPLETE_FILE, STARTED_FILE, SampleReport, make_samples, read_records
from samples.shoots import plan_shoots
from silhouette.errors import InputError

COUNT = 20


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return make_samples(tmp_path_factory.mktemp("samples") / "drawn", count=COUNT, seed=3, workers=1)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_gives_the_same_bytes_in_one_process_or_two(report: SampleReport, tmp_path: Path) -> None:
    make_samples(tmp_path / "again", count=COUNT, seed=3, workers=2)
    assert _digests(tmp_path / "again") == _digests(report.folder)


def test_another_seed_gives_other_pictures(report: SampleReport, tmp_path: Path) -> None:
    make_samples(tmp_path, count=4, seed=4, workers=1)
    ours = {record.sha256 for record in read_records(report.folder)}
    assert ours.isdisjoint(record.sha256 for record in read_records(tmp_path))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9, 11, 60, 480])
def test_shoots_have_four_to_eight_pictures_and_cover_all(count: int) -> None:
    shoots = plan_shoots(count=count, seed=7)
    sizes = [len(shoot.labels) for shoot in shoots]
    assert sum(sizes) == count
    assert all(4 <= size <= 8 for size in sizes) or count < 4
    assert [shoot.first_picture for shoot in shoots] == [sum(sizes[:k]) for k in range(len(sizes))]


@pytest.mark.parametrize("count", [40, 60, 480])
def test_classes_are_about_balanced(count: int) -> None:
    counts = Counter(label for shoot in plan_shoots(count=count, seed=7) for label in shoot.labels)
    assert set(counts) == set(CLASSES)
    assert max(counts.values()) < 1.4 * min(counts.values())


def test_labels_are_mixed_within_shoots() -> None:
    kinds = [len(set(shoot.labels)) for shoot in plan_shoots(count=480, seed=7)]
    assert np.mean(kinds) > 2.5  # so that no background goes with a class


def test_report_and_records_say_what_is_there(report: SampleReport) -> None:
    records = read_records(report.folder)
    assert (report.pictures, len(records), report.reused) == (COUNT, COUNT, False)
    assert report.people == sum(len(record.people) for record in records) >= COUNT
    assert report.classes == {name: sum(record.label == name for record in records) for name in CLASSES}
    assert len({record.picture_id for record in records}) == COUNT
    group = json.loads((report.folder / "group.json").read_text())
    assert (group["name"], group["classes"]) == ("outfit", list(CLASSES))
    for record in records:
        assert hashlib.sha256((report.folder / record.file).read_bytes()).hexdigest() == record.sha256


def test_masks_agree_with_boxes_and_the_main_person_is_the_largest(report: SampleReport) -> None:
    for record in read_records(report.folder):
        mask = np.asarray(Image.open(report.folder / record.mask))
        assert (mask.dtype, mask.shape) == (np.uint8, (record.height, record.width))
        areas = [int((mask == number).sum()) for number in range(1, len(record.people) + 1)]
        assert int(mask.max()) == len(record.people)
        assert areas[0] == max(areas) > 0.01 * mask.size
        for number, person in enumerate(record.people, start=1):
            rows, columns = np.nonzero(mask == number)
            assert person["box_xyxy"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_some_pictures_are_stored_turned_and_records_are_upright(report: SampleReport) -> None:
    turned = 0
    for record in read_records(report.folder):
        with Image.open(report.folder / record.file) as picture:
            turned += picture.getexif().get(0x0112, 1) != 1
            assert ImageOps.exif_transpose(picture).size == (record.width, record.height)
    assert turned == 5


def test_people_stand_out_from_the_background(report: SampleReport) -> None:
    record = read_records(report.folder)[0]
    with Image.open(report.folder / record.file) as picture:
        pixels = np.asarray(ImageOps.exif_transpose(picture)).astype(float)
    inside = np.asarray(Image.open(report.folder / record.mask)) == 1
    assert np.abs(pixels[inside].mean(0) - pixels[~inside].mean(0)).max() > 5


def test_second_call_does_nothing(report: SampleReport) -> None:
    before = {path: path.stat().st_mtime_ns for path in report.folder.rglob("*")}
    again = make_samples(report.folder, count=COUNT, seed=3)
    assert {path: path.stat().st_mtime_ns for path in report.folder.rglob("*")} == before
    assert replace(again, reused=False, duration_s=0) == replace(report, duration_s=0)
    assert again.reused


@pytest.mark.parametrize("damage", ["killed", "picture lost", "records changed"])
def test_unfinished_or_damaged_samples_are_drawn_again(tmp_path: Path, damage: str) -> None:
    make_samples(tmp_path, count=4, seed=5, workers=1)
    wanted = _digests(tmp_path)
    if damage == "killed":
        (tmp_path / COMPLETE_FILE).rename(tmp_path / STARTED_FILE)
        (tmp_path / "pictures" / "left-over.jpg").write_bytes(b"half")
    elif damage == "picture lost":
        next((tmp_path / "pictures").iterdir()).unlink()
    else:
        (tmp_path / "pictures.jsonl").write_text("")
    assert not make_samples(tmp_path, count=4, seed=5, workers=1).reused
    assert _digests(tmp_path) == wanted


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holiday\.jpg.*--to"):
        make_samples(tmp_path, count=4, seed=5)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-3, 1), (4, -1)])
def test_senseless_numbers_are_refused(tmp_path: Path, count: int, seed: int) -> None:
    with pytest.raises(InputError, match=r"got -?[0-9]+; pass --"):
        make_samples(tmp_path, count=count, seed=seed)
