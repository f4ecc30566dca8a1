"""Tuned thresholds as tables for the terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from edgeloop.measures import Interval, ThresholdReport
from edgeloop.tables import table


def threshold_tables(report: ThresholdReport) -> list[RenderableType]:
    """Each threshold with what it rests on, the comparison with global ones, and what a reader must know."""
    classes = table(
        f"Thresholds of {report.tuned.path.name}, tuned on {report.frames} frames with {report.truths} labelled boxes",
        "class", "asked for", "threshold", "95 %", "its own", "labels", "recall", "rests on",
    )  # fmt: skip
    for one in report.classes:
        classes.add_row(
            Text(one.name), one.objective, f"{one.threshold:.3f}", f"{one.low:.3f} to {one.high:.3f}",
            "–" if one.own is None else f"{one.own:.3f}", str(one.truths), _share(one.recall), one.basis,
        )  # fmt: skip
    rare = f"recall of {report.rarest}" if report.rarest else "recall of the rarest"
    compared = table(
        "Compared, at IoU 0.5", "thresholds", "frames", "recall", rare, "precision", "false / 1,000 frames",
        "missed / 1,000 frames", f"F{report.beta:g}", "cost / 1,000 frames",
    )  # fmt: skip
    for point in report.comparison:
        compared.add_row(
            point.name, point.on, _plain(point.recall), _plain(point.recalls.get(report.rarest or "")),
            _plain(point.precision), f"{point.false_positives_per_1000_frames:,.0f}",
            f"{point.missed_per_1000_frames:,.0f}", _plain(point.f_beta),
            "–" if point.cost_per_1000_frames is None else f"{point.cost_per_1000_frames:,.0f}",
        )  # fmt: skip
    return [classes, compared, *map(Text, said(report))]


def said(report: ThresholdReport) -> list[str]:
    """What a reader must know, a sentence each."""
    lines = [f"warning: {report.warning}"] if report.warning else []
    if report.saving is not None:
        on = report.comparison[-1].on
        lines.append(f"Cost saved against a global 0.5 on {on} frames: {_share(report.saving)}.")
    if report.shifted:
        moved = ", ".join(f"{name} x {value:.2f}" for name, value in report.shifted.items())
        lines.append(
            f"In production, against the tuning frames: {moved}. Estimated from scores alone, assuming that only how "
            "often a class occurs has changed, not what it looks like."
        )
    return [*lines, *report.remarks]


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}".replace("%", " %")


def _share(found: Interval | None) -> str:
    return "–" if found is None else f"{_plain(found.value)} ({_plain(found.low)} to {_plain(found.high)})"
