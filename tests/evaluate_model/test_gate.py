"""Each rule of the gate: what it lets through, what it refuses, and that null switches it off."""

from __future__ import annotations

from typing import Any

import pytest

from silhouette.config import GateConfig, load_config
from silhouette.contracts.evaluation import (
    BackgroundReliance,
    Calibration,
    CalibrationScores,
    Comparison,
    GateRule,
    Interval,
)
from silhouette.evaluate_model.gate import rules_of

OFF = dict.fromkeys(GateConfig.model_fields)


def interval(value: float, spread: float) -> Interval:
    return Interval(value=value, low=value - spread, high=value + spread)


def rules(
    *, macro_f1: float = 0.8, ece: float = 0.02, chance: float = 0.01, gap: Interval | None = None,
    gain: Interval | None = None, pictures: dict[str, int] | None = None, **limits: Any,
) -> list[GateRule]:  # fmt: skip
    scores = CalibrationScores(ece=ece, adaptive_ece=ece, nll=1, brier=1, bins=[])
    champion = None
    if gain is not None:
        champion = Comparison(
            version="3", experiment="e", onnx_sha256="0" * 64, accuracy=0.8, macro_f1=0.8, macro_f1_difference=gain,
            accuracy_difference=gain, agreement=0.9, fixed=1, broken=2, same_crops=True,
        )  # fmt: skip
    return rules_of(
        GateConfig.model_validate(OFF | limits), macro_f1=macro_f1,
        calibration=Calibration(temperature=1, before=scores, after=scores, ece_by_chance=chance),
        background=BackgroundReliance(
            crops=9, versions=[], bg_gap=gap or interval(0.0, 0.0), swap_drop=interval(0, 0),
            background_only_accuracy=0.3, majority_accuracy=0.3, explanation="",
        ),
        champion=champion, champion_note="" if champion else "no model is served",
        pictures=pictures or {"a": 9, "b": 5},
    )  # fmt: skip


def broken(**options: Any) -> list[str]:
    return [rule.rule for rule in rules(**options) if not rule.passed]


CASES = {
    "macro-F1": ("macro_f1", {"min_macro_f1": 0.7}, {"macro_f1": 0.7}, {"macro_f1": 0.69}),
    "calibration": ("ece", {"max_ece": 0.05}, {"ece": 0.06, "chance": 0.02}, {"ece": 0.08, "chance": 0.02}),
    "background": (
        "bg_gap", {"max_bg_gap": 0.05}, {"gap": interval(0.1, 0.06)}, {"gap": interval(0.1, 0.04)}
    ),
    "regression": (
        "gain_over_served", {"max_regression": 0.0}, {"gain": interval(-0.1, 0.11)}, {"gain": interval(-0.1, 0.09)}
    ),
    "regression with room": (
        "gain_over_served", {"max_regression": 0.05}, {"gain": interval(-0.1, 0.06)}, {"gain": interval(-0.1, 0.04)}
    ),
    "enough pictures": (
        "test_pictures_per_class", {"min_test_pictures_per_class": 5}, {"pictures": {"a": 9, "b": 5}},
        {"pictures": {"a": 4, "b": 5}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rule_lets_through_what_keeps_it(case: str) -> None:
    _, limits, good, _ = CASES[case]
    assert broken(**limits, **good) == []


@pytest.mark.parametrize("case", CASES)
def test_a_rule_refuses_what_breaks_it_and_says_by_how_much(case: str) -> None:
    name, limits, _, bad = CASES[case]
    assert broken(**limits, **bad) == [name]
    rule = next(rule for rule in rules(**limits, **bad) if rule.rule == name)
    assert rule.limit is not None
    assert rule.value is not None
    side, end = ("most", "much") if rule.at_most else ("least", "little")
    assert rule.verdict().startswith(f"{name} must be at {side} {rule.say(rule.limit)}, got {rule.say(rule.value)}, ")
    assert rule.verdict().endswith(f" too {end}")


@pytest.mark.parametrize("case", CASES)
def test_a_rule_that_is_null_refuses_nothing_and_is_still_told(case: str) -> None:
    name, _, _, bad = CASES[case]
    assert broken(**bad) == []
    rule = next(rule for rule in rules(**bad) if rule.rule == name)
    assert rule.verdict().startswith(f"{name} is switched off, it is ")


def test_without_a_served_model_there_is_nothing_to_be_worse_than() -> None:
    rule = next(rule for rule in rules(max_regression=0.0) if rule.rule == "gain_over_served")
    assert rule.passed
    assert rule.value is None
    assert rule.verdict() == "gain_over_served must be at least 0.000: no model is served"


def test_a_model_that_answers_with_no_number_is_refused() -> None:
    assert broken(macro_f1=float("nan"), min_macro_f1=0.1) == ["macro_f1"]


def test_every_rule_has_a_shipped_limit() -> None:
    assert None not in load_config({}).gate.model_dump().values()
