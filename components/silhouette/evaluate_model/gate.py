"""The gate: what a model must show before it is deployed. Every rule says its value, its limit, and by how much.

A rule whose number is noisy on a small test split is held against the end of its interval that speaks for the model:
it refuses what was proved to be bad, not what was not proved to be good. What is too small to prove anything is the
business of `min_test_pictures_per_class`, and of the reader, who sees the intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silhouette.contracts.evaluation import GateRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from silhouette.config import GateConfig
    from silhouette.contracts.evaluation import BackgroundReliance, Calibration, Comparison


def rules_of(
    gate: GateConfig,
    *,
    macro_f1: float,
    calibration: Calibration,
    background: BackgroundReliance,
    champion: Comparison | None,
    champion_note: str,
    pictures: Mapping[str, int],
) -> list[GateRule]:
    """Hold what was measured against the gate.

    Args:
        gate: The limits; None switches a rule off.
        macro_f1: On the test split.
        calibration: On the test split.
        background: On the test split.
        champion: The comparison with the served model; None: there is none, `champion_note` says why.
        champion_note: As above.
        pictures: Test pictures per class.
    """
    excess = max(0.0, calibration.after.ece - calibration.ece_by_chance)
    fewest = min(pictures, key=lambda name: pictures[name])
    gain = None if champion is None else champion.macro_f1_difference
    least = None if gate.max_regression is None else 0.0 - gate.max_regression  # 0.0 -: never minus zero
    return [
        _least("macro_f1", macro_f1, gate.min_macro_f1, "on the test split"),
        _most("ece", excess, gate.max_ece, f"ECE {calibration.after.ece:.3f}, less the {calibration.ece_by_chance:.3f}"
              " that a perfectly calibrated model may show on so few crops"),
        _most("bg_gap", background.bg_gap.low, gate.max_bg_gap,
              f"the low end of BG-Gap {background.bg_gap.value:.3f} ({background.bg_gap.low:.3f} to"
              f" {background.bg_gap.high:.3f})"),
        _least("gain_over_served", None if gain is None else gain.high, least,
               champion_note if gain is None else "the high end of the macro-F1 difference"
               f" {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) from the served model"),
        _least("test_pictures_per_class", pictures[fewest], gate.min_test_pictures_per_class,
               f"of the class that has fewest, {fewest}").model_copy(update={"is_count": True}),
    ]  # fmt: skip


def _least(rule: str, value: float | None, limit: float | None, note: str) -> GateRule:
    passed = value is None or limit is None or value >= limit
    return GateRule(rule=rule, value=value, limit=limit, passed=passed, note=note)


def _most(rule: str, value: float, limit: float | None, note: str) -> GateRule:
    passed = limit is None or value <= limit
    return GateRule(rule=rule, value=value, limit=limit, passed=passed, at_most=True, note=note)
