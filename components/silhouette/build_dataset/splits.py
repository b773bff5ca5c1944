"""Divide pictures into train, val and test.

A source's own splits are honoured. Else whole groups are dealt out: pictures of one shoot (pixset), pictures with
the same bytes and pictures that look alike (`near_group`) form a group and never straddle. Groups go, the largest
first, where they bring the classes closest to the wanted fractions; equal ones in an order drawn by the seed. The
result depends on the pictures, the fractions and the seed, never on the order of rows.
(scikit-learn's StratifiedGroupKFold cuts equal folds only:
fractions of 0.15 would need 20 of them and a shuffle that depends on the order of rows.)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silhouette.contracts.dataset import SPLITS, PictureRow
from silhouette.errors import InputError

_WAY_OUT = "add pictures of other shoots, lower the number of classes, or bring splits with the source"


@dataclass(frozen=True, kw_only=True)
class _Group:
    rows: tuple[PictureRow, ...]
    counts: Counter[str]
    rank: tuple[int, str]
    """Larger groups first, then as the seed has it."""


def assign_splits(
    pictures: Sequence[PictureRow], *, val_fraction: float, test_fraction: float, seed: int
) -> dict[str, str]:
    """Return the split of every picture id.

    Args:
        pictures: Usable pictures; either all of them have a split or none.
        val_fraction: Of all pictures; where the source brings train and test only, of its train pictures.
        test_fraction: Of all pictures; where the source brings train and val only, of its train pictures.
        seed: Of the draw.

    Raises:
        InputError: Only some pictures have a split, the fractions leave nothing to train on, or a class cannot be
            in every split.
    """
    if val_fraction + test_fraction >= 1:
        raise InputError(
            f"val_fraction and test_fraction must leave something to train on, got {val_fraction} and {test_fraction};"
            " lower them in the section dataset of the configuration"
        )
    wanted = {"val": val_fraction, "test": test_fraction}
    brought = {row.split for row in pictures} - {""}
    if not brought:
        splits = deal(pictures, {"train": 1 - val_fraction - test_fraction, **wanted}, seed)
    else:
        _require_whole(pictures, brought)
        splits = {row.picture_id: row.split for row in pictures}
        missing = {name: fraction for name, fraction in wanted.items() if name not in brought}
        if missing:
            train = [row for row in pictures if row.split == "train"]
            splits |= deal(train, {"train": 1 - sum(missing.values()), **missing}, seed)
    _require_every_class(pictures, splits)
    return splits


def _require_whole(pictures: Sequence[PictureRow], brought: set[str]) -> None:
    without = sum(row.split == "" for row in pictures)
    if without:
        raise InputError(
            f"a source must bring a split for all pictures or for none, {without} of {len(pictures)} have none;"
            " complete the split column or leave it out"
        )
    if "train" not in brought:
        raise InputError(f"a source that brings splits must bring train, got {sorted(brought)}; add it")


def _require_every_class(pictures: Sequence[PictureRow], splits: Mapping[str, str]) -> None:
    present = {(splits[row.picture_id], row.label) for row in pictures}
    for label in sorted({row.label for row in pictures}):
        lacking = [name for name in SPLITS if (name, label) not in present]
        if lacking:
            raise InputError(
                f"every class must be in train, val and test, {label!r} is not in {' and '.join(lacking)};"
                f" its pictures come from too few shoots; {_WAY_OUT}"
            )


def _groups(pictures: Sequence[PictureRow], seed: int) -> list[_Group]:
    """Join pictures that share bytes, a shoot or looks, transitively; return the groups in the order of dealing."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for row in pictures:
        for kind, name in (("pixset", row.pixset_id), ("near", row.near_group)):
            if name:
                first, second = sorted((find("sha256 " + row.sha256), find(f"{kind} {name}")))
                leader[second] = first
    members: dict[str, list[PictureRow]] = {}
    for row in pictures:
        members.setdefault(find("sha256 " + row.sha256), []).append(row)
    groups = []
    for rows in members.values():
        drawn = hashlib.sha256(f"{seed} {min(row.sha256 for row in rows)}".encode()).hexdigest()
        counts = Counter(row.label for row in rows)
        groups.append(_Group(rows=tuple(rows), counts=counts, rank=(-len(rows), drawn)))
    return sorted(groups, key=lambda group: group.rank)


def groups_of(pictures: Sequence[PictureRow], seed: int) -> list[tuple[PictureRow, ...]]:
    """Return the groups of pictures that must stay together, in the order in which they are dealt out."""
    return [group.rows for group in _groups(pictures, seed)]


def deal(pictures: Sequence[PictureRow], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal whole groups of pictures out; return the split of every picture id.

    Args:
        pictures: To deal out, with or without labels.
        fractions: Wanted of each class, by split; they add up to 1.
        seed: Of the order of groups of equal size.
    """
    groups = _groups(pictures, seed)
    totals = Counter(row.label for row in pictures)
    have: dict[str, Counter[str]] = {name: Counter() for name in fractions}
    where: list[str] = []
    for group in groups:

        def cost(name: str, group: _Group = group) -> float:
            """How much further from the wanted numbers (squared, as shares of the class) the group would bring us."""
            return sum(
                count * (count - 2 * (fractions[name] * totals[label] - have[name][label])) / totals[label] ** 2
                for label, count in group.counts.items()
            )

        best = min(fractions, key=cost)  # of equal ones the first: train, val, test
        have[best].update(group.counts)
        where.append(best)
    _fill_empty(groups, where, have)
    return {row.picture_id: name for group, name in zip(groups, where, strict=True) for row in group.rows}


def _fill_empty(groups: Sequence[_Group], where: list[str], have: dict[str, Counter[str]]) -> None:
    """Give each split that lacks a class the smallest group whose own split can spare it; where none can, leave it."""
    labels = sorted({label for group in groups for label in group.counts})
    for name, label in ((name, label) for name in have for label in labels):
        if have[name][label]:
            continue
        spare = [
            index
            for index, group in enumerate(groups)
            if group.counts[label] and all(have[where[index]][each] > count for each, count in group.counts.items())
        ]
        if spare:
            index = max(spare, key=lambda index: groups[index].rank)
            have[where[index]].subtract(groups[index].counts)
            have[name].update(groups[index].counts)
            where[index] = name
