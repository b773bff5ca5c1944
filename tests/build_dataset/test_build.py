"""Crops are what imaging cuts, with the person's own mask, the same for the same input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silhouette.build_dataset.build import build_dataset
from silhouette.config import DatasetConfig
from silhouette.contracts import contours, crops, dataset, snapshot
from silhouette.contracts.snapshot import SnapshotHead, SnapshotRow
from silhouette.errors import InputError
from silhouette.imaging import crop_square, crop_square_mask, open_picture
from silhouette.store import Store
from tests.segment_people import pictures

CONFIG = DatasetConfig(
    crop_size=64,
    crop_margin=0.1,
    background="keep",
    people="main",
    val_fraction=0.2,
    test_fraction=0.2,
    min_pictures_per_class=5,
)


def put_snapshot(store: Store, folder: Path, tmp_path: Path, *, skip: int = 0) -> str:
    """Two people on every picture, a small one and a large one that reaches the border."""
    rows = []
    for picture in dataset.read(folder).rows[skip:]:
        for index, (x0, y0, x1, y1) in enumerate([(3, 3, 20, 30), (30, 20, 90, 120)]):
            mask = np.zeros((picture.height, picture.width), np.uint8)
            mask[y0:y1, x0:x1] = 255
            mask[y0 + 4 : y0 + 8, x0 + 4 : x0 + 8] = 0
            rows.append(
                SnapshotRow(
                    sha256=picture.sha256, width=picture.width, height=picture.height, person_index=index,
                    box_xyxy=(float(x0), float(y0), float(x1), float(y1)), score=0.5, status="unchecked",
                    contours=contours.encode(contours.from_mask(mask)),
                )
            )  # fmt: skip
    path = tmp_path / "snapshot.arrow"
    digest = snapshot.write(path, rows, head=SnapshotHead(model_digest="m"))
    store.put_file(snapshot.store_key(digest), path)
    return digest


def test_crops_masks_and_splits_are_right(store: Store, tmp_path: Path) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 40)
    digest = put_snapshot(store, folder, tmp_path, skip=2)
    out = tmp_path / "crops"
    report = build_dataset(dataset=folder, snapshot_digest=digest, out=out, store=store, config=CONFIG, seed=1)
    head = crops.read_head(out)
    tables = {name: crops.CropTable(out, name) for name in ("train", "val", "test")}
    assert {name: len(table) for name, table in tables.items()} == {"train": 22, "val": 8, "test": 8}
    assert head.counts == report.counts
    assert head.skipped == {"not_segmented": ["picture 000", "picture 001"]}
    assert head.digest == report.digest
    assert head.dataset_digest == dataset.read(folder).digest()
    assert (report.crops, report.pictures, report.skipped) == (38, 38, {"not_segmented": 2})
    row = tables["test"][3]
    pixels = open_picture(store.get_bytes(f"pictures/{row.sha256[:2]}/{row.sha256}.png")).pixels
    expected = crop_square(pixels, row.box_xyxy, size=64, margin=0.1)
    assert row.person_index == 1
    assert np.abs(crops.decode_jpeg(row.jpeg).astype(int) - expected).mean() < 6  # noise is the worst for JPEG
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[20:120, 30:90] = 255
    mask[24:28, 34:38] = 0
    cut = crop_square_mask(mask, row.box_xyxy, size=64, margin=0.1)
    assert (crops.decode_mask(row.mask_png) == cut).all()
    assert 0 < (cut == 255).mean() < 1


def test_all_people_are_cut_when_asked_for(store: Store, tmp_path: Path) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    digest = put_snapshot(store, folder, tmp_path)
    config = CONFIG.model_copy(update={"people": "all"})
    out = tmp_path / "crops"
    report = build_dataset(dataset=folder, snapshot_digest=digest, out=out, store=store, config=config, seed=1)
    assert (report.crops, report.pictures) == (40, 20)
    found = [(row.picture_id, row.split) for name in ("train", "val", "test") for row in crops.CropTable(out, name)]
    assert len(found) == 40
    assert len(set(found)) == 20


def test_the_same_input_gives_the_same_digest_and_leftovers_are_replaced(store: Store, tmp_path: Path) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    digest = put_snapshot(store, folder, tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "crops-train-00007.arrow").write_bytes(b"half work of a killed run")
    reports = [
        build_dataset(dataset=folder, snapshot_digest=digest, out=out, store=store, config=CONFIG, seed=seed)
        for out, seed in ((first, 1), (second, 1), (tmp_path / "third", 2))
    ]
    assert reports[0].metadata() == reports[1].metadata()
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }
    assert reports[2].digest != reports[0].digest


def test_a_missing_and_a_changed_snapshot_are_refused(store: Store, tmp_path: Path) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 10)
    digest = put_snapshot(store, folder, tmp_path)
    for key in ("0" * 64, "1" * 64):
        if key.startswith("1"):
            store.put_bytes(snapshot.store_key(key), store.get_bytes(snapshot.store_key(digest)))
        message = "must hold the object" if key.startswith("0") else "must have the digest of its name"
        with pytest.raises(InputError, match=message):
            build_dataset(dataset=folder, snapshot_digest=key, out=tmp_path / "c", store=store, config=CONFIG, seed=1)


def test_a_picture_whose_bytes_broke_in_the_store_is_named(store: Store, tmp_path: Path) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    digest = put_snapshot(store, folder, tmp_path)
    victim = dataset.read(folder).rows[7]
    store.put_bytes(victim.object_key, b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(InputError, match="picture 007 does no more"):
        build_dataset(dataset=folder, snapshot_digest=digest, out=tmp_path / "c", store=store, config=CONFIG, seed=1)
    assert not (tmp_path / "c" / crops.JSON_NAME).exists()
