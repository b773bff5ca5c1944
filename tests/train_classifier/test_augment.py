"""The mask stays on the person, edges are those of evaluation, and another background is what the recipe says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from silhouette import compositing
from silhouette.contracts import crops
from silhouette.contracts import training as training_contract
from silhouette.errors import InputError
from silhouette.train_classifier.augment import StoredPlaces, TrainView, over, shares_of
from silhouette.train_classifier.crop_data import CropData
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, recipe, write_shapes

STILL: dict[str, Any] = {"min_zoom": 1.0, "random_erasing": 0.0}


def view_of(size: int, *, places: list[torch.Tensor] | None = None, **changes: Any) -> TrainView:
    config = recipe(**changes)
    shares = shares_of(config, background="keep", places=len(places or []))
    return TrainView(size, config, shares=shares, places=places or [])


@given(
    mask=arrays(np.uint8, (48, 48), elements=st.sampled_from([0, 255])),
    seed=st.integers(0, 2**31),
    size=st.sampled_from([32, 48, 64]),
)
def test_the_mask_travels_with_the_crop_to_the_last_bit(mask: Any, seed: int, size: int) -> None:
    carried = torch.tensor(mask)
    torch.manual_seed(seed)
    crop, moved = view_of(size).move(carried.expand(3, 48, 48), carried)
    assert moved is not None
    assert crop.shape == (3, size, size)
    assert all(torch.equal(channel, moved) for channel in crop)


def test_a_crop_moves_as_it_does_without_a_mask() -> None:
    crop = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    moved = []
    for mask in (torch.zeros(48, 48, dtype=torch.uint8), None):
        torch.manual_seed(4)
        moved.append(view_of(48).move(crop, mask)[0])
    assert torch.equal(*moved)


@given(
    person=arrays(np.uint8, (20, 16, 3)),
    background=arrays(np.uint8, (20, 16, 3)),
    mask=arrays(np.uint8, (20, 16), elements=st.sampled_from([0, 127, 128, 255])),
    feather=st.sampled_from([0.0, 0.4, 1.0, 1.7]),
)
def test_people_are_laid_over_as_in_evaluation(person: Any, background: Any, mask: Any, feather: float) -> None:
    theirs = compositing.over(person, mask, background, feather=feather)
    ours = over(*_tensors(person, mask, background), feather=feather)
    assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - theirs).max() <= 1


def test_an_edge_that_is_softer_than_the_crop_is_wide_is_no_error() -> None:
    zeros = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert over(zeros, zeros[0], zeros, feather=16.0).shape == (3, 8, 8)


def _tensors(person: Any, mask: Any, background: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    first, second = (torch.tensor(pixels).permute(2, 0, 1) for pixels in (person, background))
    return first, torch.tensor(mask), second


def test_another_background_leaves_the_person_as_it_was() -> None:
    view = view_of(64, background_swap=1.0, **STILL)
    view._colour = lambda crop: crop  # type: ignore[assignment]
    view.move = lambda *parts: parts  # type: ignore[method-assign]
    crop = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[10:50, 20:40] = 255
    torch.manual_seed(0)
    seen = view(crop, mask)
    inside = (slice(None), slice(15, 45), slice(25, 35))  # beyond the soft edge
    assert torch.equal(seen[inside], crop[inside])
    assert (seen[:, :5] != crop[:, :5]).float().mean() > 0.9


def test_no_rim_of_the_old_place_comes_along() -> None:
    place = torch.zeros(3, 64, 64, dtype=torch.uint8)
    changes = {"background_swap": 1.0, "background_blur": 0.0, "background_fill": 0.0, "background_feather": 1.0}
    view = view_of(64, places=[place], **STILL, **changes)
    view._colour = lambda crop: crop  # type: ignore[assignment]
    view.move = lambda *parts: parts  # type: ignore[method-assign]
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[10:50, 20:40] = 255
    mask[50:, 20:40] = 255  # down to the border
    crop = torch.where(mask > 0, torch.tensor(0, dtype=torch.uint8), torch.tensor(250, dtype=torch.uint8))
    assert view(crop.expand(3, 64, 64), mask).max() < 0.1 * 250
    white = view(torch.full((3, 64, 64), 250, dtype=torch.uint8), mask)
    assert white[:, 63, 30].min() > 245  # a person who leaves the crop is whole at its border


def test_each_kind_is_drawn_as_often_as_the_recipe_says() -> None:
    place = torch.full((3, 32, 32), 200, dtype=torch.uint8)
    changes = {"background_swap": 0.8, "background_set": 2.0, "background_blur": 1.0, "background_fill": 1.0}
    view = view_of(32, places=[place], background_feather=0.0, **STILL, **changes)
    view._colour = lambda crop: crop  # type: ignore[assignment]
    crop = torch.full((3, 32, 32), 50, dtype=torch.uint8)
    crop[:, :16] = 90  # what is blurred, is mixed
    kinds = {"set": 0, "fill": 0, "blur": 0, "kept": 0}
    for seed in range(400):
        torch.manual_seed(seed)
        seen = view(crop, torch.zeros(32, 32, dtype=torch.uint8))
        levels = seen.unique().tolist()
        per_channel = [len(channel.unique()) for channel in seen]
        if levels == [200]:
            kinds["set"] += 1
        elif per_channel == [1, 1, 1]:
            kinds["fill"] += 1
        elif levels == [50, 90]:
            kinds["kept"] += 1
        else:
            kinds["blur"] += 1
    assert kinds == {"set": pytest.approx(160, abs=35), "fill": pytest.approx(80, abs=28),
                     "blur": pytest.approx(80, abs=28), "kept": pytest.approx(80, abs=28)}  # fmt: skip


def test_shares_follow_the_parts_and_what_is_missing_goes_to_the_others() -> None:
    config = recipe(background_swap=0.6, background_set=4, background_blur=1, background_fill=1)
    assert shares_of(config, background="keep", places=9) == pytest.approx({"set": 0.4, "blur": 0.1, "fill": 0.1})
    assert shares_of(config, background="keep", places=0) == pytest.approx({"blur": 0.3, "fill": 0.3})
    assert shares_of(config, background="grey", places=9) == {}
    assert shares_of(recipe(background_swap=0.0), background="keep", places=9) == {}


def test_a_recipe_that_has_nothing_to_put_behind_people_is_refused() -> None:
    config = recipe(background_swap=0.5, background_set=1, background_blur=0, background_fill=0)
    assert shares_of(config, background="keep", places=1) == {"set": 0.5}
    with pytest.raises(InputError, match="name a set"):
        shares_of(config, background="keep", places=0)


def test_stored_places_are_those_of_training(tmp_path: Path) -> None:
    write_shapes(tmp_path, places={"background_train": 5, "background_test": 2})
    places = StoredPlaces(tmp_path)
    assert len(places) == 5
    assert places[4].shape == (3, 64, 64)
    assert places[4].dtype == torch.uint8


@pytest.mark.parametrize(
    ("places", "background", "said", "kinds"),
    [
        (0, "keep", "there is no background set", {"blur": 0.2, "fill": 0.2}),
        (6, "keep", "6 views of the background set", {"set": 0.2, "blur": 0.1, "fill": 0.1}),
        (6, "grey", "only the person is seen", {}),
    ],
)
def test_a_run_says_what_stood_behind_people_in_its_log_and_its_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, places: int, background: str, said: str, kinds: dict[str, float]
) -> None:
    write_shapes(tmp_path, places={"background_train": places}, background=background)
    caplog.set_level(logging.INFO)
    config = recipe(epochs=1, background_swap=0.4, background_set=2, background_blur=1, background_fill=1)
    train_classifier(
        crops=tmp_path, out=tmp_path / "out", experiment="e", config=config, backbone=BACKBONE, device="cpu"
    )
    assert said in caplog.text
    assert training_contract.read(tmp_path / "out").backgrounds == pytest.approx(kinds)


def test_a_draw_shows_the_same_place_in_every_process(tmp_path: Path) -> None:
    write_shapes(tmp_path, places={"background_train": 6})
    config = recipe(background_swap=1.0, background_blur=0.0, background_fill=0.0)
    first, second = (CropData(tmp_path, config=config, train_size=64).train for _ in range(2))
    assert torch.equal(first[(11, 4)]["crop"], second[(11, 4)]["crop"])
    assert not torch.equal(first[(11, 4)]["crop"], first[(12, 4)]["crop"])


def test_tests_never_show_a_place_of_training(tmp_path: Path) -> None:
    """Only `background_train` is opened for training: taking the other split away changes nothing that is seen."""
    write_shapes(tmp_path / "both", places={"background_train": 6, "background_test": 6})
    write_shapes(tmp_path / "one", places={"background_train": 6})
    config = recipe(background_swap=1.0)
    both, one = (CropData(tmp_path / name, config=config, train_size=64).train for name in ("both", "one"))
    assert all(torch.equal(both[(row, row)]["crop"], one[(row, row)]["crop"]) for row in range(20))
    assert len(crops.CropTable(tmp_path / "both", "background_test")) == 6
