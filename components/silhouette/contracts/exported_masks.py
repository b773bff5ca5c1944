"""The masks of an export's folder, read back as people: what `silhouette masks export` wrote, as it is there now.

Reads `pictures.csv` (`contracts.markup.TABLE_NAME`) and ``masks/<name>.png``. A mask that somebody has painted in is
taken as it is painted. A pixel of a mask has one number, so where people overlap the lower one lacks what is hidden.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silhouette.contracts.contours import Contours
from silhouette.contracts.markup import MASKS, TABLE_NAME, read_png, trace_person
from silhouette.errors import InputError
from silhouette.file_digest import sha256_of

_MOST_BYTES = 256 << 20  # of one mask


class MaskRow(BaseModel):
    """A picture of the table: the columns that say which mask is whose."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field(pattern=r"^[^/\\]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    status: str


@dataclass(frozen=True, kw_only=True)
class ExportedMasks:
    """An export's folder: its rows by the pictures' content, and a digest over rows and masks."""

    folder: Path
    rows: dict[str, MaskRow]
    digest: str

    def people(self, sha256: str, *, width: int, height: int) -> list[tuple[int, Contours]]:
        """Return the people of a picture, each with its number in the mask less one.

        Args:
            sha256: Of the picture's bytes.
            width: Of the upright picture, pixels.
            height: Of the upright picture, pixels.

        Raises:
            InputError: The mask is missing, is none, or is of another size.
        """
        path = _path(self.folder, self.rows[sha256])
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise InputError(f"a mask must have at most {_MOST_BYTES >> 20} MiB, {path.name} has more")
            numbers = read_png(path.read_bytes(), width=width, height=height)
        except OSError as error:
            raise InputError(f"a mask must be readable, {path.name} is not: {error.strerror or error}") from None
        painted = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
        return [(number - 1, trace_person(numbers == number)) for number in painted if number]


def read(folder: Path) -> ExportedMasks:
    """Read the table of an export, and digest the masks that it names.

    Raises:
        InputError: It is no export's folder, or its table is damaged.
    """
    rows, digest = {}, hashlib.sha256()
    for row in _rows(folder / TABLE_NAME):
        rows[row.sha256] = row
        path = _path(folder, row)
        content = sha256_of(path) if path.is_file() else ""
        digest.update(f"{row.sha256} {row.status} {content}\n".encode())
    return ExportedMasks(folder=folder, rows=rows, digest=digest.hexdigest())


def _path(folder: Path, row: MaskRow) -> Path:
    return folder / MASKS / f"{row.name}.png"


def _rows(table: Path) -> Iterator[MaskRow]:
    if not table.is_file():
        raise InputError(
            f"masks must be in a folder that `silhouette masks export --to` made, {table.parent} has no {TABLE_NAME};"
            " correct the path"
        )
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    yield MaskRow.model_validate(row)
                except ValidationError as error:
                    wrong = error.errors()[0]
                    raise InputError(
                        f"{table} line {number}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}, got"
                        f" {str(wrong['input'])[:60]!r}; export the masks again"
                    ) from None
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} must be a table in UTF-8, it is not: {error}; export the masks again") from None
