"""What the judge found: metrics on the test split and the gate's verdict, as `metrics.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE_NAME = "metrics.json"
REPORT_NAME = "report.html"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassScore(_Part):
    """One class on the test split."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class GateRule(_Part):
    """One rule of the gate: the value that was measured and the limit that it is held against."""

    rule: str
    value: float
    limit: float
    passed: bool


class Evaluation(_Part):
    """Metrics of the ONNX file on the test split; intervals are 95 % bootstrap, grouped by pixset."""

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

    @property
    def passed(self) -> bool:
        """Tell whether every rule of the gate holds."""
        return all(rule.passed for rule in self.rules)

    def refusal(self) -> str:
        """Say which rules the model broke and by how much; empty when it passed."""
        broken = [rule for rule in self.rules if not rule.passed]
        return "; ".join(f"{rule.rule} must be at least {rule.limit:.3f}, got {rule.value:.3f}" for rule in broken)


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write `metrics.json` into `folder`."""
    (folder / FILE_NAME).write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Evaluation:
    """Read `metrics.json` of `folder`."""
    return Evaluation.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
