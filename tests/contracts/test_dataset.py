"""A dataset comes back as it was written; a malformed one is refused with file, line and value."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import CSV_NAME, JSON_NAME, Dataset, PictureRow, RefusedPicture
from silhouette.errors import InputError

ROW = PictureRow(
    picture_id="p1", object_key="pictures/ab/abc.jpg", sha256="ab" * 32, width=640, height=480, label="dress"
)
VALID = Dataset(group="outfit", classes=("dress", "skirt"), rows=(ROW, replace(ROW, picture_id="p2", label="skirt")))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
classes = st.lists(text, min_size=1, max_size=3, unique=True)


@st.composite
def any_dataset(draw: st.DrawFn) -> Dataset:
    names = draw(classes)
    row = st.builds(
        PictureRow,
        picture_id=text,
        object_key=text,
        sha256=text,
        width=st.integers(1, 10**6),
        height=st.integers(1, 10**6),
        label=st.sampled_from(names),
        pixset_id=text,
        split=st.sampled_from(["", "train", "val", "test"]),
    )
    refused = st.builds(RefusedPicture, picture_id=text, reason=text, detail=text)
    return Dataset(
        group=draw(text),
        classes=tuple(names),
        rows=tuple(draw(st.lists(row, max_size=4))),
        refused=tuple(draw(st.lists(refused, max_size=2))),
    )


@given(any_dataset())
@settings(max_examples=150)
def test_any_dataset_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    datasets.write(folder, dataset)
    assert datasets.read(folder) == dataset
    assert datasets.read(folder).digest() == dataset.digest()


def test_dataset_without_pictures_comes_back(tmp_path: Path) -> None:
    empty = replace(VALID, rows=())
    datasets.write(tmp_path / "deep" / "folder", empty)
    assert datasets.read(tmp_path / "deep" / "folder") == empty
    assert empty.counts() == {"dress": 0, "skirt": 0}


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        datasets.write(tmp_path / name, VALID)
    for name in (CSV_NAME, JSON_NAME):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_json_says_digest_and_counts_for_people(tmp_path: Path) -> None:
    datasets.write(tmp_path, VALID)
    head = json.loads((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    assert head["digest"] == VALID.digest()
    assert head["counts"] == {"dress": 1, "skirt": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: replace(dataset, group="other"),
        lambda dataset: replace(dataset, classes=("skirt", "dress")),
        lambda dataset: replace(dataset, rows=dataset.rows[:1]),
        lambda dataset: replace(dataset, rows=(replace(ROW, label="skirt"), *dataset.rows[1:])),
        lambda dataset: replace(dataset, rows=(replace(ROW, sha256="cd" * 32), *dataset.rows[1:])),
        lambda dataset: replace(dataset, rows=(replace(ROW, pixset_id="s"), *dataset.rows[1:])),
        lambda dataset: replace(dataset, rows=(replace(ROW, split="test"), *dataset.rows[1:])),
    ],
)
def test_digest_changes_with_everything_that_training_sees(change: Callable[[Dataset], Dataset]) -> None:
    assert change(VALID).digest() != VALID.digest()


def test_digest_does_not_change_with_what_was_refused() -> None:
    refused = (RefusedPicture(picture_id="p9", reason="truncated", detail="12 of 40 bytes"),)
    assert replace(VALID, refused=refused).digest() == VALID.digest()


def rewrite(folder: Path, change: Callable[[list[list[str]]], Any]) -> None:
    datasets.write(folder, VALID)
    path = folder / CSV_NAME
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    change(table)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


WRONG_ROWS: dict[str, tuple[Callable[[list[list[str]]], Any], str]] = {
    "unknown label": (
        lambda table: table[2].__setitem__(5, "hat"),
        r":3: label must be one of \['dress', 'skirt'\], got 'hat'",
    ),
    "unknown split": (lambda table: table[1].__setitem__(7, "dev"), ":2: split must be one of .* or empty, got 'dev'"),
    "width no number": (lambda table: table[1].__setitem__(3, "wide"), ":2: width and height must be .*'wide', '480'"),
    "height empty": (lambda table: table[1].__setitem__(4, ""), ":2: width and height must be whole numbers, got"),
    "cell too few": (lambda table: table[2].pop(), ":3: a row must have 12 cells, got 11"),
    "cell too many": (lambda table: table[2].append("x"), ":3: a row must have 12 cells, got 13"),
    "column missing": (lambda table: [row.pop(1) for row in table], "must have the columns picture_id,object_key,"),
    "columns exchanged": (lambda table: table[0].reverse(), "must have the columns .* got"),
}


@pytest.mark.parametrize(("change", "expected"), WRONG_ROWS.values(), ids=WRONG_ROWS.keys())
def test_malformed_table_is_refused_with_file_line_and_value(
    tmp_path: Path, change: Callable[[list[list[str]]], Any], expected: str
) -> None:
    rewrite(tmp_path, change)
    with pytest.raises(InputError, match=expected) as caught:
        datasets.read(tmp_path)
    assert str(tmp_path / CSV_NAME) in str(caught.value)


@pytest.mark.parametrize("name", [CSV_NAME, JSON_NAME])
def test_missing_file_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    datasets.write(tmp_path, VALID)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}.*; run download_pictures again"):
        datasets.read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"group": "outfit"}', "\udcff"])
def test_malformed_head_is_refused_with_the_way_out(tmp_path: Path, content: str) -> None:
    datasets.write(tmp_path, VALID)
    (tmp_path / JSON_NAME).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=f"{JSON_NAME}.*; run download_pictures again"):
        datasets.read(tmp_path)
