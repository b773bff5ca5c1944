"""What markers hand back becomes the version that counts, exactly; what cannot be taken is told and stops nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts import markup
from silhouette.contracts.contour_formats import coco_annotation
from silhouette.contracts.contours import from_mask, to_mask
from silhouette.database import badlist, corrections, labels, reviews
from silhouette.database.people import read_people
from silhouette.errors import InputError
from silhouette.export_masks.export import export_masks
from silhouette.import_masks.coco_door import read_coco
from silhouette.import_masks.report import ImportReport
from silhouette.import_masks.returned import Returned
from silhouette.import_masks.take import import_masks
from silhouette.snapshot_contours.snapshot import snapshot_contours
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HEIGHT, HOLED, MODEL, OTHER_MODEL, OVERLAPPING, PLAIN, WIDTH, Mask, World

NEW = worlds.ring_mask()
NEW[0:10, 100:140] = 255


@pytest.fixture
def exported(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    export_masks(group=GROUP, store=world.store, connection=world.connection, folder=folder, with_pictures=False)
    return folder


def take(world: World, source: Path, **options: Any) -> ImportReport:
    given = {"reviewer": "anna", **options}
    return import_masks(source=source, group=GROUP, connection=world.connection, **given)


def counts(world: World, picture_id: str, *, model: str = MODEL) -> tuple[str, list[Mask]]:
    """Return status and masks of the version that counts."""
    found = list(read_people(world.connection, model_digest=model, sha256s=[world.rows[picture_id].sha256]))
    people = [contour_bytes.decode(row.person.contours) for row in found if row.person]
    return found[0].status, worlds.masks_of(people)


def equal(found: Sequence[Mask], expected: Sequence[Mask]) -> bool:
    return sorted(mask.tobytes() for mask in found) == sorted(mask.tobytes() for mask in expected)


def coco(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / markup.INSTANCES_NAME
    return path, json.loads(path.read_text(encoding="utf-8"))


def redraw(content: dict[str, Any], name: str, masks: Sequence[Mask], form: Any = "rle") -> None:
    """Make the people of a picture others."""
    (image,) = [item for item in content["images"] if item["file_name"].startswith(name)]
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != image["id"]]
    for number, mask in enumerate(masks):
        content["annotations"].append(
            coco_annotation(
                from_mask(mask), annotation_id=9000 + number, image_id=image["id"], category_id=1, width=WIDTH,
                height=HEIGHT, form=form,
            )
        )  # fmt: skip


def handed(folder: Path, content: dict[str, Any], name: str = "back.json") -> Path:
    path = folder.parent / name
    path.write_text(json.dumps(content))
    return path


def repaint(folder: Path, name: str, change: Callable[[Mask], Mask | None]) -> Path:
    """Paint in a mask as an editor does."""
    path = folder / "masks" / f"{name}.png"
    picture = Image.open(path)
    numbers = np.array(picture)
    picture.close()
    done = change(numbers)
    painted = Image.fromarray(numbers if done is None else done)
    painted.putpalette(markup.palette().tobytes())
    painted.save(path)
    return path


@pytest.mark.parametrize("form", ["rle", "polygons", "polygon"])
def test_corrected_coco_becomes_the_version_that_counts_to_the_pixel(world: World, exported: Path, form: str) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW, OVERLAPPING[1]], form)
    report = take(world, handed(exported, content))
    assert (report.taken, report.nobody, report.unchanged, report.refused) == (["plain"], [], 3, [])
    status, masks = counts(world, "plain")
    assert status == "approved"
    assert equal(masks, [NEW, OVERLAPPING[1]])
    assert equal(counts(world, "plain", model=OTHER_MODEL)[1], [NEW, OVERLAPPING[1]])
    assert equal(counts(world, "overlapping")[1], OVERLAPPING)


def test_the_marker_is_its_author_and_the_audit_says_so(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    take(world, handed(exported, content), reviewer=" boris ")
    (found,) = corrections.counting(world.connection, sha256s=[world.rows["plain"].sha256]).values()
    assert (found.author, found.reviewer, found.status) == ("boris", "boris", "approved")
    changes = reviews.history(world.connection, picture_sha256=world.rows["plain"].sha256)[-2:]
    assert [(item.to_status, item.reviewer) for item in changes] == [("rejected", "boris"), ("approved", "boris")]
    assert "exported at revision 0" in changes[1].reason


def test_corrected_pngs_keep_whom_others_covered(world: World, exported: Path) -> None:
    def change(numbers: Mask) -> None:
        numbers[0:5, 0:5] = 2  # the smaller person gains a corner; the larger still goes on below it

    repaint(exported, world.name("overlapping"), change)
    report = take(world, exported / "masks")
    assert (report.taken, report.unchanged, report.refused) == (["overlapping"], 3, [])
    grown = OVERLAPPING[1].copy()
    grown[0:5, 0:5] = 255
    assert equal(counts(world, "overlapping")[1], [OVERLAPPING[0], grown])


def test_people_are_painted_in_out_and_over(world: World, exported: Path) -> None:
    def change(numbers: Mask) -> None:
        numbers[numbers == 2] = 0
        numbers[0:9, 100:120] = 7
        numbers[50:60, 20:30] = 0

    repaint(exported, world.name("plain"), change)
    take(world, exported)
    kept, new = PLAIN[0].copy(), worlds.box_mask(100, 0, 120, 9)
    kept[50:60, 20:30] = 0
    assert equal(counts(world, "plain")[1], [kept, new])


@pytest.mark.parametrize("how", ["rgb", "grey", "another palette", "16 bits"])
def test_a_mask_is_read_whatever_an_editor_made_of_its_colours(world: World, exported: Path, how: str) -> None:
    name = world.name("plain")
    path = exported / "masks" / f"{name}.png"
    numbers = markup.read_png(path.read_bytes(), width=WIDTH, height=HEIGHT).astype(np.uint8)
    numbers[0:9, 100:120] = 3
    if how == "rgb":
        Image.fromarray(markup.palette()[numbers]).save(path)
    elif how == "grey":
        Image.fromarray(numbers).save(path)
    elif how == "16 bits":
        Image.fromarray(numbers.astype(np.uint16)).save(path)
    else:
        turned = Image.fromarray((3 - numbers).astype(np.uint8))
        turned.putpalette(markup.palette()[[3, 2, 1, 0]].tobytes())
        turned.save(path)
    assert take(world, path).taken == ["plain"]
    below = PLAIN[1].copy()
    below[0:9, 100:120] = 0
    assert equal(counts(world, "plain")[1], [PLAIN[0], below, worlds.box_mask(100, 0, 120, 9)])


def test_nobody_left_is_nobody_there(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [])
    assert take(world, handed(exported, content)).nobody == ["plain"]
    assert counts(world, "plain") == ("nobody", [])


def test_what_is_handed_in_twice_is_there_once(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    path = handed(exported, content)
    take(world, path)
    before = world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall()
    again = take(world, path)
    assert (again.taken, again.unchanged, again.refused) == ([], 4, [])
    assert world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall() == before


def test_unchanged_pictures_stay_as_they_are_or_are_approved_when_told(world: World, exported: Path) -> None:
    before = world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall()
    assert take(world, exported).unchanged == 4
    assert world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall() == before
    world.decide("empty", "rejected")
    report = take(world, exported, approve_unchanged=True)
    assert (report.approved, report.unchanged) == (3, 1)
    assert [counts(world, picture_id)[0] for picture_id in world.rows] == ["approved"] * 3 + ["rejected"]


def test_a_dry_run_says_the_same_and_changes_nothing(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    redraw(content, world.name("holed/№ 1"), [])
    before = world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall()
    dry = take(world, handed(exported, content), dry_run=True, approve_unchanged=True)
    assert (dry.taken, dry.nobody, dry.approved) == (["plain"], ["holed/№ 1"], 2)
    assert dry.lines()[0].startswith("nothing was written; it would be 1 corrected")
    assert world.connection.execute("SELECT * FROM segmentations ORDER BY id").fetchall() == before


def test_a_picture_that_was_decided_since_the_export_is_refused_with_who_and_when(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, name := world.name("plain"), [NEW])
    redraw(content, world.name("overlapping"), [NEW])
    world.decide("plain", "approved", reviewer="clara")
    report = take(world, path := handed(exported, content))
    assert report.taken == ["overlapping"]
    (refused,) = report.refused
    assert name in refused.where
    assert "clara made it approved, at 20" in refused.why
    assert equal(counts(world, "plain")[1], PLAIN)
    assert take(world, path, force=True).taken == ["plain"]
    assert equal(counts(world, "plain")[1], [NEW])


def test_a_picture_that_somebody_corrected_since_the_export_is_refused(world: World, exported: Path) -> None:
    _, content = coco(exported)
    redraw(content, name := world.name("plain"), [NEW])
    first = handed(exported, content, "first.json")
    redraw(content, name, [HOLED[0]])
    second = handed(exported, content, "second.json")
    take(world, first)
    report = take(world, second, reviewer="boris")
    assert "anna handed in a correction of it, which is approved" in report.refused[0].why
    assert take(world, second, reviewer="boris", force=True).taken == ["plain"]
    assert equal(counts(world, "plain")[1], HOLED)


def test_a_correction_is_corrected_in_turn(world: World, exported: Path, tmp_path: Path) -> None:
    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    take(world, handed(exported, content))
    again = tmp_path / "again"
    export_masks(group=GROUP, store=world.store, connection=world.connection, folder=again, with_pictures=False)
    _, content = coco(again)
    assert [image["author"] for image in content["images"] if image["picture_id"] == "plain"] == ["anna"]
    redraw(content, "plain", [HOLED[0]])
    assert take(world, handed(again, content, "again.json"), reviewer="boris").taken == ["plain"]
    assert equal(counts(world, "plain")[1], HOLED)


def test_a_folder_with_both_takes_what_was_changed_in_either(world: World, exported: Path) -> None:
    path, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    path.write_text(json.dumps(content))
    repaint(exported, world.name("overlapping"), lambda numbers: np.where(numbers == 2, 0, numbers).astype(np.uint8))
    report = take(world, exported)
    assert (sorted(report.taken), report.unchanged, report.refused) == (["overlapping", "plain"], 2, [])
    repaint(exported, world.name("holed/№ 1"), lambda numbers: np.zeros_like(numbers))
    path, content = coco(exported)
    redraw(content, world.name("holed/№ 1"), [NEW])
    path.write_text(json.dumps(content))
    assert "handed in once" in take(world, exported).refused[0].why


def test_names_come_back_from_label_studio_and_cvat(world: World, exported: Path) -> None:
    """Label Studio puts eight letters before an uploaded file and writes a box beside every polygon."""
    path, content = coco(exported)
    (exported / markup.LABEL_STUDIO_NAME).unlink()
    name = world.name("plain")
    redraw(content, name, [NEW], "polygon")
    for image in content["images"]:
        content["annotations"].append(
            {"id": 99, "image_id": image["id"], "category_id": 1, "segmentation": [], "bbox": [0, 0, 9, 9], "area": 81}
        )
        image["file_name"] = f"/data/upload/3/0a1b2c3d-{image['file_name']}"
    path.write_text(json.dumps(content))
    report = take(world, path)
    assert (report.taken, report.unchanged, report.refused) == (["plain"], 3, [])


# ---- what cannot be taken


def spoiled(content: dict[str, Any], name: str, change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> None:
    (image,) = [item for item in content["images"] if item["file_name"].startswith(name)]
    change(image, [item for item in content["annotations"] if item["image_id"] == image["id"]])


BROKEN: dict[str, tuple[Callable[[dict[str, Any], list[dict[str, Any]]], Any], str]] = {
    "a foreign name": (lambda image, _: image.update(file_name="holiday.jpg"), "the name must be that of an exported"),
    "another key": (lambda image, _: image.update(file_name="x_s1_r0.jpg"), "must be one of group"),
    "a size": (lambda image, _: image.update(width=WIDTH + 1), "width and height must be those of the picture, 160"),
    "no size": (lambda image, _: image.pop("height"), "width and height must be those of the picture"),
    "a category": (lambda _, people: people[0].update(category_id=2), "its category must be 'person', got 'dog'"),
    "no category": (lambda _, people: people[0].update(category_id=[]), r"got the unknown id \[\]"),
    "run lengths": (
        lambda _, people: people[0].update(segmentation={"size": [HEIGHT, WIDTH], "counts": "~~~"}),
        r"annotations\[\d+\]: a COCO segmentation must be polygons or run lengths",
    ),
    "run lengths of another size": (
        lambda _, people: people[0].update(segmentation={"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}),
        "size must be",
    ),
    "a far point": (
        lambda _, people: people[0].update(segmentation=[[0, 0, 1e30, 5, 5, 1e30]]), "coordinates of at most"
    ),
    "no segmentation": (lambda _, people: people[0].pop("segmentation") and people[0].pop("bbox"), "got"),
    "no pixel": (lambda _, people: people[0].update(segmentation=[[1, 1, 1, 1, 1, 1]]), "must cover a pixel"),
    "one person twice": (
        lambda _, people: people[0].update(segmentation=people[1]["segmentation"]), "one person drawn twice"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_one_bad_picture_is_one_line_and_stops_no_other(world: World, exported: Path, what: str) -> None:
    change, message = BROKEN[what]
    _, content = coco(exported)
    content["categories"].append({"id": 2, "name": "dog"})
    redraw(content, world.name("overlapping"), [NEW])
    spoiled(content, world.name("plain"), change)
    report = take(world, path := handed(exported, content))
    assert report.taken == ["overlapping"]
    (refused,) = report.refused
    assert refused.where.startswith(f"{path}: images[")
    assert len(report.lines()) == 3
    with pytest.raises(InputError, match=message):
        raise InputError(refused.why)
    assert equal(counts(world, "plain")[1], PLAIN)


def test_badlisted_withdrawn_and_resegmented_pictures_are_refused(world: World, exported: Path) -> None:
    _, content = coco(exported)
    for picture_id in world.rows:
        redraw(content, world.name(picture_id), [NEW])
    badlist.add(world.connection, ["plain"])
    rows = [row for row in world.rows.values() if row.picture_id != "overlapping"]
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=rows)
    world.connection.execute("DELETE FROM segmentations WHERE picture_sha256 = %s", (world.rows["empty"].sha256,))
    report = take(world, handed(exported, content))
    assert report.taken == ["holed/№ 1"]
    reasons = "\n".join(item.why for item in report.refused)
    assert (reasons.count("must not be on the badlist"), reasons.count("must be one of group")) == (1, 2)


HOSTILE = {
    "nothing": (b"", "must be JSON"),
    "no JSON": (b"{", "must be JSON"),
    "another encoding": ('{"images": "é"}'.encode("latin-1"), "must be JSON in UTF-8"),
    "no COCO": (b"[]", "must be a COCO file with the lists"),
    "no lists": (b'{"images": {}, "annotations": [], "categories": []}', "must be a COCO file with the lists"),
    "nested": (b"[" * 200_000, "nested too deep"),
    "no number": (b'{"images": [], "annotations": [NaN], "categories": []}', "NaN, which is no number"),
    "a long number": (b'{"images": [' + b"9" * 10_000 + b"]}", "must be JSON"),
    "odd categories": (b'{"images": [], "annotations": [], "categories": [7]}', r"categories\[0\] must have an id"),
    "twice a category": (
        b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
        "an id of its own",
    ),
    "odd images": (b'{"images": [1], "annotations": [], "categories": []}', "an image must have an id"),
    "twice an image": (
        b'{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": [], "categories": []}',
        "an id of its own, 1 is another's",
    ),
    "odd annotations": (b'{"images": [], "annotations": [null], "categories": []}', "must have the id of its image"),
    "a missing image": (
        b'{"images": [], "annotations": [{"image_id": 5}], "categories": []}', "its image must be in the file, 5 is not"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(world: World, tmp_path: Path, what: str) -> None:
    data, message = HOSTILE[what]
    (tmp_path / "back.json").write_bytes(data)
    report = take(world, tmp_path / "back.json")
    assert (report.taken, report.nobody) == ([], [])
    with pytest.raises(InputError, match=message):
        raise InputError("\n".join(item.why for item in report.refused))
    assert all(len(line) < 600 for line in report.lines())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
entries = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("id", "image_id", "file_name", "category_id", "name", "segmentation"), json_values),
    )
    | json_values,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({"images": entries, "annotations": entries, "categories": entries}))
def test_no_content_whatever_ends_in_anything_but_a_line(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    from silhouette.import_masks.returned import Exported

    path = tmp_path_factory.mktemp("any") / "back.json"
    path.write_text(json.dumps(content))
    for item in read_coco(path):
        if isinstance(item, Returned):
            try:
                list(item.read(Exported(width=9, height=9, people=())))
            except InputError:
                continue


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"no picture"), "a mask must be a PNG that can be opened"),
        (lambda path: path.write_bytes(path.read_bytes()[:120]), "a mask must be a PNG that can be opened"),
        (lambda path: Image.new("P", (WIDTH, HEIGHT + 1)).save(path), "must have the picture's size of 160x120"),
        (lambda path: Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(path), "must have the colours of the export"),
        (
            lambda path: Image.fromarray(np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(
                path
            ),
            "paint without blur",
        ),
        (
            lambda path: Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH)).save(path),
            "at most 1000 people",
        ),
    ],
)
def test_a_bad_png_is_one_line_and_stops_no_other(
    world: World, exported: Path, spoil: Callable[[Path], object], message: str
) -> None:
    path = exported / "masks" / f"{world.name('plain')}.png"
    spoil(path)
    repaint(exported, world.name("overlapping"), lambda numbers: np.where(numbers == 2, 0, numbers).astype(np.uint8))
    report = take(world, exported / "masks")
    assert report.taken == ["overlapping"]
    assert report.refused[0].where == str(path)
    with pytest.raises(InputError, match=message):
        raise InputError(report.refused[0].why)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reviewer": "  "}, "somebody who corrected"),
        ({"reviewer": "x" * 201}, "1 to 200"),
        ({"reviewer": "a\x1b"}, "some"),
    ],
)
def test_somebody_must_have_corrected(world: World, exported: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        take(world, exported, **options)


def test_a_source_without_masks_is_told(world: World, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="masks must be in a COCO file"):
            take(world, source)


# ---- later steps


def test_the_snapshot_has_the_correction_instead_of_the_models_contours(
    world: World, exported: Path, tmp_path: Path
) -> None:
    from silhouette.contracts import snapshot

    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    take(world, handed(exported, content))
    dataset = worlds.dataset_folder(world, tmp_path / "dataset")
    report = snapshot_contours(dataset=dataset, model_digest=MODEL, store=world.store, connection=world.connection)
    world.store.get_file(report.key, tmp_path / "s.arrow")
    (row,) = [row for row in snapshot.read(tmp_path / "s.arrow") if row.sha256 == world.rows["plain"].sha256]
    drawn = to_mask(contour_bytes.decode(row.contours), width=WIDTH, height=HEIGHT)
    assert (row.status, row.score) == ("approved", 1.0)
    assert (drawn == NEW).all()
    assert snapshot.read_head(tmp_path / "s.arrow").rejected == ()  # the model's own is, and counts for nothing


def test_a_run_over_all_pictures_again_leaves_the_correction_and_one_by_name_takes_it_back(
    world: World, exported: Path, tmp_path: Path, connection: psycopg.Connection
) -> None:
    from silhouette.config import load_config
    from silhouette.segment_people.records import Orders
    from silhouette.segment_people.segment import segment_people
    from tests.segment_people import tiny_models

    _, content = coco(exported)
    redraw(content, world.name("plain"), [NEW])
    take(world, handed(exported, content))
    dataset = worlds.dataset_folder(world, tmp_path / "dataset")
    config = load_config({}).segmentation.model_copy(update={"image_size": 64, "runtime": "torch"})
    model = str(tiny_models.write_segmenter(tmp_path / "tiny.pt"))

    def segment(**orders: Any) -> str:
        report = segment_people(
            dataset=dataset, model=model, store=world.store, connection=connection, config=config,
            orders=Orders(reviewer="clara", **orders),
        )  # fmt: skip
        return report.model_digest

    digest = segment()
    segment(process_all=True)
    segment(process_all=True, mark_approved=True)
    assert equal(counts(world, "plain", model=digest)[1], [NEW])
    segment(redo_reviewed=["plain"])
    assert not equal(counts(world, "plain", model=digest)[1], [NEW])
    change = reviews.history(connection, picture_sha256=world.rows["plain"].sha256)[-1]
    assert (change.to_status, change.reviewer, change.reason) == ("unchecked", "clara", "segmented again, as ordered")
