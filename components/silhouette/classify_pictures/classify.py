"""Classify pictures through Triton: people cut out as for training, in batches, several requests at the same time.

Reads a dataset with its snapshot, or a folder; the served version's card in the store. Writes `predictions.csv`,
`gallery.html` and `report.json` into `out`, each complete or not at all, and the same below ``inference/`` in the
store. The same pictures and the same version give the same rows and page.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette import cut_people
from silhouette.classify_pictures.gallery import GALLERY_NAME, RIGHT, WRONG, Gallery, outcome_of
from silhouette.config import DatasetConfig
from silhouette.contracts import dataset as datasets
from silhouette.contracts import predictions, snapshot
from silhouette.contracts.dataset import RefusedPicture
from silhouette.contracts.deployment import card_key
from silhouette.contracts.model_bundle import ModelCard
from silhouette.contracts.predictions import Prediction
from silhouette.cut_people import CropShape, CutPerson, CutPicture
from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.progress import track
from silhouette.store import Store
from silhouette.triton_client import Triton

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.detection import Detector

__all__ = ["GALLERY_NAME", "REPORT_NAME", "ClassifyReport", "classify_pictures"]

REPORT_NAME = "report.json"
_LOG = logging.getLogger(__name__)
_BATCH, _IN_FLIGHT = 32, 3

Item = tuple[CutPicture, CutPerson | None]


@dataclass(frozen=True, kw_only=True)
class ClassifyReport:
    """What was classified.

    Attributes:
        pictures: How many were opened.
        people: How many were classified.
        without_people: Pictures on which nobody was found.
        refused: Pictures that could not be opened, with their reasons.
        left_out: Picture ids by reason: ``badlisted``, ``rejected``, ``not_segmented``.
        labelled: People that have a label of their own.
        right: How many of them were classified as labelled.
        accuracy: Their share; None without labels.
        model: Triton's name of the model.
        version: Its version.
        key: Where the store has it all.
        duration_s: Of the whole.
        pictures_per_s: Opened, cut and classified.
    """

    pictures: int
    people: int
    without_people: int
    refused: tuple[RefusedPicture, ...]
    left_out: dict[str, list[str]]
    labelled: int
    right: int
    accuracy: float | None
    model: str
    version: str
    key: str
    duration_s: float
    pictures_per_s: float


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Pictures to come, how many, and what was left out before."""

    title: str
    total: int
    found: Iterator[CutPicture | RefusedPicture]
    left_out: dict[str, list[str]]


def classify_pictures(
    *,
    model: str,
    out: Path,
    store: Store,
    triton: Triton,
    config: DatasetConfig,
    dataset: Path | None = None,
    snapshot_digest: str = "",
    source: Path | None = None,
    detector: Detector | None = None,
    version: str = "",
    gallery_limit: int = 240,
) -> ClassifyReport:
    """Classify the people of a group's pictures, or of a folder's.

    Args:
        model: Triton's name of the model.
        out: Folder that gets the rows, the page and the report.
        store: Has the pictures, the snapshot and the served model's card.
        triton: The server.
        config: By `people` whether a label is meant for the largest person or for all.
        dataset: Folder of a dataset; its people come from the snapshot `snapshot_digest`.
        snapshot_digest: Names the snapshot in the store.
        source: A folder of pictures instead; its people are found by `detector`.
        detector: Finds people (`silhouette.detector.load_detector`).
        version: Of the model; empty: the latest that is served.
        gallery_limit: The most people that the page shows.

    Raises:
        InputError: Neither or both of dataset and source are given, or the model is not served.
        ServiceError: The store or Triton failed.
    """
    started = time.monotonic()
    version = _served_version(triton, model, version)
    card = ModelCard.model_validate_json(store.get_bytes(card_key(model, version)))
    shape = CropShape(size=card.crop_size, margin=card.crop_margin, background=card.background)
    everyone = config.people == "all"
    if dataset is not None and source is None:
        work = _of_dataset(dataset, snapshot_digest, store=store, scratch=out, shape=shape, everyone=everyone)
    elif source is not None and dataset is None and detector is not None:
        work = _of_folder(source, detector, classes=card.classes, shape=shape, everyone=everyone)
    else:
        raise InputError("classify_pictures must get a dataset, or a source and a detector, got neither or both")
    tally = _Tally(Gallery(card.classes, limit=gallery_limit))
    batch = min(_BATCH, triton.config(model, version=version).max_batch_size)
    answers = triton.infer_many(
        model, _batches(tally.opened(work), batch, shape.size), version=version, in_flight=_IN_FLIGHT
    )
    key = f"inference/{safe_key(work.title)}"
    half = out / ".partial"
    predictions.write(half, tally.rows(answers, classes=card.classes, model=model, version=version))
    tally.gallery.write(half / GALLERY_NAME, title=work.title, model=model, version=version)
    report = tally.report(work, model=model, version=version, key=key, duration_s=time.monotonic() - started)
    _finish(report, half, out, store)
    return report


def _served_version(triton: Triton, model: str, version: str) -> str:
    """Return the version that is asked throughout, whatever is deployed meanwhile."""
    served = triton.versions(model)
    if not served or (version and version not in served):
        raise InputError(
            f"the model must be served, Triton at {triton.url} does not have {model!r}"
            f"{version and f' version {version}'} (served: {', '.join(served) or 'none'}); deploy it first (`make run`)"
        )
    return version or served[-1]


def _of_dataset(folder: Path, digest: str, *, store: Store, scratch: Path, shape: CropShape, everyone: bool) -> _Work:
    content = datasets.read(folder)
    path = scratch / ".partial" / "snapshot.arrow"
    store.get_file(snapshot.store_key(digest), path)
    head, rows = snapshot.read_head(path), snapshot.read(path)
    path.unlink()
    out = cut_people.left_out(content, head, rows)
    by_reason: dict[str, list[str]] = {}
    for picture_id, reason in out.items():
        by_reason.setdefault(reason, []).append(picture_id)
    used = [row for row in content.rows if row.picture_id not in out]
    found = cut_people.of_dataset(used, rows, store=store, shape=shape, everyone=everyone)
    return _Work(title=content.group, total=len(used), found=found, left_out=by_reason)


def _of_folder(source: Path, detector: Detector, *, classes: Sequence[str], shape: CropShape, everyone: bool) -> _Work:
    files = cut_people.files_of(source)
    found = cut_people.of_folder(
        files, source=source, classes=classes, detector=detector, shape=shape, everyone=everyone
    )
    return _Work(title=source.resolve().name, total=len(files), found=found, left_out={})


def _batches(opened: Iterator[CutPicture], size: int, side: int) -> Iterator[tuple[list[Item], npt.NDArray[np.uint8]]]:
    """Yield people in batches of at most `size` crops; pictures without people ride along."""
    import numpy as np

    items: list[Item] = []

    def batch() -> tuple[list[Item], npt.NDArray[np.uint8]]:
        crops = [person.crop for _, person in items if person is not None]
        return list(items), np.stack(crops) if crops else np.zeros((0, side, side, 3), np.uint8)

    for picture in opened:
        for person in picture.people or (None,):
            items.append((picture, person))
            if len(items) == size:
                yield batch()
                items.clear()
    if items:
        yield batch()


class _Tally:
    """Counts while pictures pass by; holds none of them but the gallery's sample."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self._pictures = self._people = self._without = self._right = self._labelled = 0
        self._refused: list[RefusedPicture] = []

    def opened(self, work: _Work) -> Iterator[CutPicture]:
        for picture in track(work.found, total=work.total, description="classifying"):
            if isinstance(picture, RefusedPicture):
                self._refused.append(picture)
                continue
            self._pictures += 1
            self._without += not picture.people
            yield picture

    def rows(
        self,
        answers: Iterator[tuple[list[Item], npt.NDArray[np.float32]]],
        *,
        classes: Sequence[str],
        model: str,
        version: str,
    ) -> Iterator[Prediction]:
        for items, probabilities in answers:
            rest = iter(probabilities)
            for picture, person in items:
                answer = next(rest) if person is not None else None
                best = int(answer.argmax()) if answer is not None else -1
                row = Prediction(
                    picture_id=picture.picture_id,
                    object_key=picture.object_key,
                    person_index=person.index if person else -1,
                    box_xyxy=" ".join(f"{value:.1f}" for value in person.box_xyxy) if person else "",
                    person_score=round(person.score, 4) if person else 0.0,
                    label=person.label if person else picture.label,
                    predicted=classes[best] if answer is not None else "",
                    probability=round(float(answer[best]), 6) if answer is not None else 0.0,
                    model=model,
                    version=version,
                )
                self._count(row)
                self.gallery.offer(row, picture, person)
                yield row

    def _count(self, row: Prediction) -> None:
        outcome = outcome_of(row)
        self._people += row.person_index >= 0
        self._labelled += outcome in (RIGHT, WRONG)
        self._right += outcome == RIGHT

    def report(self, work: _Work, *, model: str, version: str, key: str, duration_s: float) -> ClassifyReport:
        return ClassifyReport(
            pictures=self._pictures,
            people=self._people,
            without_people=self._without,
            refused=tuple(self._refused),
            left_out=work.left_out,
            labelled=self._labelled,
            right=self._right,
            accuracy=self._right / self._labelled if self._labelled else None,
            model=model,
            version=version,
            key=key,
            duration_s=duration_s,
            pictures_per_s=self._pictures / max(duration_s, 1e-9),
        )


def _finish(report: ClassifyReport, half: Path, out: Path, store: Store) -> None:
    """Make the files visible, put them into the store and say what came out."""
    content = {name: value for name, value in asdict(report).items() if name not in ("duration_s", "pictures_per_s")}
    (half / REPORT_NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    names = (predictions.FILE_NAME, GALLERY_NAME, REPORT_NAME)
    for name in names:
        (half / name).replace(out / name)
    half.rmdir()
    store.put_many((f"{report.key}/{name}", out / name) for name in names)
    _LOG.info(
        "%d people on %d pictures classified by %s version %s, %.1f pictures/s%s",
        report.people, report.pictures, report.model, report.version, report.pictures_per_s,
        "" if report.accuracy is None else f"; {report.right} of {report.labelled} as labelled",
    )  # fmt: skip
