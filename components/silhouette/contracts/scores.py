"""How a model's answers are spread on the test split: what later answers are held against to notice drift.

`scores.json`, written by `evaluate_model` beside its metrics, carried by `deploy_model` into the version's folder in
the model repository, read by `classify_pictures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from silhouette.contracts.deployment import repository_key

FILE_NAME = "scores.json"
BINS = 10  # of the highest probability, from 0 to 1


class Scores(BaseModel):
    """Counts over answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[str]
    predicted: list[int]
    """How often each class was the most probable."""
    confidence: list[int]
    """How often the highest probability fell into each of `BINS` equal parts of 0 to 1."""


def bin_of(probability: float) -> int:
    """Return the bin of a highest probability."""
    return min(BINS - 1, max(0, int(probability * BINS)))


def count(classes: Sequence[str], answers: Iterable[tuple[int, float]]) -> Scores:
    """Count answers: the index of the most probable class, and its probability."""
    predicted, confidence = [0] * len(classes), [0] * BINS
    for index, probability in answers:
        predicted[index] += 1
        confidence[bin_of(probability)] += 1
    return Scores(classes=list(classes), predicted=predicted, confidence=confidence)


def store_key(model: str, version: str) -> str:
    """Return where the store has those of a deployed version."""
    return repository_key(model, version, FILE_NAME)


def write(folder: Path, scores: Scores) -> None:
    """Write `scores.json` into `folder`."""
    (folder / FILE_NAME).write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
