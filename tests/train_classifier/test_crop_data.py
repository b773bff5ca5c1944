"""What the network is shown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from silhouette.errors import InputError
from silhouette.train_classifier.augment import TrainView
from silhouette.train_classifier.crop_data import CropData, CropDataset, EpochSampler
from tests.shapes import CLASSES, recipe, write_shapes


def drawn(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_crop_is_drawn_once_an_epoch_in_another_order() -> None:
    sampler = EpochSampler([0] * 7 + [1] * 3, seed=1, balanced=False)
    first, second = drawn(sampler, 0), drawn(sampler, 1)
    assert sorted(row for _, row in first) == sorted(row for _, row in second) == list(range(10))
    assert first != second
    assert drawn(sampler, 0) == first


def test_balanced_classes_are_drawn_equally_often_and_evenly_inside() -> None:
    labels = [0] * 40 + [1] * 5
    order = [row for _, row in drawn(EpochSampler(labels, seed=1, balanced=True), 0)]
    assert Counter(labels[row] for row in order) == {0: 23, 1: 23}
    rare = Counter(row for row in order if labels[row] == 1)
    assert set(rare.values()) <= {4, 5}
    assert max(Counter(row for row in order if labels[row] == 0).values()) == 1


def test_a_draw_always_shows_the_same_view_and_another_draw_another(tmp_path: Path) -> None:
    write_shapes(tmp_path)
    view = TrainView(64, recipe(), shares={"blur": 0.25, "fill": 0.25}, places=[])
    part, again = (CropDataset(tmp_path, "train", classes=CLASSES, view=view, seed=3) for _ in range(2))
    before = torch.random.get_rng_state()
    assert torch.equal(part[(11, 4)]["crop"], again[(11, 4)]["crop"])
    assert not torch.equal(part[(11, 4)]["crop"], part[(12, 4)]["crop"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_val_crops_are_shown_as_they_are_and_in_order(tmp_path: Path) -> None:
    write_shapes(tmp_path)
    data = CropData(tmp_path, config=recipe(), train_size=48)
    batches = list(data.val_dataloader())
    assert [row for batch in batches for row in batch["row"].tolist()] == list(range(18))
    assert batches[0]["crop"].shape == (8, 3, 64, 64)
    assert batches[0]["crop"].dtype == torch.uint8
    assert next(iter(data.train_dataloader()))["crop"].shape == (8, 3, 48, 48)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_an_empty_split_is_refused(tmp_path: Path, missing: str) -> None:
    write_shapes(tmp_path, per_class={"train": 4, "val": 4} | {missing: 0})
    with pytest.raises(InputError, match=f"crops in the {missing} split"):
        CropData(tmp_path, config=recipe(), train_size=64)


def test_a_class_without_crops_is_refused_by_name(tmp_path: Path) -> None:
    head = write_shapes(tmp_path)
    (tmp_path / "crops.json").write_text(head.model_copy(update={"classes": [*CLASSES, "star"]}).model_dump_json())
    with pytest.raises(InputError, match=r"none for \['star'\]"):
        CropData(tmp_path, config=recipe(), train_size=64)


def test_crops_of_one_class_only_are_refused_by_the_classes_that_lack_them(tmp_path: Path) -> None:
    head = write_shapes(tmp_path, classes=["circle"])
    (tmp_path / "crops.json").write_text(head.model_copy(update={"classes": CLASSES}).model_dump_json())
    with pytest.raises(InputError, match=r"every class needs crops in the train split, none for \['square', 'ring'\]"):
        CropData(tmp_path, config=recipe(), train_size=64)


def test_a_label_that_the_group_does_not_know_is_refused_with_those_that_it_knows(tmp_path: Path) -> None:
    head = write_shapes(tmp_path)
    (tmp_path / "crops.json").write_text(head.model_copy(update={"classes": CLASSES[:2]}).model_dump_json())
    with pytest.raises(InputError, match=r"must be one of \['circle', 'square'\], .* has \['ring'\]; build it again"):
        CropData(tmp_path, config=recipe(), train_size=64)
