"""Classify pictures through Triton: people cut out as for training, in batches, several requests at the same time.

Reads what `work` takes up; the served version's card in the store. Keeps what is done in a ledger in the store, then
writes `predictions.csv`, `predictions.parquet`, `gallery.html` and `report.json` into `out`, each complete or not at
all, and the same below ``inference/`` in the store. The same pictures and the same version give the same rows and page,
whether a run was killed or not, by one worker or by many.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette import __version__
from silhouette.classify_pictures import work as works
from silhouette.classify_pictures.gallery import GALLERY_NAME, Quota, draw
from silhouette.classify_pictures.ledger import CHUNK, Ledger, Line
from silhouette.classify_pictures.merge import REPORT_NAME, ClassifyReport, Run, merge
from silhouette.classify_pictures.work import Work
from silhouette.config import DatasetConfig
from silhouette.contracts import traffic
from silhouette.contracts.dataset import RefusedPicture
from silhouette.contracts.deployment import card_key
from silhouette.contracts.model_bundle import ModelCard
from silhouette.contracts.predictions import Prediction
from silhouette.contracts.traffic import Sample
from silhouette.cut_people import CropShape, CutPerson, CutPicture
from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.progress import track
from silhouette.store import Store
from silhouette.triton_client import Triton

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import psycopg

    from silhouette.detection import Detector

__all__ = ["GALLERY_NAME", "REPORT_NAME", "ClassifyReport", "Shard", "classify_pictures"]

_LOG = logging.getLogger(__name__)
_BATCH, _IN_FLIGHT = 8, 4


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One worker of several on the same pictures: `number` from 0, of `count`."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise InputError(f"a shard must be i/n with 0 <= i < n, got {self.number}/{self.count}; correct --shard")

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            InputError: It is none.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal()):
            raise InputError(f"a shard must be i/n with 0 <= i < n, got {text!r}; correct --shard")
        return cls(number=int(number), count=int(count))


@dataclass(frozen=True, kw_only=True)
class _Item:
    """A person, a picture without people (`person` None), or one that was not classified, of a chunk."""

    chunk: int
    picture: CutPicture | RefusedPicture
    person: CutPerson | None


def classify_pictures(
    *,
    model: str,
    out: Path,
    store: Store,
    triton: Triton,
    config: DatasetConfig,
    dataset: Path | None = None,
    snapshot_digest: str = "",
    masks: Path | None = None,
    source: Path | None = None,
    detector: Detector | None = None,
    connection: psycopg.Connection | None = None,
    version: str = "",
    card: ModelCard | None = None,
    told_as: str = "",
    shard: Shard | None = None,
    recent_crops: int = 0,
    gallery_limit: int = 240,
) -> ClassifyReport:
    """Classify the people of a group's pictures, or of a folder's.

    Args:
        model: Triton's name of the model.
        out: Folder that gets the rows, the page and the report.
        store: Has the pictures, the snapshot, the served model's card, and the ledger.
        triton: The server.
        config: By `people` whether a label is meant for the largest person or for all.
        dataset: Folder of a dataset; its people come from `masks`, from the snapshot, or from `detector`.
        snapshot_digest: Names the snapshot in the store; empty: there is none.
        masks: A folder that `export_masks` wrote, before any snapshot; None: there is none.
        source: A folder of pictures instead; its people are found by `detector`.
        detector: Finds people (`silhouette.detector.load_detector`).
        connection: To the database that has the badlist; needed with masks and wherever `detector` finds the people,
            for a snapshot has it in itself.
        version: Of the model; empty: the latest that is served.
        card: Of a model that was not deployed; None: the store has it.
        told_as: What rows and page call the model; empty: as Triton does.
        shard: Which worker this is; None: the only one.
        recent_crops: How many crops of this run are kept, to be replayed to the model's next version
            (`contracts.traffic`); 0: none, nor those of an earlier run. A model with a `card` has no next version.
        gallery_limit: The most people that the page shows.

    Returns:
        What came out: of all pictures, or, as long as other shards are not done, of this shard's.

    Raises:
        InputError: Neither or both of dataset and source are given, or the model is not served.
        ServiceError: The store, the database or Triton failed; what was done before is kept.
    """
    started, shard, deployed = time.monotonic(), shard or Shard(), card is None
    version = _served_version(triton, model, version)
    card = card or ModelCard.model_validate_json(store.get_bytes(card_key(model, version)))
    shape = CropShape(size=card.crop_size, margin=card.crop_margin, background=card.background)
    everyone = config.people == "all"
    out.mkdir(parents=True, exist_ok=True)
    match dataset, source, masks:
        case Path() as folder, None, Path() as exported if connection is not None:
            work = works.of_masks(folder, exported, store=store, connection=connection, shape=shape, everyone=everyone)
        case Path() as folder, None, None if snapshot_digest:
            work = works.of_snapshot(folder, snapshot_digest, store=store, scratch=out, shape=shape, everyone=everyone)
        case Path() as folder, None, None if detector is not None and connection is not None:
            work = works.of_detector(
                folder, store=store, connection=connection, detector=detector, shape=shape, everyone=everyone
            )
        case None, Path() as folder, None if detector is not None and connection is not None:
            work = works.of_folder(
                folder, connection=connection, detector=detector, classes=card.classes, shape=shape, everyone=everyone
            )
        case _:
            raise InputError(
                "classify_pictures must get a dataset with its snapshot, or with masks and the database, or a dataset"
                " or a source with a detector and the database, got neither or more than one"
            )
    told_as = told_as or model
    key = f"inference/{safe_key(work.title)}"
    identity = [work.digest, told_as, version, card.onnx_sha256, gallery_limit, everyone, CHUNK, __version__]
    run = Run(
        work=work, digest=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32], classes=card.classes,
        everyone=everyone, model=model, told_as=told_as, version=version, key=key, gallery_limit=gallery_limit,
        started=started,
    )  # fmt: skip
    ledger = Ledger(store, key, run=run.digest, pictures=len(work.items))
    mine = range(shard.number, ledger.chunks, shard.count)
    asking = _Asking(triton=triton, model=model, told_as=told_as, version=version, card=card)
    sample = traffic.Sample(recent_crops, seed=run.digest)
    new = _classify(work, ledger.missing(mine), ledger, asking, Quota(card.classes, limit=gallery_limit), sample)
    if deployed:
        traffic.keep(store, model, sample)
    left = ledger.missing(range(ledger.chunks))
    done = mine if left else range(ledger.chunks)
    report = merge(run, ledger, done, is_complete=not left, new=new, out=out, store=store)
    _log(report, shard)
    return report


@dataclass(frozen=True, kw_only=True)
class _Asking:
    triton: Triton
    model: str
    told_as: str
    version: str
    card: ModelCard


def _served_version(triton: Triton, model: str, version: str) -> str:
    """Return the version that is asked throughout, whatever is deployed meanwhile."""
    served = triton.versions(model)
    if not served or (version and version not in served):
        raise InputError(
            f"the model must be served, Triton at {triton.url} does not have {model!r}"
            f"{version and f' version {version}'} (served: {', '.join(served) or 'none'}); deploy it first (`make run`)"
        )
    return version or served[-1]


def _classify(work: Work, missing: Sequence[int], ledger: Ledger, asking: _Asking, quota: Quota, sample: Sample) -> int:
    """Do the chunks that are missing, and return how many pictures they had."""
    chunked = [(number, item) for number in missing for item in work.items[number * CHUNK : (number + 1) * CHUNK]]
    if not chunked:
        return 0
    batch = min(_BATCH, asking.triton.config(asking.model, version=asking.version).max_batch_size)
    cut = work.cut([item for _, item in chunked])
    opened = zip((number for number, _ in chunked), cut, strict=True)
    shown = track(opened, total=len(chunked), description="classifying")
    batches = _batches(shown, batch, asking.card.crop_size, sample)
    answers = asking.triton.infer_many(asking.model, batches, version=asking.version, in_flight=_IN_FLIGHT)
    lines = _lines(answers, asking, quota)
    for number, of_chunk in itertools.groupby(lines, key=lambda pair: pair[0]):
        ledger.write(number, [line for _, line in of_chunk])
    return len(chunked)


def _batches(
    opened: Iterator[tuple[int, CutPicture | RefusedPicture]], size: int, side: int, sample: Sample
) -> Iterator[tuple[list[_Item], npt.NDArray[np.uint8]]]:
    """Yield people in batches of at most `size` crops; what is not asked about rides along."""
    import numpy as np

    items: list[_Item] = []
    crops: list[npt.NDArray[np.uint8]] = []

    def batch() -> tuple[list[_Item], npt.NDArray[np.uint8]]:
        return list(items), np.stack(crops) if crops else np.zeros((0, side, side, 3), np.uint8)

    for chunk, picture in opened:
        people = () if isinstance(picture, RefusedPicture) else picture.people
        for person in people or (None,):
            items.append(_Item(chunk=chunk, picture=picture, person=person))
            if person is not None:
                crops.append(person.crop)
                sample.add(person.crop)
            if len(crops) == size or len(items) == CHUNK:
                yield batch()
                items.clear()
                crops.clear()
    if items:
        yield batch()


def _lines(
    answers: Iterator[tuple[list[_Item], npt.NDArray[np.float32]]], asking: _Asking, quota: Quota
) -> Iterator[tuple[int, Line]]:
    """Turn answers into the ledger's lines, in order."""
    for items, probabilities in answers:
        rest = iter(probabilities)
        for item in items:
            picture = item.picture
            if isinstance(picture, RefusedPicture):
                row = _row(picture.picture_id, asking)
                yield item.chunk, Line(row=row, reason=picture.reason, detail=picture.detail)
                continue
            row = _answered(picture, item.person, next(rest) if item.person else None, asking)
            yield item.chunk, Line(row=row, thumbnail=draw(picture, item.person) if quota.has_room(row) else b"")


def _row(picture_id: str, asking: _Asking, **known: str) -> Prediction:
    return Prediction(
        picture_id=picture_id, object_key=known.get("object_key", ""), person_index=-1, box_xyxy="", person_score=0.0,
        label=known.get("label", ""), predicted="", probability=0.0, model=asking.told_as, version=asking.version,
        is_main=True,
    )  # fmt: skip


def _answered(
    picture: CutPicture, person: CutPerson | None, answer: npt.NDArray[np.float32] | None, asking: _Asking
) -> Prediction:
    if person is None or answer is None:
        return _row(picture.picture_id, asking, object_key=picture.object_key, label=picture.label)
    best = int(answer.argmax())
    return Prediction(
        picture_id=picture.picture_id,
        object_key=picture.object_key,
        person_index=person.index,
        box_xyxy=" ".join(f"{value:.1f}" for value in person.box_xyxy),
        person_score=round(person.score, 4),
        label=person.label,
        predicted=asking.card.classes[best],
        probability=round(float(answer[best]), 6),
        model=asking.told_as,
        version=asking.version,
        is_main=person.is_main,
    )


def _log(report: ClassifyReport, shard: Shard) -> None:
    _LOG.info(
        "%d people on %d pictures classified by %s version %s, %d pictures new, %.1f pictures/s%s%s%s",
        report.people, report.pictures, report.model, report.version, report.new, report.pictures_per_s,
        "" if report.accuracy is None else f"; {report.right} of {report.labelled} as labelled",
        "" if report.drift is None else f"; against the test split: {report.drift.verdict}",
        "" if report.is_complete else f"; shard {shard.number}/{shard.count}, others are not done yet",
    )  # fmt: skip
