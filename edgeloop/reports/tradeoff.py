"""Accuracy against latency as points of a small SVG: intervals, the Pareto front, and the budget of the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.artifact import Precision
from edgeloop.measures import Interval
from edgeloop.pareto import not_dominated

WIDTH, HEIGHT = 430, 280  # of the plot, SVG units
RADIUS = 5.0
LABEL = 14.0  # side of the square that a number takes
PLACES = ((11, -9), (11, 9), (-11, -9), (-11, 9), (0, -15), (0, 15), (22, -9), (22, 9), (-22, -9), (-22, 9))
FAR = 4.0  # a budget this many times beyond the slowest p99 is told, not drawn: it would squeeze the points
STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # ticks in each decade of milliseconds


@dataclass(frozen=True)
class Point:
    """One file on one audit set: mAP50-95 with its interval (0..1), p50 and p99 in milliseconds."""

    number: int
    title: str
    precision: Precision
    shipped: bool
    p50: float
    p99: float
    accuracy: Interval


@dataclass(frozen=True)
class Mark:
    """A point in the plot; y runs down. `top` to `bottom` is the interval, `x` to `right` p50 to p99."""

    point: Point
    x: float
    y: float
    top: float
    bottom: float
    right: float
    label: tuple[float, float]
    on_front: bool
    in_budget: bool


@dataclass(frozen=True)
class TradeOff:
    """One plot. `front` is an SVG polyline of steps; `budget` where the line lies, None when it is far to the right."""

    audit: str
    marks: tuple[Mark, ...]
    front: str
    budget: float | None
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def draw(audit: str, points: Sequence[Point], budget: float) -> TradeOff:
    """Place at least one point of an audit set. Latency is on a logarithmic scale.

    Args:
        audit: name of the set.
        points: what was measured.
        budget: milliseconds that a p99 may take.
    """
    slowest = max(one.p99 for one in points)
    near = budget <= FAR * slowest
    times = [min(one.p50 for one in points) / 1.15, max(slowest, budget if near else 0.0) * 1.15]
    low, high = _padded([end for one in points for end in (one.accuracy.low, one.accuracy.high)])

    def across(time: float) -> float:
        return math.log(time / times[0]) / math.log(times[1] / times[0]) * WIDTH

    def down(value: float) -> float:
        return (high - value) / (high - low) * HEIGHT

    front = not_dominated([[one.p50, -one.accuracy.value] for one in points])
    places = [(across(one.p50), down(one.accuracy.value)) for one in points]
    marks = tuple(
        Mark(
            point=one, x=x, y=y, top=down(one.accuracy.high), bottom=down(one.accuracy.low), right=across(one.p99),
            label=label, on_front=bool(kept), in_budget=one.p99 <= budget,
        )
        for one, (x, y), label, kept in zip(points, places, _labels(places), front, strict=True)
    )  # fmt: skip
    return TradeOff(
        audit=audit,
        marks=marks,
        front=_steps([(mark.x, mark.y) for mark in marks if mark.on_front]),
        budget=across(budget) if near else None,
        x_ticks=tuple((across(time), f"{time:g}") for time in _log_ticks(*times)),
        y_ticks=tuple((down(value), f"{value * 100:.4g} %") for value in _ticks(low, high)),
    )


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """The range of values in 0..1 with room around it."""
    room = max((max(values) - min(values)) * 0.1, 0.005)
    return max(min(values) - room, 0.0), min(max(values) + room, 1.0)


def _steps(corners: Sequence[tuple[float, float]]) -> str:
    """From the fastest to the most accurate, along what the front reaches: right first, then up."""
    ordered = sorted(corners)
    path = [ordered[0]]
    for x, y in ordered[1:]:
        path += [(x, path[-1][1]), (x, y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**decade for decade in decades for step in STEPS if low <= step * 10.0**decade <= high]
    return found if len(found) < 8 else found[:: math.ceil(len(found) / 7)]


def _ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten: three to seven of them."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _labels(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where each number stands: beside its point, at the first place that no point or number has."""
    taken = list(places)
    found = []
    for x, y in places:
        options = [(x + right, y + down) for right, down in PLACES]
        free = [one for one in options if all(_apart(one, other) for other in taken)]
        found.append((free or options)[0])
        taken.append(found[-1])
    return found


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) >= LABEL - 3 or abs(one[1] - other[1]) >= LABEL - 3
