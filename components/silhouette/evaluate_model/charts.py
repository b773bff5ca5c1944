"""Charts as SVG, small and sharp at any size; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from silhouette.evaluate_model.calibration import BINS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.contracts.evaluation import CalibrationScores, Evaluation
    from silhouette.evaluate_model.scores import Curve

PALETTE = ("#3465c8", "#d97b24", "#23936b", "#b83f7c", "#7b5fc9", "#2b9db5", "#9a7b20", "#c8453c", "#5b7a3a", "#6f7682")
_SIDE, _LEFT, _TOP = 300, 40, 10  # of a plot's area and its margins
_TICKS = (0, 0.25, 0.5, 0.75, 1)


def colour(number: int) -> str:
    """Return the colour of a class."""
    return PALETTE[number % len(PALETTE)]


def curve_chart(curves: Sequence[Curve], *, classes: Sequence[str], x: str, y: str, diagonal: bool) -> Markup:
    """Draw curves over the unit square, one colour a class; `diagonal` marks what guessing would give."""
    parts = [_axes(x, y)]
    if diagonal:
        parts.append(Markup('<line class="guess" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*_at(0, 0), *_at(1, 1)))
    for curve in curves:
        points = " ".join("{:.1f},{:.1f}".format(*_at(a, b)) for a, b in zip(curve.x, curve.y, strict=True))
        line = Markup('<polyline points="{}" style="stroke:{}"><title>{}</title></polyline>')
        parts.append(line.format(points, colour(list(classes).index(curve.name)), curve.name))
    return _svg(_LEFT + _SIDE + 12, _TOP + _SIDE + 44, parts, f"{y} over {x}")


def gauge(evaluation: Evaluation) -> Markup:
    """Draw macro-F1 with its interval on a line from 0 to 1, beside the gate's limit and the majority class."""
    width, line, scale = 640, 46, 600

    def place(value: float) -> float:
        return 20 + value * scale

    parts = [Markup('<rect class="track" x="20" y="{}" width="{}" height="10" rx="5"/>').format(line - 5, scale)]
    low, high = place(evaluation.macro_f1_low), place(evaluation.macro_f1_high)
    parts.append(
        Markup('<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="10" rx="5"/>').format(
            low, line - 5, high - low
        )
    )
    number = Markup('<text class="tick" x="{}" y="{}">{:g}</text>')
    parts += [number.format(place(tick), line + 50, tick) for tick in _TICKS]
    marks = [("majority class", evaluation.majority_macro_f1, line + 28, "low")]
    limits = [rule.limit for rule in evaluation.rules if rule.rule == "macro_f1"]
    marks += [("gate", limit, line - 22, "gate") for limit in limits if limit is not None]
    for name, value, y, style in marks:
        end = line + 15 if y > line else line - 16
        mark = Markup(
            '<line class="{}" x1="{x}" x2="{x}" y1="{}" y2="{}"/><text class="{}" x="{x}" y="{}">{} {:.2f}</text>'
        )
        parts.append(mark.format(style, line, end, style, y, name, value, x=f"{place(value):.1f}"))
    parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{}" r="8"/>').format(place(evaluation.macro_f1), line))
    return _svg(width, line + 56, parts, "macro-F1 with its interval, the gate and the majority class")


def confidence_chart(right: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> Markup:
    """Draw how sure the model was, from 0 to 1 in 20 bars: right answers below, wrong ones on top of them."""
    import numpy as np

    edges = np.linspace(0, 1, 21)
    below, above = np.histogram(right, edges)[0], np.histogram(wrong, edges)[0]
    top = 4 * _round_step(max(1, int((below + above).max())) / 4)
    parts = [_axes("probability of the answer", "crops", top)]
    bar = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{} {}</title></rect>')
    for start, good, bad in zip(edges[:-1], below, above, strict=True):
        x, base, wide = _LEFT + start * _SIDE + 1, _TOP + _SIDE, _SIDE / 20 - 2
        tall, more = good / top * _SIDE, bad / top * _SIDE
        parts.append(bar.format("right", x, base - tall, wide, tall, good, "right"))
        parts.append(bar.format("wrong", x, base - tall - more, wide, more, bad, "wrong"))
    return _svg(_LEFT + _SIDE + 12, _TOP + _SIDE + 44, parts, "how sure the model was, right and wrong answers")


def reliability_chart(scores: CalibrationScores) -> Markup:
    """Draw accuracy over confidence, a bar a bin (DeGroot & Fienberg 1983); a bar is as deep as it has crops.

    Red is what a bar lacks to its confidence (too sure), green what it has beyond (not sure enough).
    """
    total, parts = sum(each.crops for each in scores.bins), [_axes("probability of the answer", "share that is right")]
    bar = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" style="opacity:{:.2f}"/>')
    about = Markup('<rect class="about" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>')
    for each in scores.bins:
        left, wide = _LEFT + (math.ceil(each.confidence * BINS) - 1) * _SIDE / BINS + 1, _SIDE / BINS - 2
        both = min(each.accuracy, each.confidence)
        top, end, base = _at(0, max(each.accuracy, each.confidence))[1], _at(0, both)[1], _at(0, 0)[1]
        deep = 0.3 + 0.7 * (each.crops / total) ** 0.5
        parts.append(bar.format("share", left, end, wide, base - end, deep))
        kind = "spare" if each.accuracy > each.confidence else "gap"
        parts.append(bar.format(kind, left, top, wide, end - top, deep))
        told = f"{each.crops} crops: sure to {each.confidence:.0%}, right {each.accuracy:.0%}"
        parts.append(about.format(left, _TOP, wide, _SIDE, told))
    parts.append(Markup('<line class="guess" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*_at(0, 0), *_at(1, 1)))
    return _svg(_LEFT + _SIDE + 12, _TOP + _SIDE + 44, parts, "reliability diagram")


def interval_bar(low: float, value: float, high: float, *, around: float | None = None) -> Markup:
    """Draw an interval from 0 to 1 as a line with a dot; `around` is a mark to compare it with."""
    parts = [Markup('<line class="grid" x1="4" x2="204" y1="9" y2="9"/>')]
    if around is not None:
        mark = Markup('<line class="guess" x1="{x}" x2="{x}" y1="1" y2="17"/>')
        parts.append(mark.format(x=f"{4 + 200 * around:.1f}"))
    line = Markup(
        '<line class="range" x1="{:.1f}" x2="{:.1f}" y1="9" y2="9"/><circle class="dot" cx="{:.1f}" cy="9" r="5"/>'
    )
    parts.append(line.format(4 + 200 * low, 4 + 200 * high, 4 + 200 * value))
    return _svg(208, 18, parts, f"{value:.2f}, {low:.2f} to {high:.2f}")


def difference_chart(value: float, low: float, high: float) -> Markup:
    """Draw the interval of a difference around zero; left of it is worse."""
    reach = max(0.05, -low, high) * 1.15
    width, line, middle = 640, 40, 320

    def place(at: float) -> float:
        return middle + at / reach * 300

    parts = [Markup('<rect class="track" x="20" y="{}" width="600" height="10" rx="5"/>').format(line - 5)]
    band = Markup('<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="10" rx="5"/>')
    parts.append(band.format(place(low), line - 5, max(2.0, place(high) - place(low))))
    parts.append(
        Markup('<line class="gate" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(line - 14, line + 14, x=middle)
    )
    parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{}" r="8"/>').format(place(value), line))
    text = Markup('<text class="{}" x="{:.1f}" y="{}">{}</text>')
    parts += [
        text.format("tick", place(low), line + 30, f"{low:+.3f}"),
        text.format("tick", place(high), line + 30, f"{high:+.3f}"),
    ]
    parts += [text.format("tick", 60, 14, "served is better"), text.format("tick", 590, 14, "new is better")]
    return _svg(width, line + 36, parts, f"difference of macro-F1, {value:+.3f}")


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, 50, ... that is not below `least`."""
    step = 1.0
    while step < least:
        step *= 2.5 if f"{step:g}".startswith("2") else 2
    return step


def _at(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE


def _axes(x: str, y: str, highest: float = 1) -> Markup:
    parts, base, right = [], _TOP + _SIDE, _LEFT + _SIDE
    for tick in _TICKS:
        left, top = _at(tick, tick)
        parts += [
            Markup('<line class="grid" x1="{}" x2="{}" y1="{t}" y2="{t}"/>').format(_LEFT, right, t=top),
            Markup('<line class="grid" x1="{l}" x2="{l}" y1="{}" y2="{}"/>').format(_TOP, base, l=left),
            Markup('<text class="tick" x="{}" y="{}">{:g}</text>').format(left, base + 16, tick),
            Markup('<text class="tick side" x="{}" y="{}">{:g}</text>').format(_LEFT - 6, top + 4, tick * highest),
        ]
    turned = Markup('<text class="axis" transform="translate(10 {}) rotate(-90)">{}</text>')
    parts += [
        Markup('<text class="axis" x="{}" y="{}">{}</text>').format(_LEFT + _SIDE / 2, base + 36, x),
        turned.format(_TOP + _SIDE / 2, y),
    ]
    return Markup("").join(parts)


def _svg(width: float, height: float, parts: Sequence[Markup], label: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, escape(label))
    return head + Markup("").join(parts) + Markup("</svg>")
