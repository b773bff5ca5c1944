"""The evaluation as one self-contained HTML page that a person reads from top to bottom.

Reads what `evaluate` measured and the test crops; writes nothing itself. Every name is escaped by the template.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette.evaluate_model import charts, scores

if TYPE_CHECKING:
    from silhouette.contracts.crops import CropsHead, CropTable
    from silhouette.contracts.evaluation import Evaluation
    from silhouette.contracts.model_bundle import ModelCard
    from silhouette.evaluate_model.scores import Answers

_WORST, _RIGHT = 18, 12  # pictures shown
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A crop on the page: its picture as a data URI, and what the model said."""

    uri: str
    picture_id: str
    label: str
    predicted: str
    probability: float
    label_probability: float


def render(
    evaluation: Evaluation, *, card: ModelCard, head: CropsHead, test: Answers, val: Answers | None, table: CropTable
) -> str:
    """Return the page.

    Args:
        evaluation: The numbers and the verdict.
        card: Of the model.
        head: Of the crops.
        test: The answers on the test split.
        val: The answers on the val split, for information.
        table: The crops of the test split, in the order of `test`.
    """
    import jinja2

    page = jinja2.Environment(
        loader=jinja2.PackageLoader("silhouette.evaluate_model", "."), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    ).get_template(_TEMPLATE)  # fmt: skip
    right = test.predicted == test.labels
    sure = test.probabilities.max(axis=1)
    roc = scores.roc_curves(test, head.classes)
    precision_recall = scores.precision_recall_curves(test, head.classes)
    rates = {"x": "false positive rate", "y": "true positive rate"}
    areas = {curve.name: curve.area for curve in roc}
    precisions = {curve.name: curve.area for curve in precision_recall}
    worst, good = _worst(test), _typical(test)
    return page.render(
        evaluation=evaluation, card=card, head=head,
        val_macro_f1=None if val is None else float(scores.f1_of(val.confusion).mean()),
        colours=[charts.colour(number) for number in range(len(head.classes))],
        areas=areas, precisions=precisions, gauge=charts.gauge(evaluation),
        roc=charts.curve_chart(roc, classes=head.classes, diagonal=True, **rates),
        precision_recall=charts.curve_chart(
            precision_recall, classes=head.classes, x="recall", y="precision", diagonal=False
        ),
        confidence=charts.confidence_chart(sure[right], sure[~right]),
        mistakes=int((~right).sum()), confused=_confused(evaluation),
        worst=[_show(row, test, table, head.classes) for row in worst],
        good=[_show(row, test, table, head.classes) for row in good],
    )  # fmt: skip


def _worst(test: Answers) -> list[int]:
    """Return the wrong answers that the model was surest of."""
    wrong = (test.predicted != test.labels).nonzero()[0]
    return [int(row) for row in wrong[(-test.probabilities[wrong].max(axis=1)).argsort(kind="stable")][:_WORST]]


def _typical(test: Answers) -> list[int]:
    """Return right answers of every class in turn: the surest, the middling and the barely right one."""
    sure, chosen = test.probabilities.max(axis=1), []
    classes = test.probabilities.shape[1]
    each = max(1, _RIGHT // classes)
    for number in range(classes):
        rows = ((test.labels == number) & (test.predicted == number)).nonzero()[0]
        rows = rows[(-sure[rows]).argsort(kind="stable")]
        places = {round(step * (len(rows) - 1) / max(1, each - 1)) for step in range(each)} if len(rows) else set()
        chosen += [int(rows[place]) for place in sorted(places)]
    return chosen[: max(_RIGHT, classes)]


def _confused(evaluation: Evaluation) -> list[tuple[int, str, str]]:
    """Return the three most frequent confusions: (crops, true class, predicted class)."""
    names = evaluation.classes
    pairs = [
        (count, names[true], names[said])
        for true, row in enumerate(evaluation.confusion)
        for said, count in enumerate(row)
        if true != said and count
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:3]


def _show(row: int, test: Answers, table: CropTable, classes: list[str]) -> Shown:
    crop = table[row]
    said, true = int(test.predicted[row]), int(test.labels[row])
    return Shown(
        uri="data:image/jpeg;base64," + base64.b64encode(crop.jpeg).decode(),
        picture_id=crop.picture_id, label=classes[true], predicted=classes[said],
        probability=float(test.probabilities[row, said]), label_probability=float(test.probabilities[row, true]),
    )  # fmt: skip
