"""How rows of a contract become CSV: the one writer behind `dataset.csv` and `predictions.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    r"""Write a header and rows as UTF-8 CSV with ``\n`` line ends, so that `csv.reader` gives back every cell.

    Args:
        path: The file to write.
        names: Columns in order.
        rows: Cells by column; any text but lone surrogates.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        plain = csv.DictWriter(file, names, lineterminator="\n")
        # a carriage return inside a cell ends the row unless it is quoted, which not every Python does by itself
        quoted = csv.DictWriter(file, names, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writeheader()
        for row in rows:
            odd = any("\r" in cell for cell in row.values() if isinstance(cell, str))
            (quoted if odd else plain).writerow(row)
