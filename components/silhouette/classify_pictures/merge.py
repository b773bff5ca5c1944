"""Bring the parts of a run together: rows, page and report, each complete or not at all.

Reads the ledger, and the test split's scores in the store; writes into a folder and, when every part is there, below
``inference/`` in the store. Of the run before, which these results replace, the parts are then removed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from silhouette.classify_pictures import ledger as ledgers
from silhouette.classify_pictures.drift import AnswerCounts, Drift
from silhouette.classify_pictures.gallery import GALLERY_NAME, RIGHT, WRONG, Gallery, outcome_of
from silhouette.classify_pictures.ledger import Ledger
from silhouette.classify_pictures.work import Work
from silhouette.contracts import predictions, scores
from silhouette.contracts.dataset import BADLISTED, RefusedPicture
from silhouette.contracts.predictions import Prediction
from silhouette.contracts.scores import Scores
from silhouette.store import MissingObjectError, Store

REPORT_NAME = "report.json"
_OF_THIS_PROCESS = ("new", "duration_s", "pictures_per_s")


@dataclass(frozen=True, kw_only=True)
class ClassifyReport:
    """What was classified.

    Attributes:
        pictures: How many were opened.
        people: How many were classified.
        without_people: Pictures on which nobody was found.
        refused: Pictures that could not be opened, with their reasons.
        left_out: Picture ids by reason: ``badlisted``, ``rejected``, ``not_segmented``, ``no_mask``.
        labelled: People that have a label of their own.
        right: How many of them were classified as labelled.
        accuracy: Their share; None without labels.
        drift: The answers' spread against the test split's; None when the deployed version has none.
        model: The model's name.
        version: Its version.
        key: Where the store has it all.
        run: Digest of all that decides the answers; the ledger's name.
        is_complete: Whether this is of all pictures; else other shards are not done, and it is of this one's.
        new: Pictures that this process did; the others were done before.
        duration_s: Of this process.
        pictures_per_s: New ones, opened, cut and classified.
    """

    pictures: int
    people: int
    without_people: int
    refused: tuple[RefusedPicture, ...]
    left_out: dict[str, list[str]]
    labelled: int
    right: int
    accuracy: float | None
    drift: Drift | None
    model: str
    version: str
    key: str
    run: str
    is_complete: bool
    new: int
    duration_s: float
    pictures_per_s: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run over some work.

    Attributes:
        work: What there is to do.
        digest: Over all that decides the answers.
        classes: Of the model.
        everyone: Whether a label is meant for every person.
        model: Triton's name of the model.
        told_as: What rows and page call it.
        version: Of it.
        key: Of the results in the store.
        gallery_limit: The most people that the page shows.
        started: When this process began, `time.monotonic`.
    """

    work: Work
    digest: str
    classes: Sequence[str]
    everyone: bool
    model: str
    told_as: str
    version: str
    key: str
    gallery_limit: int
    started: float


def merge(
    run: Run, ledger: Ledger, numbers: Iterable[int], *, is_complete: bool, new: int, out: Path, store: Store
) -> ClassifyReport:
    """Write rows, page and report of parts.

    Args:
        run: Whose parts they are.
        ledger: Has them.
        numbers: Which ones, in order.
        is_complete: Whether these are all parts; only then the store gets the results.
        new: Pictures that this process did.
        out: Gets the files.
        store: As the module says.
    """
    gallery = Gallery(run.classes, limit=run.gallery_limit)
    tally = _Tally(run.classes, run.work.left_out, everyone=run.everyone)
    half = out / ".partial"
    predictions.write(half, tally.rows(ledger, numbers, gallery))
    drift = tally.drift(_scores(store, run.model, run.version), run.classes)
    gallery.write(half / GALLERY_NAME, title=run.work.title, model=run.told_as, version=run.version, drift=drift)
    duration_s = time.monotonic() - run.started
    report = ClassifyReport(
        pictures=tally.pictures, people=tally.people, without_people=tally.without_people,
        refused=tuple(tally.refused), left_out=tally.left_out, labelled=tally.labelled, right=tally.right,
        accuracy=tally.right / tally.labelled if tally.labelled else None, drift=drift, model=run.told_as,
        version=run.version, key=run.key, run=run.digest, is_complete=is_complete, new=new, duration_s=duration_s,
        pictures_per_s=new / max(duration_s, 1e-9),
    )  # fmt: skip
    _finish(report, half, out, store)
    return report


class _Tally:
    """Counts while lines pass by; holds none of them."""

    def __init__(self, classes: Sequence[str], left_out: dict[str, list[str]], *, everyone: bool) -> None:
        self.pictures = self.people = self.without_people = self.labelled = self.right = 0
        self.refused: list[RefusedPicture] = []
        self.left_out = {reason: list(ids) for reason, ids in left_out.items()}
        self._everyone = everyone
        self._answers = AnswerCounts(classes)

    def rows(self, ledger: Ledger, numbers: Iterable[int], gallery: Gallery) -> Iterator[Prediction]:
        """Yield the rows of the parts."""
        for line in ledger.read(numbers):
            row = line.row
            if line.reason == BADLISTED:
                self.left_out.setdefault(BADLISTED, []).append(row.picture_id)
            elif line.reason:
                self.refused.append(RefusedPicture(picture_id=row.picture_id, reason=line.reason, detail=line.detail))
            else:
                self._count(row)
                gallery.offer(row, line.thumbnail)
                yield row

    def _count(self, row: Prediction) -> None:
        outcome = outcome_of(row)
        self.pictures += row.is_main
        self.people += row.person_index >= 0
        self.without_people += row.person_index < 0
        self.labelled += outcome in (RIGHT, WRONG)
        self.right += outcome == RIGHT
        if row.person_index >= 0 and (row.is_main or self._everyone):  # those that the test split would have
            self._answers.add(row.predicted, row.probability)

    def drift(self, test: Scores | None, classes: Sequence[str]) -> Drift | None:
        """Compare with the test split, if it is one of these classes."""
        return self._answers.against(test) if test is not None and test.classes == list(classes) else None


def _scores(store: Store, model: str, version: str) -> Scores | None:
    try:
        return Scores.model_validate_json(store.get_bytes(scores.store_key(model, version)))
    except MissingObjectError:
        return None


def _finish(report: ClassifyReport, half: Path, out: Path, store: Store) -> None:
    """Make the files visible, and put them into the store when they are of all pictures."""
    content = {name: value for name, value in asdict(report).items() if name not in _OF_THIS_PROCESS}
    (half / REPORT_NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    names = (predictions.FILE_NAME, predictions.PARQUET_NAME, GALLERY_NAME, REPORT_NAME)
    for name in names:
        (half / name).replace(out / name)
    half.rmdir()
    if not report.is_complete:
        return
    before = _run_before(report.key, store)
    store.put_many((f"{report.key}/{name}", out / name) for name in names)
    if before and before != report.run:
        ledgers.drop(store, report.key, before)


def _run_before(key: str, store: Store) -> str:
    try:
        return str(json.loads(store.get_bytes(f"{key}/{REPORT_NAME}")).get("run", ""))
    except (MissingObjectError, ValueError):
        return ""
