"""The evaluation as one self-contained HTML page that a person reads from top to bottom.

Reads what `evaluate` measured and the test crops; writes nothing itself. Every name is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from silhouette.evaluate_model import charts, pictures, scores

if TYPE_CHECKING:
    from markupsafe import Markup

    from silhouette.contracts.crops import CropsHead, CropTable
    from silhouette.contracts.evaluation import Evaluation, Slice
    from silhouette.contracts.model_bundle import ModelCard
    from silhouette.evaluate_model.reliance import Example
    from silhouette.evaluate_model.scores import Answers

_TEMPLATE = "report.html.j2"
_SLICES = {
    "size": "By size of the person, longer side on the picture",
    "shape": "By shape of the box",
    "score": "By the segmenter's score",
    "pixset": "By shoot, those that look worst",
}
_VERSIONS = {
    "original": ("as it is", "what the model is judged on"),
    "swapped": ("swapped", "the person over another background"),
    "same_class": ("own class's background", "a training background of the same class"),
    "other_class": ("other class's background", "a training background of another class"),
    "background_only": ("background only", "the person taken out"),
    "silhouette": ("outline only", "the person painted black"),
    "person_only": ("person only", "everything else grey"),
}
_RULES = {
    "macro_f1": "Good enough",
    "ece": "Honest about how sure it is",
    "bg_gap": "Looks at the person, not at the background",
    "gain_over_served": "Not worse than what is served",
    "test_pictures_per_class": "Enough pictures to judge on",
}


def render(
    evaluation: Evaluation,
    *,
    card: ModelCard,
    head: CropsHead,
    test: Answers,
    table: CropTable,
    examples: Sequence[Example],
) -> str:
    """Return the page.

    Args:
        evaluation: The numbers and the verdict.
        card: Of the model.
        head: Of the crops.
        test: The answers on the test split.
        table: The crops of the test split, in the order of `test`.
        examples: Crops with their backgrounds changed.
    """
    import jinja2

    page = jinja2.Environment(
        loader=jinja2.PackageLoader("silhouette.evaluate_model", "."), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    ).get_template(_TEMPLATE)  # fmt: skip
    right = test.predicted == test.labels
    sure = test.probabilities.max(axis=1)
    rates = {"x": "false positive rate", "y": "true positive rate"}
    return page.render(
        evaluation=evaluation, card=card, head=head, rules=_RULES, versions=_VERSIONS,
        colours=[charts.colour(number) for number in range(len(head.classes))],
        gauge=charts.gauge(evaluation),
        roc=charts.curve_chart(scores.roc_curves(test, head.classes), classes=head.classes, diagonal=True, **rates),
        precision_recall=charts.curve_chart(
            scores.precision_recall_curves(test, head.classes), classes=head.classes, x="recall", y="precision",
            diagonal=False,
        ),
        confidence=charts.confidence_chart(sure[right], sure[~right]),
        reliability=_reliability(evaluation), difference=_difference(evaluation), bar=charts.interval_bar,
        slices=_slices(evaluation),
        mistakes=int((~right).sum()), confused=_confused(evaluation),
        costliest=pictures.costliest(test, table, head.classes), good=pictures.typical(test, table, head.classes),
        views=pictures.views_of(examples, test, table, head.classes),
    )  # fmt: skip


def _reliability(evaluation: Evaluation) -> list[Markup]:
    found = evaluation.calibration
    return [charts.reliability_chart(found.before), charts.reliability_chart(found.after)] if found else []


def _difference(evaluation: Evaluation) -> Markup | None:
    if evaluation.champion is None:
        return None
    found = evaluation.champion.macro_f1_difference
    return charts.difference_chart(found.value, found.low, found.high)


def _slices(evaluation: Evaluation) -> list[tuple[str, list[Slice]]]:
    kinds = [(title, [one for one in evaluation.slices if one.kind == kind]) for kind, title in _SLICES.items()]
    return [(title, found) for title, found in kinds if found]


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
