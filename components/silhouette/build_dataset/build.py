"""Build the crops of a group from its pictures and a snapshot of their contours.

Reads the dataset folder, `snapshots/<digest>.arrow` and the pictures in the store; writes a folder of crops.
`crops.json` is written last: without it the folder is half work, which the next run replaces.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.build_dataset import backgrounds
from silhouette.build_dataset.encoding import jpeg_of, opened, png_of
from silhouette.build_dataset.selection import Selection, select
from silhouette.build_dataset.splits import assign_splits
from silhouette.config import DatasetConfig
from silhouette.contracts import contours as contour_bytes
from silhouette.contracts import crops, snapshot
from silhouette.contracts import dataset as datasets
from silhouette.contracts.crops import CropRow, CropsHead
from silhouette.contracts.dataset import SPLITS, Dataset, PictureRow
from silhouette.contracts.snapshot import SnapshotHead, SnapshotRow
from silhouette.errors import InputError
from silhouette.imaging import cut_person
from silhouette.progress import track
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, least_scale_for

if TYPE_CHECKING:
    from silhouette.imaging import Pixels

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What was built.

    Attributes:
        digest: Of the crops.
        counts: Crops per split and class.
        crops: How many in all; one a person.
        pictures: From how many pictures.
        skipped: Pictures that gave no crop, by reason.
        background_counts: Crops of places per split; empty without a background set.
        background_left_out: Pictures of the background set that must not be shown, by reason.
        size_bytes: Of the folder.
        duration_s: Of the whole work.
    """

    digest: str
    counts: dict[str, dict[str, int]]
    crops: int
    pictures: int
    skipped: dict[str, int]
    background_counts: dict[str, int]
    background_left_out: dict[str, int]
    size_bytes: int
    duration_s: float

    def metadata(self) -> dict[str, str | int]:
        """Return what describes the artifact; equal crops have equal metadata (caches look at it)."""
        per_split = {f"{name}_crops": sum(self.counts[name].values()) for name in SPLITS}
        return {
            "digest": self.digest,
            "crops": self.crops,
            "pictures": self.pictures,
            "skipped_pictures": sum(self.skipped.values()),
            **per_split,
            **{f"{name}_crops": count for name, count in self.background_counts.items()},
            "background_left_out": sum(self.background_left_out.values()),
        }


def build_dataset(
    *,
    dataset: Path,
    snapshot_digest: str,
    background_digest: str = "",
    out: Path,
    store: Store,
    config: DatasetConfig,
    seed: int,
) -> BuildReport:
    """Build the crops.

    Args:
        dataset: A dataset folder.
        snapshot_digest: Of a snapshot in the store.
        background_digest: Of a frozen background set in the store; empty: none.
        out: The folder to write.
        store: Where snapshot and pictures are.
        config: Size and margin of the crops, which people and review states, fractions of the splits.
        seed: Of the splits, and of the views of backgrounds.

    Raises:
        InputError: The snapshot or the background set is not there or damaged, a class has too few pictures or cannot
            be in every split, nothing of the background set may be used, or a picture's bytes changed.
        ServiceError: The store went away.
    """
    start = time.monotonic()
    content = datasets.read(dataset)
    head, rows = _read_snapshot(snapshot_digest, store)
    selection = select(
        content, head, rows, people=config.people, review_states=config.review_states,
        least=config.min_pictures_per_class,
    )  # fmt: skip
    splits = assign_splits(
        selection.pictures, val_fraction=config.val_fraction, test_fraction=config.test_fraction, seed=seed
    )
    counts = _count(content, selection, splits)
    places = backgrounds.choose(
        background_digest, content=content, splits=splits, store=store, config=config, seed=seed
    )
    _clear(out)
    written = crops.write(
        out,
        CropsHead(
            group=content.group,
            classes=list(content.classes),
            crop_size=config.crop_size,
            crop_margin=config.crop_margin,
            background=config.background,
            seed=seed,
            dataset_digest=content.digest(),
            snapshot_digest=snapshot_digest,
            counts=counts,
            skipped=selection.skipped,
            background_digest=background_digest,
            background_counts=places.counts(),
            background_left_out=places.left_out,
        ),
        itertools.chain(
            _cut_all(selection, splits, store=store, config=config),
            backgrounds.cut_backgrounds(places, store=store, size=config.crop_size, seed=seed),
        ),
    )
    report = BuildReport(
        digest=written.digest,
        counts=counts,
        crops=sum(sum(of_split.values()) for of_split in counts.values()),
        pictures=len(selection.pictures),
        skipped={reason: len(ids) for reason, ids in selection.skipped.items()},
        background_counts=places.counts(),
        background_left_out={reason: len(ids) for reason, ids in places.left_out.items()},
        size_bytes=sum(path.stat().st_size for path in out.iterdir()),
        duration_s=time.monotonic() - start,
    )
    sizes = {split: sum(of_split.values()) for split, of_split in counts.items()}
    _LOG.info(
        "%d crops of %d pictures: %s; skipped: %s",
        report.crops, report.pictures, _listed(sizes), _listed(report.skipped),
    )  # fmt: skip
    if background_digest:
        _LOG.info(
            "%d views of %d backgrounds: %s; left out: %s", sum(report.background_counts.values()),
            len(places.pictures), _listed(report.background_counts), _listed(report.background_left_out),
        )  # fmt: skip
    return report


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _read_snapshot(digest: str, store: Store) -> tuple[SnapshotHead, list[SnapshotRow]]:
    with tempfile.TemporaryDirectory(prefix="silhouette-snapshot-") as folder:
        path = Path(folder) / "snapshot.arrow"
        store.get_file(snapshot.store_key(digest), path)
        head, rows = snapshot.read_head(path), snapshot.read(path)
    found = snapshot.digest_of(head, rows)
    if found != digest:
        raise InputError(
            f"a snapshot must have the digest of its name, {snapshot.store_key(digest)} has {found};"
            " remove that object and run snapshot_contours again"
        )
    return head, rows


def _count(content: Dataset, selection: Selection, splits: dict[str, str]) -> dict[str, dict[str, int]]:
    counts = {name: dict.fromkeys(content.classes, 0) for name in SPLITS}
    for picture in selection.pictures:
        counts[splits[picture.picture_id]][picture.label] += len(selection.people[picture.sha256])
    return counts


def _clear(out: Path) -> None:
    """Remove what a killed run left."""
    for path in [out / crops.JSON_NAME, *out.glob("crops-*.arrow")]:
        path.unlink(missing_ok=True)


def _cut_all(selection: Selection, splits: dict[str, str], *, store: Store, config: DatasetConfig) -> Iterator[CropRow]:
    def cut(picture: PictureRow) -> list[CropRow]:
        people = selection.people[picture.sha256]
        return _cut_picture(picture, people, split=splits[picture.picture_id], store=store, config=config)

    total = len(selection.pictures)
    cuts = in_parallel(cut, selection.pictures, workers=min(8, 2 * (os.cpu_count() or 1)))
    for rows in track(cuts, total=total, description="cutting crops"):
        yield from rows


def _cut_picture(
    picture: PictureRow, people: tuple[SnapshotRow, ...], *, split: str, store: Store, config: DatasetConfig
) -> list[CropRow]:
    wanted = least_scale_for((person.box_xyxy for person in people), size=config.crop_size, margin=config.crop_margin)
    shown = opened(store, picture, least_scale=wanted)
    return [
        CropRow(
            picture_id=picture.picture_id,
            pixset_id=picture.pixset_id,
            sha256=picture.sha256,
            person_index=person.person_index,
            box_xyxy=person.box_xyxy,
            score=person.score,
            label=picture.label,
            split=split,
            jpeg=jpeg_of(crop),
            mask_png=png_of(mask),
        )
        for person in people
        for crop, mask in [_cut_person(shown, person, config)]
    ]


def _cut_person(picture: WorkingPicture, person: SnapshotRow, config: DatasetConfig) -> tuple[Pixels, Pixels]:
    contours, box_xyxy = picture.to_pixels(contour_bytes.decode(person.contours), person.box_xyxy)
    height, width = picture.pixels.shape[:2]
    return cut_person(
        picture.pixels,
        contour_bytes.to_mask(contours, width=width, height=height),
        box_xyxy,
        size=config.crop_size,
        margin=config.crop_margin,
        background=config.background,
    )
