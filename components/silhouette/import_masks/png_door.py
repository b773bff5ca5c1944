"""PNG masks from elsewhere, against what was exported.

A PNG has one number a pixel. Where it is still the exported one, the people who lay under it there are still there;
where it was painted over, only the new one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import Contours, to_cropped_mask
from silhouette.contracts.markup import read_png, to_index_map, trace_person
from silhouette.errors import InputError
from silhouette.import_masks.returned import Exported, Returned

MOST_BYTES = 256 << 20


def read_png_file(path: Path) -> Iterator[Returned]:
    """Yield the one picture of a file; it is opened when it is known to be ours."""
    yield Returned(where=str(path), file_name=path.name, read=partial(_read, path=path))


def _read(exported: Exported, *, path: Path) -> list[Contours]:
    numbers = read_png(_bytes(path), width=exported.width, height=exported.height)
    before = to_index_map(exported.people, width=exported.width, height=exported.height).numbers
    same = numbers == before
    if same.all():
        return [contours for contours in exported.people if not contours.is_empty]
    people = []
    painted = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
    for number in sorted({*painted, *range(1, len(exported.people) + 1)} - {0}):
        seen = numbers == number
        if number <= len(exported.people) and not exported.people[number - 1].is_empty:
            if not seen.any() and (before == number).any():
                continue  # painted out
            _keep_hidden(seen, exported.people[number - 1], same)
        if seen.any():
            people.append(trace_person(seen))
    return people


def _keep_hidden(seen: npt.NDArray[np.bool_], contours: Contours, same: npt.NDArray[np.bool_]) -> None:
    """Add the person's pixels that lay under others, where nobody painted."""
    mask, (left, top) = to_cropped_mask(contours)
    rows, columns = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
    seen[rows, columns] |= (mask > 0) & same[rows, columns]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"a mask must have at most {MOST_BYTES >> 20} MiB; save it as PNG with 8 bits")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"a mask must be readable, got: {error.strerror or error}; correct its rights") from None
