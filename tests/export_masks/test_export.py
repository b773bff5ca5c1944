"""An export holds what counts, exact to the pixel, in files that annotation tools read; what is there stays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pycocotools.mask
import pytest
from PIL import Image
from pycocotools.coco import COCO

from silhouette.contracts import markup
from silhouette.contracts.contour_formats import read_coco_segmentation
from silhouette.contracts.contours import to_mask
from silhouette.database import badlist, corrections, labels
from silhouette.errors import InputError, ServiceError
from silhouette.export_masks.export import ExportReport, export_masks
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HEIGHT, HOLED, MODEL, OTHER_MODEL, OVERLAPPING, PLAIN, WIDTH, World

# pycocotools 2.0.11 hands its arrays over in the way of before NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

EVERY = ("unchecked", "approved", "rejected", "nobody")


def export(world: World, folder: Path | None = None, **options: Any) -> ExportReport:
    return export_masks(group=GROUP, store=world.store, connection=world.connection, folder=folder, **options)


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / markup.TABLE_NAME).open(newline="", encoding="utf-8") as file:
        return {row["picture_id"]: row for row in csv.DictReader(file)}


def picture_at(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def coco(folder: Path, name: str = markup.INSTANCES_NAME) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def entries(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    (image,) = [item for item in content["images"] if item["file_name"] == f"{name}.jpg"]
    return [item for item in content["annotations"] if item["image_id"] == image["id"]]


def test_every_picture_has_a_mask_an_overlay_and_its_people(world: World, tmp_path: Path) -> None:
    report = export(world, tmp_path / "out")
    assert (report.pictures, report.people, report.without_people, report.shared_pixels) == (4, 5, 1, 800)
    assert set(table(tmp_path / "out")) == set(world.rows)
    for picture_id in world.rows:
        name = world.name(picture_id)
        numbers = np.asarray(picture_at(tmp_path / "out" / "masks" / f"{name}.png"))
        assert numbers.shape == (HEIGHT, WIDTH)
        with picture_at(tmp_path / "out" / "overlays" / f"{name}.jpg") as shown:
            assert shown.size == (WIDTH, HEIGHT)
    files = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {key.removeprefix(f"{report.key}/") for key in world.store.list_keys(f"{report.key}/")} == {
        path.as_posix() for path in files if path.parts[0] != "images"
    }


def test_people_are_numbers_in_the_mask_and_the_smaller_lies_above(world: World, tmp_path: Path) -> None:
    export(world, tmp_path)
    picture = picture_at(tmp_path / "masks" / f"{world.name('overlapping')}.png")
    numbers = np.asarray(picture)
    large, small = OVERLAPPING
    assert picture.mode == "P"
    assert (numbers[small > 0] == 2).all()
    assert (numbers[(large > 0) & (small == 0)] == 1).all()
    assert (numbers[(large == 0) & (small == 0)] == 0).all()


def test_shared_pixels_are_told_by_number_and_place(world: World, tmp_path: Path) -> None:
    export(world, tmp_path)
    (image,) = [item for item in coco(tmp_path)["images"] if item["picture_id"] == "overlapping"]
    shared = pycocotools.mask.decode(image["shared"])
    assert (shared == ((OVERLAPPING[0] > 0) & (OVERLAPPING[1] > 0))).all()
    assert image["shared_pixels"] == int(table(tmp_path)["overlapping"]["shared_pixels"]) == int(shared.sum()) == 800


@pytest.mark.parametrize("name", [markup.INSTANCES_NAME, markup.LABEL_STUDIO_NAME])
def test_pycocotools_reads_the_same_pixels(world: World, tmp_path: Path, name: str) -> None:
    export(world, tmp_path)
    read = COCO(str(tmp_path / name))
    for picture_id, masks in (("plain", PLAIN), ("holed/№ 1", HOLED), ("overlapping", OVERLAPPING), ("empty", [])):
        (image,) = [item for item in read.imgs.values() if item["picture_id"] == picture_id]
        found = [read.anns[one] for one in read.getAnnIds(imgIds=[image["id"]])]
        assert len(found) == len(masks)
        for entry, mask in zip(found, masks, strict=True):
            assert (read.annToMask(entry) == (mask > 0)).all()
            assert entry["area"] == int((mask > 0).sum())
            ours = read_coco_segmentation(entry["segmentation"], width=WIDTH, height=HEIGHT)
            assert (to_mask(ours, width=WIDTH, height=HEIGHT) == mask).all()


def test_what_has_holes_or_parts_is_rle_and_what_has_none_is_a_polygon(world: World, tmp_path: Path) -> None:
    export(world, tmp_path)
    forms = {
        picture_id: [type(entry["segmentation"]) for entry in entries(coco(tmp_path), world.name(picture_id))]
        for picture_id in world.rows
    }
    assert forms == {"plain": [list, list], "holed/№ 1": [dict], "overlapping": [list, list], "empty": []}


def test_label_studios_file_has_one_polygon_a_person(world: World, tmp_path: Path) -> None:
    """Its converter iterates over `segmentation` as over a list of lists of x and y, each a region of its own."""
    export(world, tmp_path)
    for entry in coco(tmp_path, markup.LABEL_STUDIO_NAME)["annotations"]:
        (polygon,) = entry["segmentation"]
        assert len(polygon) >= 6
        assert len(polygon) % 2 == 0
        assert all(isinstance(number, float) for number in polygon)
        assert entry["iscrowd"] == 0


def test_entries_have_what_datumaro_asks_for(world: World, tmp_path: Path) -> None:
    export(world, tmp_path)
    content = coco(tmp_path)
    assert [category["id"] >= 1 and category["name"] for category in content["categories"]] == ["person"]
    ids = [entry["id"] for entry in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    stems = [image["file_name"].rpartition(".")[0] for image in content["images"]]
    assert len(set(stems)) == len(stems)
    for entry in content["annotations"]:
        assert entry["iscrowd"] == isinstance(entry["segmentation"], dict)
        assert len(entry["bbox"]) == 4


def test_a_second_export_makes_nothing_anew_and_a_verdict_renames_one(world: World, tmp_path: Path) -> None:
    key = export(world, tmp_path).key
    etags = {item.key: item.etag for item in world.store.list_objects(f"{key}/")}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}
    again = export(world, tmp_path)
    assert (again.drawn, again.removed) == (0, 0)
    assert {item.key: item.etag for item in world.store.list_objects(f"{key}/")} == etags
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()} == times
    before = world.name("plain")
    world.decide("plain", "approved")
    changed = export(world, tmp_path)
    assert (changed.drawn, changed.removed) == (1, 5)  # mask and overlay in both places, the picture in one
    assert not (tmp_path / "masks" / f"{before}.png").exists()
    assert (tmp_path / "masks" / f"{world.name('plain')}.png").exists()


def test_states_choose_the_pictures(world: World, tmp_path: Path) -> None:
    world.decide("plain", "rejected")
    world.decide("overlapping", "nobody")
    world.decide("empty", "approved")
    ids = {
        states: set(table(folder))
        for states in (("rejected",), ("nobody",), ("unchecked", "approved"), EVERY)
        if export(world, folder := tmp_path / "-".join(states), states=states)
    }
    assert ids == {
        ("rejected",): {"plain"}, ("nobody",): {"overlapping"}, ("unchecked", "approved"): {"holed/№ 1", "empty"},
        EVERY: set(world.rows),
    }  # fmt: skip
    assert not np.asarray(picture_at(tmp_path / "nobody" / "masks" / f"{world.name('overlapping')}.png")).any()


def test_a_limit_takes_the_most_doubtful(fresh_store: Store, connection: psycopg.Connection, tmp_path: Path) -> None:
    world = worlds.bring(fresh_store, connection, [f"p{number}" for number in range(6)])
    for number, picture_id in enumerate(world.rows):
        world.segment(picture_id, PLAIN if number else [], scores=[0.9, 0.9 - number / 10] if number else [])
    export(world, tmp_path, limit=2)
    assert set(table(tmp_path)) == {"p5", "p4"}


def test_badlisted_and_withdrawn_pictures_never_appear_and_leave_an_earlier_export(
    world: World, tmp_path: Path
) -> None:
    key = export(world, tmp_path).key
    badlist.add(world.connection, ["plain"])
    rows = [row for row in world.rows.values() if row.picture_id != "overlapping"]
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=rows)
    gone = [world.name("plain"), world.name("overlapping")]
    assert export(world, tmp_path).pictures == 2
    everything = "\n".join(world.store.list_keys(f"{key}/"))
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        everything += path.name
        everything += path.read_text(encoding="utf-8") if path.suffix in (".json", ".csv") else ""
    assert not [name for name in gone if name in everything]


def test_the_bytes_of_a_badlisted_picture_of_another_group_are_out_as_well(world: World) -> None:
    elsewhere = worlds.bring(world.store, world.connection, ["its other name"], group="other")
    assert elsewhere.rows["its other name"].sha256 == world.rows["plain"].sha256
    badlist.add(world.connection, ["its other name"])
    assert export(world).pictures == 3


def test_a_correction_is_exported_instead_of_the_models_contours(world: World, tmp_path: Path) -> None:
    number, _ = world.segmentation("plain")
    seen = corrections.versions(world.connection, segmentation_ids=[number])[number]
    corrections.add(
        world.connection, corrects=seen, replaces=None, author="anna", people=[worlds.person(HOLED[0])], reason="r"
    )
    report = export(world, tmp_path)
    assert (report.corrected, report.people) == (1, 4)
    assert table(tmp_path)["plain"]["author"] == "anna"


def test_a_mask_that_somebody_changed_is_neither_overwritten_nor_removed(world: World, tmp_path: Path) -> None:
    export(world, tmp_path)
    path = tmp_path / "masks" / f"{world.name('plain')}.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(path)
    changed = path.read_bytes()
    with pytest.raises(InputError, match="somebody changed it; hand it in by `silhouette masks import`"):
        export(world, tmp_path)
    world.decide("plain", "rejected")
    with pytest.raises(InputError, match="somebody changed it"):
        export(world, tmp_path)
    assert path.read_bytes() == changed
    assert export(world).pictures == 3  # the store has it anyway


def test_a_folder_with_something_else_in_it_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="--to must be an empty folder"):
        export(world, tmp_path)
    export(world, tmp_path / "out")
    with pytest.raises(InputError, match="the same --longest-side"):
        export(world, tmp_path / "out", longest_side=100)
    with pytest.raises(InputError, match="is a file"):
        export(world, tmp_path / "letter.txt")


def test_other_overlays_replace_those_in_the_store(world: World) -> None:
    export(world)
    report = export(world, longest_side=100)
    assert report.drawn == 4
    key = f"{report.key}/overlays/{world.name('plain')}.jpg"
    assert max(Image.open(io.BytesIO(world.store.get_bytes(key))).size) == 100


def test_pictures_come_along_unless_they_are_not_wanted(world: World, tmp_path: Path) -> None:
    export(world, tmp_path / "without", with_pictures=False)
    assert not (tmp_path / "without" / "images").exists()
    export(world, tmp_path / "with")
    tmp_path /= "with"
    names = {image["file_name"] for image in coco(tmp_path)["images"]}
    assert {path.name for path in (tmp_path / "images").iterdir()} == names
    assert picture_at(tmp_path / "images" / f"{world.name('plain')}.jpg").size == (WIDTH, HEIGHT)


def test_a_picture_that_cannot_be_opened_is_left_out_and_told(world: World, tmp_path: Path) -> None:
    world.store.put_bytes(world.rows["plain"].object_key, b"no picture")
    world.store.remove(world.rows["empty"].object_key)
    report = export(world, tmp_path)
    assert set(report.unreadable) == {"plain", "empty"}
    assert set(table(tmp_path)) == {"holed/№ 1", "overlapping"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": ("good",)}, "--states must be of unchecked, approved, rejected, nobody, got good"),
        ({"states": ()}, "--states must be of"),
        ({"limit": -1}, "--limit must be at least 0"),
        ({"longest_side": 3}, "--longest-side must be at least 64"),
        ({"model": "f"}, "the model must be one of those that have seen group .* aaaaaaaaaaaa \\(4 pictures"),
        ({"states": ("rejected",)}, "must have pictures that are rejected, by model aaaaaaaaaaaa none is"),
    ],
)
def test_what_cannot_be_done_is_one_line(world: World, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export(world, **options)


def test_of_two_models_one_must_be_named(world: World) -> None:
    world.segment("plain", HOLED, model=OTHER_MODEL)
    with pytest.raises(InputError, match="got none; say --model"):
        export(world)
    assert export(world, model="bbbb").pictures == 1
    assert export(world, model=MODEL).pictures == 4


def test_unknown_and_unsegmented_groups_are_told(world: World) -> None:
    worlds.bring(world.store, world.connection, ["x"], group="later")
    world.connection.execute("TRUNCATE segmentations, people")
    for group, message in (("no such", "must have been downloaded"), ("later", "must have been segmented")):
        with pytest.raises(InputError, match=message):
            export_masks(group=group, store=world.store, connection=world.connection)


def test_one_export_of_a_group_at_a_time(world: World, postgres_dsn: str) -> None:
    from silhouette.database import connect
    from silhouette.database.connection import try_lock
    from silhouette.export_masks.export import _lock_of

    with connect(postgres_dsn) as other:
        assert try_lock(other, _lock_of(GROUP))
        with pytest.raises(ServiceError, match="one export of group"):
            export(world)
    assert export(world).pictures == 4


def test_more_than_255_people_make_a_mask_of_16_bits(
    fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    world = worlds.bring(fresh_store, connection, ["crowd"])
    crowd = [worlds.box_mask(4 * (n % 40), 4 * (n // 40), 4 * (n % 40) + 2, 4 * (n // 40) + 2) for n in range(300)]
    world.segment("crowd", crowd)
    export(world, tmp_path)
    path = tmp_path / "masks" / f"{world.name('crowd')}.png"
    assert picture_at(path).mode == "I;16"
    numbers = markup.read_png(path.read_bytes(), width=WIDTH, height=HEIGHT)
    assert all((numbers[mask > 0] == number).all() for number, mask in enumerate(crowd, start=1))


def test_a_killed_export_goes_on_where_it_ended(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from silhouette.export_masks import export as module

    drawn: list[str] = []

    def fails(overlay: Callable[..., bytes]) -> Callable[..., bytes]:
        def draw(item: Any, *arguments: Any, **options: Any) -> bytes:
            if len(drawn) == 2:
                raise KeyboardInterrupt
            drawn.append(item.name)
            return overlay(item, *arguments, **options)

        return draw

    monkeypatch.setattr(module, "overlay", fails(module.overlay))
    with pytest.raises(KeyboardInterrupt):
        export(world, tmp_path)
    assert not (tmp_path / markup.TABLE_NAME).exists()
    (tmp_path / "masks" / ".half.png.0a1b2c3d.partial").write_bytes(b"half")
    monkeypatch.undo()
    assert export(world, tmp_path).drawn == 4 - len(drawn)
    assert len(list((tmp_path / "masks").iterdir())) == 4
