"""A reliability diagram and curves over severities, as points of small SVGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.measures import Calibration, Condition, Interval, RobustnessReport

SIDE = 240  # of the reliability diagram, SVG units
WIDTH, HEIGHT = 150, 90  # of a curve


@dataclass(frozen=True)
class ReliabilityBar:
    """One bin: a bar as high as its precision, a mark at its confidence, and how many of the detections it holds."""

    x: float
    y: float
    width: float
    height: float
    mark_x: float
    mark_y: float
    share: float  # of the detections, 0..1
    title: str


def reliability_bars(found: Calibration) -> list[ReliabilityBar]:
    """A bar for each bin that holds a detection; y runs down, as in SVG."""
    return [
        ReliabilityBar(
            x=one.low * SIDE,
            y=(1 - one.precision) * SIDE,
            width=(one.high - one.low) * SIDE,
            height=one.precision * SIDE,
            mark_x=one.confidence * SIDE,
            mark_y=(1 - one.precision) * SIDE,
            share=one.detections / found.detections,
            title=f"confidence {one.confidence:.2f}, precision {one.precision:.2f}, {one.detections} detections",
        )
        for one in found.bins
    ]


@dataclass(frozen=True)
class SeverityCurve:
    """One corruption: a polyline and a band from the clean value through the severities, and what is kept."""

    name: str
    line: str
    band: str
    points: tuple[tuple[float, float, str], ...]  # x, y, title
    kept: float | None


def severity_curves(report: RobustnessReport) -> list[SeverityCurve]:
    """A curve of mAP50-95 for each corruption, on one scale from 0 to the clean value's upper end, or above."""
    ends = [report.clean, *(one.map50_95 for one in report.conditions)]
    top = max((one.high for one in ends if one is not None), default=0.0) or 1.0
    return [_curve(report, one.corruption, one.kept.value if one.kept else None, top) for one in report.corruptions]


def _curve(report: RobustnessReport, name: str, kept: float | None, top: float) -> SeverityCurve:
    conditions = [one for one in report.conditions if one.corruption == name]
    shown = [(severity, found) for severity, found in _steps(report, conditions) if found is not None]
    scale = WIDTH / max(report.settings.severities)
    heights = [tuple((1 - value / top) * HEIGHT for value in (one.low, one.value, one.high)) for _, one in shown]
    places = [severity * scale for severity, _ in shown]
    low, middle, high = zip(*heights, strict=True) if heights else ((), (), ())
    return SeverityCurve(
        name=name,
        line=_line(places, middle),
        band=" ".join(filter(None, (_line(places, high), _line(places[::-1], low[::-1])))),
        points=tuple(
            (x, y, f"severity {severity}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]")
            for x, y, (severity, one) in zip(places, middle, shown, strict=True)
        ),
        kept=kept,
    )


def _steps(report: RobustnessReport, conditions: Sequence[Condition]) -> list[tuple[int, Interval | None]]:
    return [(0, report.clean), *((one.severity, one.map50_95) for one in conditions)]


def _line(xs: Sequence[float], ys: Sequence[float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
