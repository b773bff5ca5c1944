"""What the judge found: metrics on the test split and the gate's verdict, as `metrics.json`.

docs/evaluation.md says what each number means, how it is computed and after whom.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE_NAME = "metrics.json"
REPORT_NAME = "report.html"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Part):
    """A number with its 95 % bootstrap interval; whole pixsets are drawn together."""

    value: float
    low: float
    high: float


class ClassScore(_Part):
    """One class on the test split."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    f1_low: float = 0.0
    f1_high: float = 1.0
    roc_auc: float | None = None
    """Area under the ROC against the rest; None: there is nothing but this class, or nothing of it."""
    average_precision: float | None = None
    pictures: int = 0
    """From how many pictures the crops are."""


class CalibrationBin(_Part):
    """Answers of about the same confidence."""

    crops: int
    confidence: float
    """Their mean probability of the answer."""
    accuracy: float


class CalibrationScores(_Part):
    """How far the probabilities can be taken at their word."""

    ece: float
    """Expected calibration error, 15 bins of equal width."""
    adaptive_ece: float
    """The same with 15 bins of equally many crops."""
    nll: float
    """Negative log-likelihood of the true class, in nats."""
    brier: float
    """Squared distance of the probabilities from the truth, 0 to 2."""
    bins: list[CalibrationBin]
    """The reliability diagram: the bins of `ece` that are not empty."""


class Calibration(_Part):
    """Calibration on the test split, without and with the temperature that is inside the model."""

    temperature: float
    before: CalibrationScores
    after: CalibrationScores
    ece_by_chance: float
    """The ECE that a perfectly calibrated model of the same confidences stays under in 95 of 100 such test splits."""


class Slice(_Part):
    """The crops that have something in common."""

    kind: str
    """``size``, ``shape``, ``score`` or ``pixset``."""
    name: str
    crops: int
    accuracy: float
    low: float
    high: float
    """Wilson's 95 % interval of the accuracy."""
    is_small: bool
    """Too few crops to say anything of."""


class BackgroundVersion(_Part):
    """The test crops in one version of `BackgroundReliance`."""

    name: str
    accuracy: float
    macro_f1: float


class BackgroundReliance(_Part):
    """How far the model leans on what is not the person."""

    crops: int
    versions: list[BackgroundVersion]
    """``original``, ``swapped``, ``same_class``, ``other_class``, ``background_only``, ``silhouette``,
    ``person_only``."""
    bg_gap: Interval
    """Accuracy over training backgrounds of the own class less that over those of another class."""
    swap_drop: Interval
    """Accuracy on the original less that on the swapped crops."""
    background_only_accuracy: float
    majority_accuracy: float
    """Of always answering the training split's most frequent class, on the same crops."""
    explanation: str
    """What was done, and with which backgrounds."""


class Comparison(_Part):
    """The model and the one that is served now, on the same test crops."""

    version: str
    experiment: str
    onnx_sha256: str
    accuracy: float
    macro_f1: float
    macro_f1_difference: Interval
    """Macro-F1 of the new one less that of the served one, paired."""
    accuracy_difference: Interval
    agreement: float
    """Share of crops to which both answer the same."""
    fixed: int
    """Crops that only the new one answers right."""
    broken: int
    """Crops that only the served one answers right."""
    same_crops: bool
    """Whether it was trained on this very dataset; otherwise it may have learnt some of these test pictures."""


class VariantScore(_Part):
    """A smaller file of the same model on the test split."""

    name: str
    sha256: str
    size_bytes: int
    accuracy: float
    macro_f1: float
    ece: float
    max_difference: float
    """Of a probability from the release, on the test crops."""
    agreement: float


class AugmentedScores(_Part):
    """The same model on the test split, its answers the mean over several views of each crop; nothing is served so."""

    views: list[str]
    accuracy: float
    balanced_accuracy: float
    macro_f1: Interval
    ece: float
    macro_f1_difference: Interval
    """Macro-F1 of the mean less that of the crop as it is, paired."""


class GateRule(_Part):
    """One rule of the gate: the value that was measured and the limit that it is held against."""

    rule: str
    value: float | None
    """None: there was nothing to measure it on, `note` says why."""
    limit: float | None
    """None: the rule is switched off."""
    passed: bool
    at_most: bool = False
    """The limit is the most, not the least, that the value may be."""
    is_count: bool = False
    note: str = ""

    def say(self, number: float) -> str:
        """Write a number of this rule: pictures as a whole number, shares with three digits."""
        return f"{number:.0f}" if self.is_count else f"{number:.3f}"

    def verdict(self) -> str:
        """Say the rule, the value, and by how much it was kept or broken."""
        if self.limit is None:
            return f"{self.rule} is switched off" + ("" if self.value is None else f", it is {self.say(self.value)}")
        must = f"{self.rule} must be at {'most' if self.at_most else 'least'} {self.say(self.limit)}"
        if self.value is None:
            return f"{must}: {self.note}"
        by = abs(self.limit - self.value)
        held = f"{self.say(by)} to spare" if self.passed else f"{by:.3g} too {'much' if self.at_most else 'little'}"
        return f"{must}, got {self.say(self.value)}, {held}"


class Evaluation(_Part):
    """Metrics of the ONNX file on the test split; intervals are 95 % bootstrap, grouped by pixset.

    None is what was not measured.
    """

    group: str
    experiment: str
    onnx_sha256: str
    classes: list[str]
    test_crops: int
    accuracy: float
    majority_accuracy: float
    """Accuracy of always answering the training split's most frequent class."""
    majority_macro_f1: float
    balanced_accuracy: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    per_class: list[ClassScore]
    confusion: list[list[int]]
    """Rows: true class; columns: predicted class."""
    rules: list[GateRule]
    accuracy_interval: Interval | None = None
    balanced_accuracy_interval: Interval | None = None
    val_macro_f1: float | None = None
    calibration: Calibration | None = None
    slices: list[Slice] = []
    background: BackgroundReliance | None = None
    champion: Comparison | None = None
    champion_note: str = ""
    """Why there is no comparison, or what to bear in mind."""
    variants: list[VariantScore] = []
    augmented: AugmentedScores | None = None
    """Only where `evaluate.test_time_augmentation` asks for it; the gate never looks at it."""

    @property
    def passed(self) -> bool:
        """Tell whether every rule of the gate holds."""
        return all(rule.passed for rule in self.rules)

    def scalars(self) -> dict[str, float]:
        """Return the numbers that runs are compared by; what was not measured is left out."""
        names = ("macro_f1", "macro_f1_low", "macro_f1_high", "balanced_accuracy", "accuracy", "majority_accuracy")
        found = {name: float(getattr(self, name)) for name in names}
        if self.calibration is not None:
            after = self.calibration.after
            found |= {"ece": after.ece, "nll": after.nll, "brier": after.brier}
        if self.background is not None:
            found |= {
                "bg_gap": self.background.bg_gap.value,
                "background_only_accuracy": self.background.background_only_accuracy,
            }
        if self.augmented is not None:
            found["augmented_macro_f1"] = self.augmented.macro_f1.value
        if self.champion is not None:
            found["macro_f1_gain_over_served"] = self.champion.macro_f1_difference.value
        return found

    def refusal(self) -> str:
        """Say which rules the model broke and by how much; empty when it passed."""
        return "; ".join(rule.verdict() for rule in self.rules if not rule.passed)


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write `metrics.json` into `folder`."""
    (folder / FILE_NAME).write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Evaluation:
    """Read `metrics.json` of `folder`."""
    return Evaluation.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
