"""Slices of painted crops, whose boxes and shoots are known, and Wilson's interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silhouette.contracts.crops import CropTable
from silhouette.evaluate_model.evaluate import answer
from silhouette.evaluate_model.slices import slices_of, wilson
from tests.evaluate_model.painted import CLASSES, SIZE, colour_model, write_painted


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_every_crop_is_in_one_slice_of_a_kind_and_small_ones_are_marked(tmp_path: Path) -> None:
    write_painted(tmp_path, coloured="person", per_class=10)
    table = CropTable(tmp_path, "test")
    found = slices_of(answer(colour_model(tmp_path), table, CLASSES), table, crop_size=SIZE)
    for kind in ("size", "shape", "score"):
        assert sum(one.crops for one in found if one.kind == kind) == len(table) == 30
    # boxes are 20 wide and 20 to 49 tall
    assert [(one.name, one.crops) for one in found if one.kind == "size"] == [("16 to 32 px", 12), ("32 to 64 px", 18)]
    assert [one.crops for one in found if one.kind == "shape"] == [4, 16, 10]
    assert [one.name for one in found if one.kind == "score"] == ["0.9 and more"]
    assert all(one.is_small == (one.crops < 10) for one in found)
    assert all(one.low <= one.accuracy == 1 <= one.high for one in found)


def test_the_shoots_that_look_worst_come_first_and_few_crops_put_none_there(tmp_path: Path) -> None:
    write_painted(tmp_path, coloured="person", per_class=10)
    table = CropTable(tmp_path, "test")
    answers = answer(colour_model(tmp_path), table, CLASSES)
    shoots = np.array(table.column("pixset_id"))
    answers.labels[shoots == "test-4"] = (answers.labels[shoots == "test-4"] + 1) % 3
    found = [one for one in slices_of(answers, table, crop_size=SIZE) if one.kind == "pixset"]
    assert (found[0].name, found[0].accuracy) == ("test-4", 0)
    assert len(found) == 8
