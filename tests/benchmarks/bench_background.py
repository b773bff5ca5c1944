"""How far a model leans on the background, with our recipe and with its mask features switched off.

`plain` is the shipped recipe on crops with their backgrounds, none of them replaced; `ours` is the shipped recipe as
it is. Both are trained here, on a CPU, on sets that background_sets.py draws.
`python -m tests.benchmarks.bench_background` prints balanced accuracies with their 95 % bootstrap intervals, for which
whole shoots are drawn:

    test           the place says nothing about the class
    like training  the same people where people of their class stood in training
    BG-Gap         on the sample group: as it is, less the same with places of the background set behind the people
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from silhouette.compositing import over
from silhouette.config import TrainingConfig, load_config
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import training as training_contract
from silhouette.contracts.crops import BACKGROUND_TEST, CropTable
from silhouette.train_classifier.train import train_classifier
from tests.benchmarks import Benchmark
from tests.benchmarks.background_sets import LIKE_TRAINING, Size, write_biased, write_samples

SHIPPED = load_config({})
WHOLE = Size(train=600, val=120, test=400, samples=480, places=160, crop_size=128)
SMALL = Size(train=24, val=8, test=8, samples=64, places=6, crop_size=32)
DRAWS = 2000  # of the bootstrap

Hits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Which crops were classified rightly, their classes and their shoots."""

    hits: Hits
    labels: npt.NDArray[np.int64]
    shoots: npt.NDArray[np.int64]

    def balanced(self, rows: npt.NDArray[np.int64] | None = None) -> float:
        """Return the mean recall of the classes, of all crops or of those of `rows`."""
        chosen = np.arange(len(self.hits)) if rows is None else rows
        labels, hits = self.labels[chosen], self.hits[chosen]
        return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure in points of 100, and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:5.1f} ({self.low:.1f} to {self.high:.1f})"


def interval(figure: Callable[[npt.NDArray[np.int64] | None], float], shoots: npt.NDArray[np.int64]) -> Interval:
    """Bootstrap a figure over whole shoots."""
    random = np.random.default_rng(1)
    members = [np.flatnonzero(shoots == shoot) for shoot in np.unique(shoots)]
    drawn = [
        figure(np.concatenate([members[one] for one in random.integers(len(members), size=len(members))]))
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(value=100 * figure(None), low=100 * float(low), high=100 * float(high))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Answers by recipe and by test."""

    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)

    def score(self, recipe: str, test: str) -> Interval:
        answers = self.answers[recipe, test]
        return interval(answers.balanced, answers.shoots)

    def less(self, first: tuple[str, str], second: tuple[str, str]) -> Interval:
        """Return how much better the first is than the second, on the same people."""
        ours, theirs = self.answers[first], self.answers[second]
        return interval(lambda rows: ours.balanced(rows) - theirs.balanced(rows), ours.shoots)


def recipes(small: bool) -> dict[str, tuple[str, TrainingConfig]]:
    """Return the crops' own background and the recipe, by name."""
    ours = SHIPPED.training.model_copy(
        update={"epochs": 1, "backbone": "random:test_efficientnet"} if small else {"backbone": "tf_efficientnet_lite0"}
    )
    plain = ours.model_copy(update={"background_swap": 0.0})
    return {"plain": ("keep", plain), "ours": (SHIPPED.dataset.background, ours)}


@functools.cache
def measured(size: Size) -> Measured:
    """Draw, train and ask; once a process."""
    found = Measured()
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as scratch:
        folder = Path(scratch)
        for name, (background, recipe) in recipes(size is SMALL).items():
            biased, samples = folder / f"biased-{background}", folder / f"samples-{background}"
            if not biased.exists():
                write_biased(biased, size, background=background)
                write_samples(samples, size, background=background, drawn=folder / "drawn")
            for crops, tests in ((biased, ("test", LIKE_TRAINING)), (samples, ("samples", "swapped"))):
                out = folder / f"{name}-{crops.name}"
                train_classifier(crops=crops, out=out, experiment=name, config=recipe, device="cpu")
                for test in tests:
                    found.answers[name, test] = ask(out, crops, test)
    return found


def ask(training: Path, crops: Path, test: str) -> Answers:
    """Ask the network that a training kept for the classes of a split."""
    import timm
    import torch

    record, head = training_contract.read(training), crops_contract.read_head(crops)
    net = timm.create_model(record.backbone.removeprefix("random:"), num_classes=len(record.classes))
    kept = torch.load(training / training_contract.BEST_CHECKPOINT, weights_only=True)["state_dict"]
    net.load_state_dict({key.removeprefix("model."): value for key, value in kept.items() if key.startswith("model.")})
    net.eval()
    table = CropTable(crops, LIKE_TRAINING if test == LIKE_TRAINING else "test")
    shown = np.stack(
        [_shown(table, row, crops, head.background, swapped=test == "swapped") for row in range(len(table))]
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (record.mean, record.std))
    with torch.inference_mode():
        parts = torch.from_numpy(shown).permute(0, 3, 1, 2).split(64)
        predicted = torch.cat([net((part / 255 - mean) / std).argmax(1) for part in parts]).numpy()
    labels = np.array([head.classes.index(label) for label in table.column("label")])
    shoots = np.unique(table.column("pixset_id"), return_inverse=True)[1]
    return Answers(hits=predicted == labels, labels=labels, shoots=shoots)


def _shown(table: CropTable, row: int, crops: Path, background: str, *, swapped: bool) -> Pixels:
    record = table[row]
    crop = crops_contract.decode_jpeg(record.jpeg)
    if not swapped or background == "grey":  # where only the person is seen, whatever is behind is seen by nobody
        return crop
    places = _places(crops)
    place = places[int(np.random.default_rng([5, row]).integers(len(places)))]
    return over(crop, crops_contract.decode_mask(record.mask_png), place, feather=1.0)


@functools.cache
def _places(crops: Path) -> list[Pixels]:
    return [crops_contract.decode_jpeg(row.jpeg) for row in CropTable(crops, BACKGROUND_TEST)]


@contextmanager
def whole() -> Iterator[Measured]:
    """Measure in full: four trainings of some minutes each."""
    yield measured(WHOLE)


@contextmanager
def small() -> Iterator[Measured]:
    """Measure next to nothing: that all of it runs."""
    yield measured(SMALL)


def gained(found: Measured) -> float:
    """Return how many points ours is better than plain where the place says nothing."""
    return found.less(("ours", "test"), ("plain", "test")).value


def lost(found: Measured) -> float:
    """Return how many points ours loses where the place says nothing, to the score with training's places."""
    return found.less(("ours", LIKE_TRAINING), ("ours", "test")).value


def gap(found: Measured) -> float:
    """Return the BG-Gap of ours on the sample group, in points."""
    return found.less(("ours", "samples"), ("ours", "swapped")).value


def lines(found: Measured) -> Iterator[str]:
    """Tell everything that was measured."""
    for recipe in dict(found.answers):
        yield f"{recipe[0]:6} {recipe[1]:20} {found.score(*recipe)}"
    yield f"ours better than plain on test       {found.less(('ours', 'test'), ('plain', 'test'))}"
    for name in ("plain", "ours"):
        yield f"{name:6} like training, less test   {found.less((name, LIKE_TRAINING), (name, 'test'))}"
        yield f"{name:6} BG-Gap on the sample group {found.less((name, 'samples'), (name, 'swapped'))}"


_measured = functools.partial(Benchmark, unit="points", setup=whole, small=small, repetitions=1, warmups=0)
BENCHMARK = (
    _measured(name="background.gained", ours=gained, other=25.0, better="higher"),
    _measured(name="background.lost", ours=lost, other=5.0),
    _measured(name="background.gap", ours=gap, other=5.0),
)

if __name__ == "__main__":
    print("\n".join(lines(measured(WHOLE))))
