"""What the network is shown: crops of a split, decoded in workers, augmented there (`augment`).

Reads a folder of crops. Every random choice is drawn from (seed, draw, crop), never from a stream that goes
on, so a run that was killed and resumed sees the very pictures that an unbroken one would have seen.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from silhouette.contracts import crops as crops_contract
from silhouette.errors import InputError
from silhouette.train_classifier.augment import StoredPlaces, TrainView, shares_of

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig

_LOG = logging.getLogger(__name__)
_FEW_CROPS = 256  # below, starting workers costs more than they save


def cpu_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mix_seed(*numbers: int) -> int:
    """Make one seed of several numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number) % 2**63
    return mixed


class EpochSampler(Sampler[tuple[int, int]]):
    """Draw ``(number of the draw, crop)``: every crop once an epoch, or every class as often as any other.

    Args:
        labels: Class of each crop.
        seed: Of the order.
        balanced: Show each class equally often: rare crops several times, frequent ones in turn over the epochs.
        start: ``(epoch, draws)``: begin in this epoch, after so many draws, which an interrupted run has seen.
        share: ``(rank, ranks)``: give every so many-th draw, beginning with this one. A step of all ranks sees what a
            step of a single one would have seen; the first draws are repeated where the last round lacks some.
    """

    def __init__(
        self,
        labels: list[int],
        *,
        seed: int,
        balanced: bool,
        start: tuple[int, int] = (0, 0),
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._seed, self._start, self._share = seed, start, share
        self._epoch = start[0]  # workers fetch ahead before Lightning has said which epoch it is
        self._classes = [torch.arange(len(labels))]
        if balanced:
            every = torch.tensor(labels)
            self._classes = [(every == label).nonzero().flatten() for label in sorted(set(labels))]
        self._each = -(-len(labels) // len(self._classes))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return this rank's draws of a whole epoch."""
        return -(-self._each * len(self._classes) // self._share[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        random = torch.Generator().manual_seed(mix_seed(self._seed, self._epoch))
        drawn = torch.cat([self._draw(rows, random) for rows in self._classes])
        order = drawn[torch.randperm(len(drawn), generator=random)].tolist()
        rank, ranks = self._share
        whole, epoch = len(self) * ranks, self._epoch
        seen = self._start[1] if epoch == self._start[0] else 0
        own = range(rank + seen, whole, ranks)  # all ranks have seen equally many
        return ((epoch * whole + number, order[number % len(order)]) for number in own)

    def _draw(self, rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        rounds = -(-self._each // len(rows))
        return torch.cat([rows[torch.randperm(len(rows), generator=random)] for _ in range(rounds)])[: self._each]


class CropDataset(Dataset[dict[str, Any]]):
    """Crops of one split: ``{"crop": uint8 [3, size, size], "label": int, "row": int}``.

    Args:
        folder: Of crops.
        split: ``train``, ``val`` or ``test``.
        classes: In the order of the model's outputs.
        view: The augmentation, or None to show the crop as it is.
        seed: Of the augmentation.
    """

    def __init__(
        self, folder: Path, split: str, *, classes: list[str], view: TrainView | None = None, seed: int = 0
    ) -> None:
        self._folder, self._split, self._view, self._seed = folder, split, view, seed
        self._table: crops_contract.CropTable | None = None
        table = crops_contract.CropTable(folder, split)
        labels: list[str] = table.column("label")
        if unknown := sorted(set(labels) - set(classes)):
            raise InputError(f"a crop's label must be one of {classes}, {folder} has {unknown}; build it again")
        self.labels = [classes.index(label) for label in labels]
        self.picture_ids: list[str] = table.column("picture_id")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        draw, row = item if isinstance(item, tuple) else (0, item)
        if self._table is None:  # opened by each worker for itself
            self._table = crops_contract.CropTable(self._folder, self._split)
        record = self._table[row]
        crop = torch.tensor(crops_contract.decode_jpeg(record.jpeg)).permute(2, 0, 1)
        if self._view is not None:
            mask = torch.tensor(crops_contract.decode_mask(record.mask_png)) if self._view.needs_mask else None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(mix_seed(self._seed, draw, row))
                crop = self._view(crop, mask)
        return {"crop": crop.contiguous(), "label": self.labels[row], "row": row}


class CropData(lightning.LightningDataModule):
    """The train and val splits as batches.

    Args:
        folder: Of crops.
        config: The recipe.
        train_size: Side of the training crops in pixels; val keeps the crops' own.
        start: ``(epoch, batches)`` that an interrupted training has done.
        share: ``(rank, ranks)`` of the processes that share every batch among them.

    Attributes:
        backgrounds: Share of the training crops that get another background, by its kind; empty: none does.

    Raises:
        InputError: A split is empty, a class has no crop to learn from, or nothing is there to put behind people.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: TrainingConfig,
        train_size: int,
        start: tuple[int, int] = (0, 0),
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self._start, self._share = start, share
        self._batch = -(-config.batch_size // share[1])
        self.head, self._config = crops_contract.read_head(folder), config
        classes, places = self.head.classes, StoredPlaces(folder)
        self.backgrounds = shares_of(config, background=self.head.background, places=len(places))
        view = TrainView(train_size, config, shares=self.backgrounds, places=places)
        self.train = CropDataset(folder, "train", classes=classes, view=view, seed=config.seed)
        self.val = CropDataset(folder, "val", classes=classes)
        for split, part in (("train", self.train), ("val", self.val)):
            if not len(part):
                raise InputError(f"training needs crops in the {split} split, {folder} has none; build it again")
        counts = Counter(self.train.labels)
        if missing := [name for number, name in enumerate(classes) if not counts[number]]:
            raise InputError(f"every class needs crops in the train split, none for {missing}; add pictures of them")
        self.class_counts = torch.tensor([counts[number] for number in range(len(classes))], dtype=torch.float32)
        _say(self.backgrounds, background=self.head.background, places=len(places))

    def _loader(self, part: CropDataset, **options: Any) -> DataLoader[dict[str, Any]]:
        workers = 2 if cpu_cores() > 1 and len(part) >= _FEW_CROPS else 0
        return DataLoader(
            part,
            batch_size=self._batch,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return augmented batches; the last incomplete one is left out, where there is more than one."""
        return self._train_loader(self._start, self._share)

    def sample_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the augmented batches of the first epoch, whatever was trained already."""
        return self._train_loader((0, 0), (0, 1))

    def _train_loader(self, start: tuple[int, int], share: tuple[int, int]) -> DataLoader[dict[str, Any]]:
        balanced = self._config.class_balance == "sampling"
        epoch, batches = start
        sampler = EpochSampler(
            self.train.labels,
            seed=self._config.seed,
            balanced=balanced,
            start=(epoch, batches * self._batch * share[1]),
            share=share,
        )
        return self._loader(self.train, sampler=sampler, drop_last=len(sampler) > self._batch)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this rank's share of the val split as it is, in order.

        All ranks have equally many batches, since they wait for one another: at the end a crop may be there twice.
        """
        rank, ranks = self._share
        if ranks == 1:
            return self._loader(self.val)
        each = -(-len(self.val) // ranks)
        rows = [(rank + number * ranks) % len(self.val) for number in range(each)]
        return self._loader(self.val, sampler=rows)


def _say(shares: dict[str, float], *, background: str, places: int) -> None:
    """Log what stands behind people in training, and that there was no background set where one was missed."""
    kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()) or "none"
    if background != "keep":
        _LOG.info("backgrounds: only the person is seen (dataset.background is %s), none is replaced", background)
    elif shares and not places:
        _LOG.info("backgrounds replaced in training: %s; there is no background set (background_pixsets)", kinds)
    else:
        _LOG.info("backgrounds replaced in training: %s; %d views of the background set", kinds, places)
