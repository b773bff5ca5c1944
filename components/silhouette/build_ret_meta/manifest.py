"""What a run of `build_ret_meta` did: `manifest.json` with counts and provenance, `documents.csv` with a row a picture.

Written into a folder and, when the run is complete, to ``ret_meta/runs/<run>/`` in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from silhouette.contracts import ret_meta, table
from silhouette.store import Store

JSON_NAME, ROWS_NAME = "manifest.json", "documents.csv"

Outcome = Literal["new", "changed", "confirmed", "unchanged", "left out", "withdrawn", "refused"]


@dataclass(frozen=True, kw_only=True)
class DocumentRow:
    """What became of a picture.

    Attributes:
        picture_id: Raw.
        outcome: ``new``; ``changed``; ``confirmed``: made again, with the same content; ``unchanged``: not looked at;
            ``left out``: there must be none; ``withdrawn``: the same, and the one that was there was removed;
            ``refused``: the picture cannot be opened.
        content_digest: Of its document; empty when there is none.
        reason: Why there is none, in a word or a sentence.
    """

    picture_id: str
    outcome: Outcome
    content_digest: str = ""
    reason: str = ""


def write(folder: Path, rows: Iterable[DocumentRow]) -> None:
    """Write `documents.csv` row by row."""
    table.write(folder / ROWS_NAME, [item.name for item in fields(DocumentRow)], (asdict(row) for row in rows))


def publish(folder: Path, head: dict[str, Any], *, run: str, store: Store) -> str:
    """Write `manifest.json`, put both files into the store, the manifest last, and return where they are."""
    (folder / JSON_NAME).write_text(json.dumps(head, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    key = f"{ret_meta.PREFIX}/runs/{run}"
    for name in (ROWS_NAME, JSON_NAME):
        store.put_file(f"{key}/{name}", folder / name)
    return key
