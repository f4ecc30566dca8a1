"""Tuned thresholds as tables for the terminal"""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgeloop.measures import Interval, ThresholdReport
from edgeloop.operating_points import Asked
from edgeloop.tables import table

DASH = "–"


def threshold_tables(report: ThresholdReport) -> list[RenderableType]:
    """Each threshold with what it rests on, the comparison with global ones, and what a reader must know."""
    tables: list[RenderableType] = [_classes(report)]
    if not report.warning:
        tables.append(_compared(report))
    if report.priors:
        tables.append(_priors(report))
    return [*tables, *map(Text, said(report))]


def said(report: ThresholdReport) -> list[str]:
    """What a reader must know, a sentence each; where nothing was tuned, that alone."""
    if report.warning:
        return [f"warning: {report.warning}"]
    lines = []
    if report.card:
        lines.append(f"Costs: {_costs((report.tuned.names, report.card))}.")
    on = report.comparison[-1].on
    saved = [f"{_share(found)} against {name}" for name, found in report.savings.items()]
    if saved:
        lines.append(f"Cost saved on the {on} frames: {', '.join(saved)}.")
    if on == "tuning":
        lines.append("Nothing was held out: the comparison is on the frames that were tuned on, and flatters.")
    if report.effective_frames is not None:
        lines.append(f"Weighted: {report.effective_frames:.0f} equally weighted frames would say as much.")
    if report.priors:
        lines.append(
            "Rates and costs are at the prevalence of production as its scores tell it, assuming that only how often "
            "right and wrong detections come has changed, not what scores they get."
        )
    return [*lines, *report.remarks]


def _classes(report: ThresholdReport) -> Table:
    how = "not tuned, for" if report.warning else "tuned on"
    made = table(
        f"Thresholds of {report.tuned.path.name}, {how} {report.frames} frames with {report.truths} labelled boxes",
        "class", "asked for", "threshold", "95 %", "its own", "all", "labels", "recall", "at least", "rests on",
    )  # fmt: skip
    for one in report.classes:
        made.add_row(
            Text(one.name), one.objective, f"{one.threshold:.3f}", f"{one.low:.3f} to {one.high:.3f}",
            _number(one.own), _number(one.everyone), str(one.truths), _share(one.recall), _plain(one.recall_bound),
            one.basis,
        )  # fmt: skip
    made.caption = "All: the same rule for all classes together. At least: one-sided 95 % bound of the recall."
    return made


def _compared(report: ThresholdReport) -> Table:
    rare = f"recall of {report.rarest}" if report.rarest else "recall of the rarest"
    made = table(
        "Compared, at IoU 0.5", "thresholds", "frames", "recall", rare, "precision", "false / 1,000 frames",
        "missed / 1,000 frames", f"F{report.beta:g}", "cost / 1,000 frames",
    )  # fmt: skip
    for point in report.comparison:
        made.add_row(
            point.name, point.on, _plain(point.recall), _plain(point.recalls.get(report.rarest or "")),
            _plain(point.precision), f"{point.false_positives_per_1000_frames:,.0f}",
            f"{point.missed_per_1000_frames:,.0f}", _plain(point.f_beta),
            DASH if point.cost_per_1000_frames is None else f"{point.cost_per_1000_frames:,.0f}",
        )  # fmt: skip
    return made


def _priors(report: ThresholdReport) -> Table:
    made = table(
        "Production against the tuning frames, by expectation and maximisation on calibrated scores",
        "class", "candidates", "right here", "right there", "right, times", "wrong, times",
    )  # fmt: skip
    for one in report.priors:
        ratios = (f"{one.right_ratio:.2f}", f"{one.wrong_ratio:.2f}") if not one.note else (DASH, DASH)
        made.add_row(Text(one.name), f"{one.candidates:,}", _plain(one.labelled), _share(one.production), *ratios)
        if one.note:
            made.add_row(Text(f"  {one.note}", "yellow"))
    return made


def _costs(of: Asked) -> str:
    """What the card says a false positive and a miss cost, by classes that say the same."""
    names, card = of
    groups: dict[tuple[float, float], list[str]] = {}
    for name in names:
        mine = card.of_class(name)
        groups.setdefault((mine.cost_false, mine.cost_miss), []).append(name)
    if len(groups) == 1:
        false, miss = next(iter(groups))
        return f"a false positive {false:g}, a miss {miss:g}"
    return "; ".join(
        f"{', '.join(those)}: a false positive {false:g}, a miss {miss:g}" for (false, miss), those in groups.items()
    )


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _plain(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}".replace("%", " %")


def _share(found: Interval | None) -> str:
    return DASH if found is None else f"{_plain(found.value)} ({_plain(found.low)} to {_plain(found.high)})"
