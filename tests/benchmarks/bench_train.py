"""How much of the training's speed the input path costs: steps fed from shards beside the same step on a ready batch.

Both sides do the very step of a training (forward, backward, optimizer) with the backbone that a CPU gets, in a process
of one and the same settings; the first reads, decodes and augments crops of 224 pixels in the loader's own workers,
which share the cores with the step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from silhouette.config import CPU_BACKBONE
from silhouette.train_classifier.backbones import build_backbone
from silhouette.train_classifier.classifier import CropClassifier, freeze, parameter_groups
from silhouette.train_classifier.crop_data import CropData, cpu_cores
from silhouette.train_classifier.train import quiet_lightning
from tests.benchmarks import Benchmark
from tests.shapes import BACKBONE, recipe, write_shapes

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Crops, and so many steps over them with this network."""

    folder: Path
    backbone: str
    steps: int


@contextmanager
def lesson(*, backbone: str, size: int, per_class: int, steps: int) -> Iterator[Lesson]:
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        write_shapes(Path(folder), per_class={"train": per_class, "val": 1}, size=size)
        yield Lesson(folder=Path(folder), backbone=backbone, steps=steps)


def _crops_per_s(lesson: Lesson, *, ready: bool) -> float:
    """Return crops per second over the steps; the first two, in which workers start and memory grows, do not count."""
    with quiet_lightning():
        torch.set_num_threads(cpu_cores())
        config = recipe(batch_size=_BATCH, frozen_share=0.35)
        data = CropData(lesson.folder, config=config, train_size=data_size(lesson))
        built = build_backbone(lesson.backbone, classes=3, crop_size=data.head.crop_size)
        module = CropClassifier(built, config, class_counts=data.class_counts, picture_ids=data.train.picture_ids)
        freeze(module.trained, share=config.frozen_share, keep_statistics=built.pretrained)
        optimizer = torch.optim.AdamW(parameter_groups(module.trained, config))
        loader = data.train_dataloader()
        batches: Iterable[dict[str, Any]] = cycle([next(iter(loader))]) if ready else _endless(loader)
        started = 0.0
        for number, batch in enumerate(islice(batches, lesson.steps + 2)):
            if number == 2:
                started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            module.training_step(batch, number).backward()
            torch.nn.utils.clip_grad_norm_(module.trained.parameters(), 1.0)
            optimizer.step()
        return lesson.steps * _BATCH / (time.perf_counter() - started)


def data_size(lesson: Lesson) -> int:
    from silhouette.contracts.crops import read_head

    return read_head(lesson.folder).crop_size


def _endless(loader: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


BENCHMARK = Benchmark(
    name="train.step",
    ours=partial(_crops_per_s, ready=False),
    other=partial(_crops_per_s, ready=True),
    unit="crops/s",
    better="higher",
    target=0.95,
    repetitions=3,
    setup=partial(lesson, backbone=CPU_BACKBONE, size=224, per_class=256, steps=20),
    small=partial(lesson, backbone=BACKBONE, size=64, per_class=96, steps=2),
)
