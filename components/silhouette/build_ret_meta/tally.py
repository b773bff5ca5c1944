"""What a run of `build_ret_meta` did, counted while the rows of its manifest pass by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from silhouette.build_ret_meta.manifest import DocumentRow
from silhouette.contracts import ret_meta


@dataclass(frozen=True, kw_only=True)
class BuildRetMetaReport:
    """What a run did.

    Attributes:
        run: Its name.
        key: Where the store has its manifest.
        groups: Whose pictures.
        models: Who was asked, by group.
        pictures: Looked at.
        people: In the documents that were made.
        new: Documents of pictures that had none.
        changed: Documents with other content than before.
        confirmed: Documents that were made again, with the same content.
        unchanged: Documents that did not have to be made again.
        withdrawn: Documents that were removed.
        left_out: Pictures of which there must be no document, by reason, those of removed ones among them.
        refused: Pictures that cannot be opened.
        duration_s: Of the whole.
        pictures_per_s: Looked at.
    """

    run: str
    key: str
    groups: list[str]
    models: dict[str, str]
    pictures: int
    people: int
    new: int
    changed: int
    confirmed: int
    unchanged: int
    withdrawn: int
    left_out: dict[str, int]
    refused: int
    duration_s: float
    pictures_per_s: float


class Tally:
    """Counts rows while they pass by."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._people = 0

    def counted(
        self, withdrawn: dict[str, DocumentRow], rows: Iterator[tuple[DocumentRow, int]]
    ) -> Iterator[DocumentRow]:
        """Yield all rows; a badlisted picture of the groups is told once, as withdrawn."""
        for row, people in rows:
            told = withdrawn.pop(row.picture_id, row)
            self._count(told)
            self._people += people
            yield told
        for row in withdrawn.values():
            self._count(row)
            yield row

    def _count(self, row: DocumentRow) -> None:
        self._outcomes[row.outcome] += 1
        if row.outcome in ("left out", "withdrawn"):
            self._reasons[row.reason] += 1

    def report(self, *, run: str, groups: list[str], models: dict[str, str], duration_s: float) -> BuildRetMetaReport:
        """Return all counts, when the rows have passed by."""
        found = self._outcomes
        return BuildRetMetaReport(
            run=run,
            key=f"{ret_meta.PREFIX}/runs/{run}",
            groups=groups,
            models=models,
            pictures=found.total(),
            people=self._people,
            new=found["new"],
            changed=found["changed"],
            confirmed=found["confirmed"],
            unchanged=found["unchanged"],
            withdrawn=found["withdrawn"],
            left_out=dict(self._reasons),
            refused=found["refused"],
            duration_s=duration_s,
            pictures_per_s=found.total() / max(duration_s, 1e-9),
        )
