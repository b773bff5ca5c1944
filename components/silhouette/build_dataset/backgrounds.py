"""Crops of a background set: which of its pictures may be shown in training, which in tests, and random views of them.

Reads a frozen set (`silhouette.contracts.backgrounds`) and its pictures in the store; writes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from silhouette.build_dataset.encoding import jpeg_of, opened
from silhouette.build_dataset.splits import deal, groups_of
from silhouette.contracts import backgrounds
from silhouette.contracts.crops import BACKGROUND_SPLITS, BACKGROUND_TEST, BACKGROUND_TRAIN, CropRow
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.snapshot import NOBODY
from silhouette.errors import InputError
from silhouette.progress import track
from silhouette.store import Store, in_parallel

if TYPE_CHECKING:
    from silhouette.config import DatasetConfig

JUDGED = "shared_with_val_or_test"
_MOST_VIEWS = 8  # of one picture; more show the same again
_VIEW_SHARES = (0.4, 1.0)  # side of a view, of the picture's shorter side


@dataclass(frozen=True, kw_only=True)
class Backgrounds:
    """What of a set is used.

    Attributes:
        digest: Of the frozen set; empty without one.
        splits: ``background_train`` or ``background_test`` of the pictures that are used, by picture id.
        pictures: That are used, in order.
        views: Crops of each picture.
        left_out: Ids of the others by reason.
    """

    digest: str = ""
    splits: Mapping[str, str]
    pictures: tuple[PictureRow, ...]
    views: int
    left_out: dict[str, list[str]]

    def counts(self) -> dict[str, int]:
        """Return crops per split."""
        found = Counter(self.splits.values())
        return {name: found[name] * self.views for name in BACKGROUND_SPLITS} if self.digest else {}


def choose(
    digest: str, *, content: Dataset, splits: Mapping[str, str], store: Store, config: DatasetConfig, seed: int
) -> Backgrounds:
    """Choose which pictures of a frozen set may stand behind whom.

    Pictures that share id, bytes, looks or shoot are kept together. Whatever shares one of them with a picture of val
    or test is left out; what shares one with a picture of train is shown in training only; the others are dealt out.
    Of more pictures than `dataset.background_crops` a part is drawn.

    Args:
        digest: Of the set; empty: there is none.
        content: The group, with the pictures that gave no crop as well.
        splits: Of the group's pictures that give crops, by picture id.
        store: Has the set.
        config: How many crops at most, and the share of tests.
        seed: Of the draw.

    Raises:
        InputError: The set is not there or damaged, or nothing of it may be used.
        ServiceError: The store went away.
    """
    if not digest:
        return Backgrounds(splits={}, pictures=(), views=0, left_out={})
    found = backgrounds.read(store, digest)
    judged = _Kin(content, {name for name, split in splits.items() if split != "train"})
    learnt = _Kin(content, {name for name, split in splits.items() if split == "train"})
    left_out = dict(found.left_out)
    hidden = {name for ids in left_out.values() for name in ids}
    chosen: dict[str, str] = {}
    free: list[PictureRow] = []  # with those that are hidden: what they join must not be torn apart
    for kin in groups_of(found.pictures, seed):
        members = [row for row in kin if row.picture_id not in hidden]
        if judged.knows_any(kin):
            left_out[JUDGED] = left_out.get(JUDGED, []) + [row.picture_id for row in members]
        elif learnt.knows_any(kin):
            chosen |= {row.picture_id: BACKGROUND_TRAIN for row in members}
        elif members:
            free += kin
    fractions = {BACKGROUND_TRAIN: 1 - config.test_fraction, BACKGROUND_TEST: config.test_fraction}
    chosen |= {name: split for name, split in deal(free, fractions, seed).items() if name not in hidden}
    if not chosen:
        raise InputError(
            f"a background set must have pictures that are not in val or test, all {len(left_out.get(JUDGED, []))} of"
            f" {found.name!r} share bytes, looks or a shoot with them; name other pixsets"
        )
    drawn = _at_most(config.background_crops, chosen, seed)
    return Backgrounds(
        digest=digest,
        splits=drawn,
        pictures=tuple(row for row in found.pictures if row.picture_id in drawn),
        views=min(_MOST_VIEWS, config.background_crops // len(drawn)),
        left_out={reason: sorted(ids) for reason, ids in sorted(left_out.items()) if ids},
    )


class _Kin:
    """What pictures of the group share with their like: id, bytes and looks, shoot."""

    def __init__(self, content: Dataset, picture_ids: set[str]) -> None:
        ours = [row for row in content.rows if row.picture_id in picture_ids]
        looks = {row.near_group for row in ours} - {""}
        self._ids = picture_ids
        self._pixsets = {row.pixset_id for row in ours} - {""}
        self._sha256s = {row.sha256 for row in ours} | {row.sha256 for row in content.rows if row.near_group in looks}

    def knows_any(self, rows: Sequence[PictureRow]) -> bool:
        return any(
            row.picture_id in self._ids or row.sha256 in self._sha256s or row.pixset_id in self._pixsets for row in rows
        )


def _at_most(count: int, splits: Mapping[str, str], seed: int) -> dict[str, str]:
    """Draw at most `count` of the pictures, from each split its share and from none nothing."""
    drawn: dict[str, str] = {}
    for name in BACKGROUND_SPLITS:
        ids = sorted((_digest(seed, key), key) for key, split in splits.items() if split == name)
        share = max(1, count * len(ids) // len(splits))
        drawn |= {key: name for _, key in ids[:share]}
    return drawn


def cut_backgrounds(used: Backgrounds, *, store: Store, size: int, seed: int) -> Iterator[CropRow]:
    """Yield random square views of the pictures, `used.views` of each, in the order of the pictures.

    Args:
        used: As `choose` returned it.
        store: Has the pictures.
        size: Side of the crops, pixels.
        seed: Of the views.

    Raises:
        InputError: A picture does not open any more.
        ServiceError: The store went away.
    """

    def cut(row: PictureRow) -> list[CropRow]:
        return list(_views(row, used, store=store, size=size, seed=seed))

    cuts = in_parallel(cut, used.pictures, workers=min(8, 2 * (os.cpu_count() or 1)))
    for rows in track(cuts, total=len(used.pictures), description="cutting backgrounds"):
        yield from rows


def _views(row: PictureRow, used: Backgrounds, *, store: Store, size: int, seed: int) -> Iterator[CropRow]:
    picture = opened(store, row)
    height, width = picture.pixels.shape[:2]
    across, down = picture.scale_xy
    random = np.random.default_rng(int(_digest(seed, row.picture_id)[:16], 16))
    shorter = min(height, width)
    for _ in range(used.views):
        side = min(shorter, max(size, round(shorter * random.uniform(*_VIEW_SHARES))))
        x, y = int(random.integers(width - side + 1)), int(random.integers(height - side + 1))
        view = picture.pixels[y : y + side, x : x + side]
        scaling = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        yield CropRow(
            picture_id=row.picture_id,
            pixset_id=row.pixset_id,
            sha256=row.sha256,
            person_index=NOBODY,
            box_xyxy=(x / across, y / down, (x + side) / across, (y + side) / down),
            score=0.0,
            label="",
            split=used.splits[row.picture_id],
            jpeg=jpeg_of(np.asarray(cv2.resize(view, (size, size), interpolation=scaling), np.uint8)),
            mask_png=b"",
        )


def _digest(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest()
