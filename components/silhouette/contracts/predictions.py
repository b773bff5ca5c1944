"""What a model said of people on pictures: one row a person, as CSV and as Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from silhouette.contracts import table

FILE_NAME = "predictions.csv"
PARQUET_NAME = "predictions.parquet"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One classified person, or one picture on which nobody was found.

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
        is_main: Whether this is the picture's answer: its main person, or nobody. One row of each picture has it.
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
    is_main: bool = False


def schema() -> Any:
    """Return the columns of the Parquet file, a `pyarrow.Schema`."""
    import pyarrow as pa

    kinds = {"str": pa.string(), "int": pa.int32(), "float": pa.float64(), "bool": pa.bool_()}
    return pa.schema([(item.name, kinds[str(item.type)]) for item in fields(Prediction)])


def write(folder: Path, predictions: Iterable[Prediction]) -> Path:
    """Write the rows into `folder`, both ways and a few at a time, and return the CSV file's path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    path, columns = folder / FILE_NAME, schema()
    with pq.ParquetWriter(str(folder / PARQUET_NAME), columns) as parquet:
        waiting: list[dict[str, Any]] = []

        def flush() -> None:
            if waiting:
                parquet.write_batch(pa.RecordBatch.from_pylist(waiting, schema=columns))
                waiting.clear()

        def records() -> Iterator[dict[str, Any]]:
            for row in predictions:
                record = asdict(row)
                waiting.append(record)
                if len(waiting) >= _ROWS_AT_ONCE:
                    flush()
                yield {**record, "is_main": int(row.is_main)}

        table.write(path, [item.name for item in fields(Prediction)], records())
        flush()
    return path


def _parse(record: dict[str, Any]) -> Prediction:
    numbers = {
        "person_index": int(record["person_index"]),
        "person_score": float(record["person_score"]),
        "probability": float(record["probability"]),
        "is_main": record["is_main"] == "1",
    }
    return Prediction(**{**record, **numbers})


def read(folder: Path) -> list[Prediction]:
    """Read the rows of `folder`."""
    with (folder / FILE_NAME).open(newline="", encoding="utf-8") as file:
        return [_parse(record) for record in csv.DictReader(file)]
