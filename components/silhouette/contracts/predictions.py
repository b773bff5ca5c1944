"""What a model said of people on pictures: one row a person, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from silhouette.contracts import table

FILE_NAME = "predictions.csv"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One classified person.

    Attributes:
        picture_id: The id at the source, raw.
        object_key: Where the bytes are in the store, or empty for a picture of a folder.
        person_index: The person's number on the picture, from 0; -1: no person was found and nothing classified.
        box_xyxy: ``x0 y0 x1 y1`` in pixels of the upright picture, separated by spaces.
        person_score: The segmenter's score, 0 to 1.
        label: What the picture is labelled with, or empty.
        predicted: The model's class.
        probability: Of that class, 0 to 1.
        model: Triton's name of the model.
        version: Triton's version of it.
    """

    picture_id: str
    object_key: str
    person_index: int
    box_xyxy: str
    person_score: float
    label: str
    predicted: str
    probability: float
    model: str
    version: str


def write(folder: Path, predictions: Iterable[Prediction]) -> Path:
    """Write the rows into `folder` and return the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    table.write(path, [item.name for item in fields(Prediction)], (asdict(row) for row in predictions))
    return path


def _parse(record: dict[str, Any]) -> Prediction:
    numbers = {
        "person_index": int(record["person_index"]),
        "person_score": float(record["person_score"]),
        "probability": float(record["probability"]),
    }
    return Prediction(**{**record, **numbers})


def read(folder: Path) -> list[Prediction]:
    """Read the rows of `folder`."""
    with (folder / FILE_NAME).open(newline="", encoding="utf-8") as file:
        return [_parse(record) for record in csv.DictReader(file)]
