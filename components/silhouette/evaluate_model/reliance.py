"""How far the model leans on the background: the test crops over others, without them, and without their people.

Reads crops and masks; writes nothing. After Xiao et al. 2021, "Noise or Signal: The Role of Image Backgrounds in
Object Recognition": BG-Gap is the accuracy over backgrounds of the own class (Mixed-Same) less that over backgrounds
of another one (Mixed-Next). The backgrounds are the training split's: what a model may have learnt to lean on is
there, even when the test split no longer has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silhouette import compositing
from silhouette.contracts.crops import CropsHead, CropTable, decode_jpeg, decode_mask
from silhouette.contracts.evaluation import BackgroundReliance, BackgroundVersion
from silhouette.errors import InputError
from silhouette.evaluate_model.resampling import drawn_confusions, interval
from silhouette.evaluate_model.scores import Answers, accuracy_of, f1_of
from silhouette.imaging import OUTSIDE_GREY
from silhouette.progress import track

if TYPE_CHECKING:
    import numpy.typing as npt

    from silhouette.onnx_model import OnnxModel

    Pixels = npt.NDArray[np.uint8]

BACKGROUND_SPLIT = "background_test"
VERSIONS = ("original", "swapped", "same_class", "other_class", "background_only", "silhouette", "person_only")
_MOST_CROPS = 2000
_SET_BACKGROUNDS, _TEST_BACKGROUNDS, _CLASS_BACKGROUNDS = 256, 64, 24  # kept in memory
_BATCH, _EXAMPLES = 32, 3
_FEATHER, _GROW = 1 / 224, 6 / 224  # of a crop's side: the soft edge, and the rim that goes with a person
_LEAST_FEATHER = 0.7  # pixels; below, an edge is hard
_GREY = (
    "The crops are cut out on grey, in training and in serving alike; a background is laid behind the person before"
    " that cut, so that only the rim of a mask can let it through."
)
_GREY_ALONE = (
    " There is no background set, so what is swapped is grey for grey: BG-Gap is 0 by construction, and the background"
    " alone is a grey square."
)
_GAP = (
    " BG-Gap: over backgrounds of training pictures of the own class and of another class, the people there inpainted."
)


@dataclass(frozen=True, kw_only=True)
class _Background:
    """A background, and the group or the class that it comes from."""

    pixels: Pixels
    origin: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A test crop in every version but the original, for the report: row of the split, pixels, number of the answer."""

    row: int
    views: dict[str, Pixels]
    answers: dict[str, int]


def measure_reliance(
    model: OnnxModel, *, crops: Path, head: CropsHead, test: Answers, majority: int, seed: int
) -> tuple[BackgroundReliance, list[Example]]:
    """Ask the model about the test crops, up to 2,000 of them spread over the split, in every version.

    Args:
        model: Which is judged.
        crops: Folder of crops.
        head: Of that folder.
        test: The answers to the whole test split as it is.
        majority: Number of the training split's most frequent class.
        seed: Of the choice of backgrounds, and of the intervals.

    Returns:
        The numbers, and a few crops to show what was asked.

    Raises:
        InputError: A class has no training crops, so that there are no backgrounds of it.
    """
    table = CropTable(crops, "test")
    rows = _spread(len(table), _MOST_CROPS)
    asked = _Views(crops, head=head, table=table, groups=test.groups, rows=rows, seed=seed)
    original = Answers(
        labels=test.labels[rows], probabilities=test.probabilities[rows], groups=[test.groups[row] for row in rows]
    )
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in VERSIONS[1:]}
    starts, shown = range(0, len(rows), _BATCH), {rows[place] for place in _spread(len(rows), _EXAMPLES)}
    kept_views: dict[int, dict[str, Pixels]] = {}
    for start in track(starts, total=len(starts), description="changing backgrounds"):
        batch = rows[start : start + _BATCH]
        views = [asked(row) for row in batch]
        kept_views |= {row: made for row, made in zip(batch, views, strict=True) if row in shown}
        for name, kept in parts.items():
            kept.append(model.probabilities(np.stack([view[name] for view in views])))
    answers = {"original": original} | {
        name: Answers(labels=original.labels, probabilities=np.concatenate(kept), groups=original.groups)
        for name, kept in parts.items()
    }
    accuracy = {name: float(accuracy_of(given.confusion)) for name, given in answers.items()}
    drawn = {
        name: accuracy_of(drawn_confusions(answers[name], seed=seed))
        for name in ("original", "swapped", "same_class", "other_class")
    }
    examples = [
        Example(
            row=row, views=views, answers={name: int(answers[name].predicted[rows.index(row)]) for name in VERSIONS}
        )
        for row, views in kept_views.items()
    ]
    reliance = BackgroundReliance(
        crops=len(rows),
        versions=[
            BackgroundVersion(name=name, accuracy=accuracy[name], macro_f1=float(f1_of(answers[name].confusion).mean()))
            for name in VERSIONS
        ],
        bg_gap=interval(accuracy["same_class"] - accuracy["other_class"], drawn["same_class"] - drawn["other_class"]),
        swap_drop=interval(accuracy["original"] - accuracy["swapped"], drawn["original"] - drawn["swapped"]),
        background_only_accuracy=accuracy["background_only"],
        majority_accuracy=float((original.labels == majority).mean()),
        explanation=asked.explanation,
    )
    return reliance, examples


class _Views:
    """Makes all versions of a test crop."""

    def __init__(
        self, crops: Path, *, head: CropsHead, table: CropTable, groups: Sequence[str], rows: list[int], seed: int
    ) -> None:
        self._head, self._table, self._groups, self._seed = head, table, groups, seed
        backgrounds = CropTable(crops, BACKGROUND_SPLIT)
        chosen = _spread(len(backgrounds), _SET_BACKGROUNDS)
        self._swaps = [_Background(pixels=decode_jpeg(backgrounds[row].jpeg), origin="") for row in chosen]
        if not self._swaps:
            self._swaps = [
                _Background(pixels=self._background(table, row), origin=self._groups[row])
                for row in (rows[place] for place in _spread(len(rows), _TEST_BACKGROUNDS))
            ]
        train = CropTable(crops, "train")
        labels = np.array(train.column("label"), dtype=object)
        self._by_class: list[_Background] = []
        for name in head.classes:
            of_class = np.flatnonzero(labels == name)
            if not len(of_class):
                raise InputError(f"backgrounds of every class are taken from training crops, {name!r} has none in"
                                 f" {crops}; build the dataset again")  # fmt: skip
            self._by_class += [
                _Background(pixels=self._background(train, int(of_class[place])), origin=name)
                for place in _spread(len(of_class), _CLASS_BACKGROUNDS)
            ]
        self.explanation = self._explain(len(backgrounds))

    def __call__(self, row: int) -> dict[str, Pixels]:
        """Return the crop in every version but the original, by the version's name."""
        crop = self._table[row]
        pixels, mask = decode_jpeg(crop.jpeg), decode_mask(crop.mask_png)
        person, grey = (mask > 127)[:, :, None], np.uint8(OUTSIDE_GREY)
        random = np.random.default_rng([self._seed % 2**32, row])
        group, label = self._groups[row], crop.label

        def over(pool: list[_Background], allowed: Callable[[str], bool]) -> Pixels:
            fitting = [one for one in pool if allowed(one.origin)] or pool
            background = fitting[int(random.integers(len(fitting)))].pixels
            feather = max(_LEAST_FEATHER, _FEATHER * self._head.crop_size)
            alone = np.where(person, pixels, background)  # else the soft edge would carry the old background along
            laid = compositing.over(alone, mask, background, feather=feather)
            return self._as_served(laid, mask)

        return {
            "swapped": over(self._swaps, lambda origin: origin != group),
            "same_class": over(self._by_class, lambda origin: origin == label),
            "other_class": over(self._by_class, lambda origin: origin != label),
            "background_only": self._background(self._table, row),
            "silhouette": np.where(person, np.uint8(0), pixels),
            "person_only": np.where(person, pixels, grey),
        }

    def _background(self, table: CropTable, row: int) -> Pixels:
        """Return what is left of a crop without its person."""
        crop = table[row]
        pixels = decode_jpeg(crop.jpeg)
        if self._head.background == "grey":
            return np.full_like(pixels, OUTSIDE_GREY)
        grow = max(1, round(_GROW * self._head.crop_size))
        return compositing.without_person(pixels, decode_mask(crop.mask_png), grow=grow)

    def _as_served(self, pixels: Pixels, mask: Pixels) -> Pixels:
        """Cut the person out of a composed picture as build_dataset and serving do."""
        if self._head.background == "grey":
            return np.where((mask > 0)[:, :, None], pixels, np.uint8(OUTSIDE_GREY))
        return pixels

    def _explain(self, count: int) -> str:
        given = f" Swapped: each person over one of {count} pictures of the background set."
        if self._head.background == "grey":
            return _GREY + (given + " BG-Gap is 0 by construction." if count else _GREY_ALONE)
        own = (
            " Swapped: each person over the background of a test picture of another shoot, the person there inpainted;"
        )
        return ((given if count else own + " there is no background set.") + _GAP).strip()


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` numbers below `count`, evenly spread."""
    return [int(place) for place in np.linspace(0, count - 1, min(most, count)).round()] if count else []
