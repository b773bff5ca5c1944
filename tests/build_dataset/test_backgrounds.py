"""Places behind people: never one of val or test, never the same in training and in tests, and bounded in number."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from silhouette.build_dataset.backgrounds import Backgrounds, choose
from silhouette.build_dataset.build import build_dataset
from silhouette.contracts import backgrounds, crops
from silhouette.contracts.backgrounds import BackgroundSet
from silhouette.contracts.crops import BACKGROUND_TEST, BACKGROUND_TRAIN, CropTable
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.errors import InputError
from silhouette.imaging import open_picture
from silhouette.store import Store
from tests.build_dataset.test_build import CONFIG, put_snapshot
from tests.segment_people import pictures


def place(name: str, *, data: bytes = b"", pixset_id: str = "", near_group: str = "") -> PictureRow:
    row = pictures.row(name, data or b"place " + name.encode(), label="", pixset_id=pixset_id)
    return replace(row, near_group=near_group)


def person(name: str, *, pixset_id: str = "", near_group: str = "") -> PictureRow:
    return replace(pictures.row(name, name.encode(), pixset_id=pixset_id), near_group=near_group)


def put(store: Store, rows: list[PictureRow], **left_out: list[str]) -> str:
    ordered = tuple(sorted(rows, key=lambda row: row.picture_id))
    return backgrounds.write(store, BackgroundSet(name="places", model_digest="m", pictures=ordered, left_out=left_out))


def chosen(
    store: Store,
    rows: list[PictureRow],
    people: dict[str, PictureRow] | None = None,
    *,
    most: int = 2000,
    seed: int = 1,
    skipped: tuple[PictureRow, ...] = (),
    **left_out: list[str],
) -> Backgrounds:
    """Choose for a group that has one picture in each split of `people`."""
    people = people or {}
    return choose(
        put(store, rows, **left_out),
        content=Dataset(group="g", classes=("dress", "shorts"), rows=(*people.values(), *skipped)),
        splits={row.picture_id: split for split, row in people.items()},
        store=store,
        config=CONFIG.model_copy(update={"background_crops": most}),
        seed=seed,
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_shares_bytes_looks_shoot_or_id_with_val_or_test_is_kept_out(store: Store, split: str) -> None:
    judged = person("judged", pixset_id="shoot", near_group="looks")
    twin = person("skipped twin", near_group="looks")  # looks like it, and gave no crop itself
    rows = [
        place("same bytes", data=b"judged"), place("same shoot", pixset_id="shoot"),
        place("judged", data=b"other bytes"), place("bytes of a twin", data=b"skipped twin"),
        place("beside it", pixset_id="far"), place("same bytes in another shoot", data=b"judged", pixset_id="far"),
        place("looks like one with a person", near_group="crowd"),
        place("with a person", data=b"judged", near_group="crowd"),
        place("free"), place("free too"),
    ]  # fmt: skip
    found = chosen(store, rows, {split: judged}, skipped=(twin,), person=["with a person"])
    assert set(found.splits) == {"free", "free too"}
    assert found.left_out == {
        "person": ["with a person"],
        "shared_with_val_or_test": sorted(row.picture_id for row in rows[:7]),
    }


def test_what_shares_a_shoot_with_train_is_shown_in_training_only(store: Store) -> None:
    rows = [place(f"{number}", pixset_id="shoot" if number < 6 else f"{number}") for number in range(9)]
    found = chosen(store, rows, {"train": person("learnt", pixset_id="shoot")})
    assert {found.splits[f"{number}"] for number in range(6)} == {BACKGROUND_TRAIN}
    assert BACKGROUND_TEST in found.splits.values()


def test_training_and_tests_share_no_shoot_bytes_or_looks(store: Store) -> None:
    rows = [
        place(f"{number:03d}", data=b"%d" % (number // 2), pixset_id=f"shoot {number // 6}", near_group=f"{number % 9}")
        if number < 30
        else place(f"{number:03d}", pixset_id=f"shoot {number // 4}")
        for number in range(120)
    ]
    found = chosen(store, rows)
    split_of = found.splits
    for key in ("pixset_id", "sha256", "near_group"):
        values: dict[str, set[str]] = {}
        for row in rows:
            values.setdefault(getattr(row, key), set()).add(split_of[row.picture_id])
        values.pop("", None)
        assert all(len(splits) == 1 for splits in values.values()), key
    counts = found.counts()
    assert 0.1 < counts[BACKGROUND_TEST] / sum(counts.values()) < 0.3


def test_what_a_picture_with_a_person_joins_is_not_torn_apart(store: Store) -> None:
    rows = [place("filler")]
    for number in range(12):
        rows += [
            place(f"{number} shoot", pixset_id=f"{number}"),
            place(f"{number} crowd", pixset_id=f"{number}", near_group=f"{number}"),
            place(f"{number} looks", near_group=f"{number}"),
        ]
    found = chosen(store, rows, person=[f"{number} crowd" for number in range(12)])
    assert set(found.splits.values()) == {BACKGROUND_TRAIN, BACKGROUND_TEST}
    assert not [name for name in found.splits if "crowd" in name]
    assert all(found.splits[f"{number} shoot"] == found.splits[f"{number} looks"] for number in range(12))


def test_the_draw_depends_on_the_seed_and_nothing_else(store: Store) -> None:
    rows = [place(f"{number}") for number in range(40)]
    assert chosen(store, rows).splits == chosen(store, rows[::-1]).splits
    assert chosen(store, rows).splits != chosen(store, rows, seed=2).splits


@pytest.mark.parametrize(
    ("pictures_", "most", "views"), [(3, 2000, 8), (40, 100, 2), (40, 40, 1), (300, 100, 1), (9, 2, 1)]
)
def test_the_number_of_crops_is_bounded_and_both_splits_have_some(
    store: Store, pictures_: int, most: int, views: int
) -> None:
    found = chosen(store, [place(f"{number}") for number in range(pictures_)], most=most)
    counts = found.counts()
    assert found.views == views
    assert sum(counts.values()) <= most
    assert min(counts.values()) >= 1
    assert sum(counts.values()) == len(found.pictures) * views


def test_a_set_of_one_shoot_goes_to_training_whole(store: Store) -> None:
    found = chosen(store, [place(f"{number}", pixset_id="one") for number in range(5)])
    assert found.counts() == {BACKGROUND_TRAIN: 40, BACKGROUND_TEST: 0}


def test_a_set_that_is_all_val_and_test_is_one_clear_line(store: Store) -> None:
    with pytest.raises(InputError, match=r"all 2 of 'places' share bytes, looks or a shoot with them; name other"):
        chosen(
            store, [place("a", pixset_id="p"), place("b", pixset_id="p"), place("c")],
            {"test": person("judged", pixset_id="p")}, person=["c"],
        )  # fmt: skip


@pytest.fixture
def places(store: Store) -> str:
    rows = []
    for number in range(6):
        data = pictures.png(500 + number)
        rows.append(pictures.row(f"place {number}", data, label=""))
        store.put_bytes(rows[-1].object_key, data)
    return put(store, rows, person=["place 5"])


def test_views_are_stored_in_splits_of_their_own_and_told_in_the_head(
    store: Store, tmp_path: Path, places: str
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    digest = put_snapshot(store, folder, tmp_path)
    config = CONFIG.model_copy(update={"crop_size": 32})
    built = [
        build_dataset(
            dataset=folder, snapshot_digest=digest, background_digest=background, out=tmp_path / name, store=store,
            config=config, seed=1,
        )
        for name, background in (("with", places), ("again", places), ("without", ""))
    ]  # fmt: skip
    out, head = tmp_path / "with", crops.read_head(tmp_path / "with")
    tables = {name: CropTable(out, name) for name in (BACKGROUND_TRAIN, BACKGROUND_TEST)}
    assert head.background_digest == places
    assert head.background_counts == {name: len(table) for name, table in tables.items()}
    assert head.background_left_out == {"person": ["place 5"]}
    assert sum(head.background_counts.values()) == 5 * 8
    assert built[0].metadata() == built[1].metadata()
    assert built[0].digest != built[2].digest
    assert built[0].counts == built[2].counts
    assert crops.read_head(tmp_path / "without").background_counts == {}
    assert not list((tmp_path / "without").glob("crops-background*"))
    sizes = set()
    for row in (row for table in tables.values() for row in table):
        assert (row.label, row.person_index, row.mask_png) == ("", -1, b"")
        x0, y0, x1, y1 = (int(value) for value in row.box_xyxy)
        assert 0 <= x0 < x1 <= pictures.WIDTH
        assert 0 <= y0 < y1 <= pictures.HEIGHT
        assert x1 - x0 == y1 - y0 >= 32
        sizes.add(x1 - x0)
        shown = crops.decode_jpeg(row.jpeg)
        assert shown.shape == (32, 32, 3)
        pixels = open_picture(store.get_bytes(f"pictures/{row.sha256[:2]}/{row.sha256}.png")).pixels[y0:y1, x0:x1]
        assert hashlib.sha256(store.get_bytes(f"pictures/{row.sha256[:2]}/{row.sha256}.png")).hexdigest() == row.sha256
        assert np.abs(shown.mean((0, 1)) - pixels.mean((0, 1))).max() < 4
    assert len(sizes) > 5


def test_a_picture_smaller_than_a_crop_is_enlarged(store: Store, tmp_path: Path, places: str) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    digest = put_snapshot(store, folder, tmp_path)
    config = CONFIG.model_copy(update={"crop_size": 224})
    build_dataset(
        dataset=folder, snapshot_digest=digest, background_digest=places, out=tmp_path / "crops", store=store,
        config=config, seed=1,
    )  # fmt: skip
    row = CropTable(tmp_path / "crops", BACKGROUND_TRAIN)[0]
    assert crops.decode_jpeg(row.jpeg).shape == (224, 224, 3)
    assert row.box_xyxy[2] - row.box_xyxy[0] == pictures.WIDTH
