"""The temperature, on logits whose right one is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from silhouette.export_model.served import ServedModel
from silhouette.export_model.temperature import FEWEST_CROPS, HIGHEST, LOWEST, calibrate, fit_temperature
from tests.shapes import CLASSES, write_shapes


def drawn(temperature: float, *, count: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that is `temperature` times too sure, and labels as often as they should be."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (count, 4))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # softmax(logits), by the Gumbel-max trick
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_the_right_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.04)


def test_it_is_where_the_likelihood_is_highest() -> None:
    logits, labels = drawn(1.7, count=3000)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        peak = scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled - peak).sum(1)) + peak[:, 0] - scaled[np.arange(3000), labels]).mean())

    found = fit_temperature(logits, labels)
    assert loss(found) <= min(loss(found * 0.97), loss(found * 1.03))


def test_a_val_split_without_a_mistake_does_not_make_it_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 4.0
    found = fit_temperature(logits, np.arange(30) % 3)
    sure = 1 / (1 + 2 * np.exp(-4 / found))
    assert sure == pytest.approx(31 / 32, abs=1e-3)  # Platt's (n + 1) / (n + 2)


def test_answers_that_say_nothing_are_told_with_the_least_certainty() -> None:
    random = np.random.default_rng(2)
    assert fit_temperature(random.normal(0, 5, (4000, 3)), random.integers(0, 3, 4000)) > 10
    logits = random.normal(0, 5, (400, 3))
    assert fit_temperature(logits, logits.argmin(axis=1)) == pytest.approx(HIGHEST)
    assert LOWEST < 1 < HIGHEST


class Colours(torch.nn.Module):
    """A network that sees the mean of each channel."""

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        return 50 * scaled.mean(dim=(2, 3))


def test_it_is_fitted_on_val_and_on_enough_crops_only(tmp_path: Path) -> None:
    write_shapes(tmp_path / "many", per_class={"train": 2, "val": FEWEST_CROPS, "test": 2})
    write_shapes(tmp_path / "few", per_class={"train": FEWEST_CROPS, "val": 3, "test": FEWEST_CROPS})
    model = ServedModel(Colours(), mean=[0.5] * 3, std=[0.5] * 3)
    assert calibrate(model, tmp_path / "few", CLASSES) == 0
    assert float(model.temperature) == 1
    assert calibrate(model, tmp_path / "many", CLASSES) == 3 * FEWEST_CROPS
    assert float(model.temperature) != 1
