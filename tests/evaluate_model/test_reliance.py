"""Two models whose ways are known: one that looks at the background alone, one that looks at the person."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silhouette.contracts import crops
from silhouette.contracts.evaluation import BackgroundReliance
from silhouette.errors import InputError
from silhouette.evaluate_model.evaluate import answer
from silhouette.evaluate_model.reliance import VERSIONS, Example, measure_reliance
from tests.evaluate_model.painted import CLASSES, SIZE, colour_model, write_painted


def measured(folder: Path, **options: object) -> tuple[BackgroundReliance, list[Example]]:
    head = write_painted(folder, **options)  # type: ignore[arg-type]
    model = colour_model(folder)
    test = answer(model, crops.CropTable(folder, "test"), CLASSES)
    return measure_reliance(model, crops=folder, head=head, test=test, majority=0, seed=3)


def accuracies(found: BackgroundReliance) -> dict[str, float]:
    assert tuple(version.name for version in found.versions) == VERSIONS
    return {version.name: version.accuracy for version in found.versions}


def test_a_model_that_looks_at_the_background_shows_a_gap_of_everything(tmp_path: Path) -> None:
    found, _ = measured(tmp_path, coloured="background")
    of = accuracies(found)
    assert (of["original"], of["same_class"], of["other_class"], of["background_only"]) == (1, 1, 0, 1)
    assert found.bg_gap.value == found.bg_gap.low == found.bg_gap.high == 1
    assert found.background_only_accuracy == 1
    assert found.majority_accuracy == pytest.approx(1 / 3)
    assert of["person_only"] <= 0.5
    assert of["silhouette"] == 1, "the background is still there"
    assert "there is no background set" in found.explanation


def test_a_model_that_looks_at_the_person_shows_none(tmp_path: Path) -> None:
    found, _ = measured(tmp_path, coloured="person")
    of = accuracies(found)
    assert (of["original"], of["swapped"], of["same_class"], of["other_class"], of["person_only"]) == (1, 1, 1, 1, 1)
    assert found.bg_gap.value == found.swap_drop.value == 0
    assert of["background_only"] <= 0.5
    assert of["silhouette"] <= 0.5


def test_a_background_set_is_what_is_swapped_in(tmp_path: Path) -> None:
    found, examples = measured(tmp_path, coloured="background", background_set=True)
    assert "3 pictures of the background set" in found.explanation
    assert accuracies(found)["swapped"] <= 0.5
    assert found.swap_drop.value >= 0.5
    corner = examples[0].views["swapped"][0, 0]
    assert corner.tolist() == [255, 255, 255]


def test_the_swap_takes_backgrounds_of_other_shoots_and_keeps_the_person(tmp_path: Path) -> None:
    _, examples = measured(tmp_path, coloured="background")
    assert [example.row for example in examples] == [0, 8, 17]
    for example in examples:
        table = crops.CropTable(tmp_path, "test")
        original = crops.decode_jpeg(table[example.row].jpeg)
        assert set(example.views) == set(VERSIONS) - {"original"}
        for name in ("swapped", "same_class", "other_class", "person_only"):
            assert np.abs(example.views[name][12:20, 12:20].astype(int) - original[12:20, 12:20]).max() <= 1, name
        assert (example.views["silhouette"][12:20, 12:20] == 0).all()
        label = CLASSES.index(table[example.row].label)
        assert example.views["same_class"][0, 0].argmax() == label
        assert example.views["other_class"][0, 0].argmax() != label
        assert example.answers["original"] == label


def test_crops_on_grey_say_so_and_let_nothing_through(tmp_path: Path) -> None:
    found, examples = measured(tmp_path, coloured="person", background="grey")
    assert "cut out on grey" in found.explanation
    assert "0 by construction" in found.explanation
    assert found.bg_gap.value == 0
    assert (examples[0].views["background_only"] == 127).all()
    assert (examples[0].views["other_class"][0, 0] == 127).all()


def test_crops_on_grey_with_a_background_set_show_what_the_rim_lets_through(tmp_path: Path) -> None:
    found, examples = measured(tmp_path, coloured="person", background="grey", background_set=True)
    swapped, alone = examples[0].views["swapped"], examples[0].views["same_class"]
    assert "3 pictures of the background set" in found.explanation
    assert (swapped[0, 0] == 127).all(), "serving cuts it away"
    assert (swapped[8, 8:24].astype(int) - alone[8, 8:24]).min() >= 0, "white shines into the rim"
    assert swapped[8:24, 8:24].sum() > alone[8:24, 8:24].sum()


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    first, _ = measured(tmp_path / "a", coloured="background")
    again, _ = measured(tmp_path / "b", coloured="background")
    assert first == again


def test_a_class_without_training_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'blue' has none"):
        measured(tmp_path, coloured="person", without="blue")


def test_a_mask_that_covers_all_or_nothing_is_no_obstacle(tmp_path: Path) -> None:
    head = write_painted(tmp_path, coloured="person")
    rows = []
    for split in ("train", "test"):
        for number, row in enumerate(crops.CropTable(tmp_path, split)):
            stream = io.BytesIO()
            Image.fromarray(np.full((SIZE, SIZE), 255 * (number % 2), np.uint8)).save(stream, "PNG")
            rows.append(crops.CropRow(**{**vars(row), "mask_png": stream.getvalue()}))
    head = crops.write(tmp_path / "odd", head, rows)
    model = colour_model(tmp_path)
    test = answer(model, crops.CropTable(tmp_path / "odd", "test"), CLASSES)
    found, _ = measure_reliance(model, crops=tmp_path / "odd", head=head, test=test, majority=0, seed=3)
    assert 0 <= found.background_only_accuracy <= 1
