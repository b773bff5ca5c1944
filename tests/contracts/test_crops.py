"""Crops come back as they were written, split by split, across shards; their digest says what they are."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silhouette.contracts import crops
from silhouette.contracts.crops import CropRow, CropsHead, CropTable
from silhouette.errors import InputError

HEAD = CropsHead(
    group="outfit",
    classes=["dress", "skirt"],
    crop_size=4,
    crop_margin=0.1,
    background="keep",
    seed=17,
    dataset_digest="d",
    snapshot_digest="s",
    counts={"train": {"dress": 1, "skirt": 0}},
    skipped={"nobody": ["p7"]},
)


def row(number: int, *, split: str = "train", label: str = "dress") -> CropRow:
    return CropRow(
        picture_id=f"№ {number}/a'b\n",
        pixset_id="",
        sha256=f"{number:064x}",
        person_index=number % 3,
        box_xyxy=(0.5, 1.25, 2.0, 640.0),
        score=0.75,
        label=label,
        split=split,
        jpeg=bytes([number % 256]) * 5,
        mask_png=b"",
    )


def rows(count: int, *, split: str = "train") -> Iterator[CropRow]:
    return (row(number, split=split) for number in range(count))


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    crops.write(tmp_path, HEAD, rows(5))
    assert list(CropTable(tmp_path, "train")) == list(rows(5))


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 513, 1025])
def test_no_row_is_lost_where_batches_and_shards_end(tmp_path: Path, count: int) -> None:
    crops.write(tmp_path, HEAD, rows(count), rows_per_shard=512)
    table = CropTable(tmp_path, "train")
    assert len(table) == count
    assert table.column("sha256") == [f"{number:064x}" for number in range(count)]
    assert len(list(tmp_path.glob("crops-train-*.arrow"))) == -(-count // 512)


def test_splits_that_take_turns_are_kept_apart(tmp_path: Path) -> None:
    mixed = [row(number, split=("train", "val", "test")[number % 3]) for number in range(900)]
    crops.write(tmp_path, HEAD, mixed, rows_per_shard=256)
    for split in ("train", "val", "test"):
        assert list(CropTable(tmp_path, split)) == [item for item in mixed if item.split == split]


def test_split_without_crops_is_an_empty_table(tmp_path: Path) -> None:
    crops.write(tmp_path, HEAD, rows(3))
    table = CropTable(tmp_path, "val")
    assert len(table) == 0
    assert list(table) == []
    assert table.column("label") == []


def test_index_outside_the_table_is_an_index_error(tmp_path: Path) -> None:
    crops.write(tmp_path, HEAD, rows(3))
    table = CropTable(tmp_path, "train")
    assert table[2] == row(2)
    for index in (3, -1):
        with pytest.raises(IndexError):
            table[index]


def test_head_comes_back_with_the_digest(tmp_path: Path) -> None:
    written = crops.write(tmp_path, HEAD, rows(3))
    assert len(written.digest) == 64
    assert crops.read_head(tmp_path) == written == HEAD.model_copy(update={"digest": written.digest})


def test_same_rows_give_the_same_digest_in_any_shards(tmp_path: Path) -> None:
    one = crops.write(tmp_path / "one", HEAD, rows(300))
    two = crops.write(tmp_path / "two", HEAD, rows(300), rows_per_shard=8)
    assert one.digest == two.digest


@pytest.mark.parametrize(
    "changed",
    [
        replace(row(1), jpeg=b"other"),
        replace(row(1), mask_png=b"other"),
        replace(row(1), label="skirt"),
        replace(row(1), split="val"),
        replace(row(1), box_xyxy=(0.5, 1.25, 2.0, 641.0)),
        replace(row(1), picture_id="other"),
    ],
)
def test_digest_changes_with_every_part_of_a_row(tmp_path: Path, changed: CropRow) -> None:
    one = crops.write(tmp_path / "one", HEAD, [row(0), row(1)])
    two = crops.write(tmp_path / "two", HEAD, [row(0), changed])
    assert one.digest != two.digest


def test_digest_changes_with_the_order_of_the_rows(tmp_path: Path) -> None:
    one = crops.write(tmp_path / "one", HEAD, [row(0), row(1)])
    two = crops.write(tmp_path / "two", HEAD, [row(1), row(0)])
    assert one.digest != two.digest


def test_writing_stops_without_a_head_when_the_rows_fail(tmp_path: Path) -> None:
    def failing() -> Iterator[CropRow]:
        yield from rows(300)
        raise InputError("the store went away")

    with pytest.raises(InputError, match="the store went away"):
        crops.write(tmp_path, HEAD, failing())
    assert not (tmp_path / crops.JSON_NAME).exists()


def test_uneven_shard_size_is_refused_with_its_value(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows_per_shard must be a multiple of 256, got 300"):
        crops.write(tmp_path, HEAD, rows(1), rows_per_shard=300)


def test_file_with_other_columns_is_refused_by_name(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "crops-train-00000.arrow"
    table = pa.table({"picture_id": ["a"]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match=r"crops-train-00000\.arrow must have the columns .* got \['picture_id'\]"):
        CropTable(tmp_path, "train")


def test_crop_and_mask_decode_to_their_shapes() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :2] = (255, 0, 0)
    mask = np.zeros((4, 4), np.uint8)
    mask[1:3, 1:3] = 255
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=100, subsampling=0)
    Image.fromarray(mask).save(png, "PNG")
    decoded = crops.decode_jpeg(jpeg.getvalue())
    assert decoded.shape == (4, 4, 3)
    assert decoded.dtype == np.uint8
    assert decoded[0, 0, 0] > 200 > 60 > decoded[0, 3, 0]
    np.testing.assert_array_equal(crops.decode_mask(png.getvalue()), mask)
