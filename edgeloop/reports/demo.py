"""The story of one turn of the loop: what was found, what was asked, what was learned, and what it was worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from edgeloop.demo import DemoResult
from edgeloop.drift import DriftReport
from edgeloop.measures import Candidate
from edgeloop.reports.page import write_page
from edgeloop.reports.rows import SetRow, bars, file_rows, set_row
from edgeloop.retraining import RetrainResult

CHART_WIDTH, CHART_HEIGHT = 460, 120  # SVG units
CHART_TOP = 4.0  # multiples of the limit that the chart shows; a higher bar is cut and says so


@dataclass(frozen=True)
class WindowBar:
    """One window of a stream: its largest effect in units of its limit, and where the bar lies in the chart."""

    ratio: float
    column: str
    drifted: bool
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Stream:
    """What drift said of a stream."""

    name: str
    report: DriftReport
    bars: tuple[WindowBar, ...]
    link: str | None


@dataclass(frozen=True)
class Round:
    """One round of training with its decision."""

    name: str
    result: RetrainResult
    link: str | None


def write_demo_report(path: Path, result: DemoResult, device: str) -> Path:
    """Write the HTML page of a demo; it links to the other reports relative to its own place.

    Args:
        path: of the HTML file.
        result: what happened.
        device: name of the target's profile.

    Raises:
        BadInput: jinja2 is not installed.
    """
    folder = path.parent
    rounds = [("Round 1", result.first), *([("Round 2", result.second)] if result.second else [])]
    champions = result.champions()
    last = champions[-1] if champions else None
    budget = {name: count for name, count in result.budget_spent.items() if count}
    return write_page(
        path,
        "demo.html.j2",
        result=result,
        device=device,
        streams=[
            _stream("clean stream", result.calm, folder),
            _stream("drifted stream", result.alarm, folder),
        ],
        rounds=[Round(name, one, _link(one.report, folder)) for name, one in rounds],
        sets=_sets(champions),
        files=file_rows(last, device) if last else [],
        bars=bars([one for one in last.benchmarks if one.device == device and one.batch == 1]) if last else [],
        budget=budget,
        most=max(budget.values(), default=1),
        chart=(CHART_WIDTH, CHART_HEIGHT, CHART_TOP),
    )


def _sets(champions: tuple[Candidate, ...]) -> list[SetRow]:
    """The last champion, or its refused challenger, against the one before, on every audit set."""
    if not champions:
        return []
    newest, before = champions[-1], champions[0] if len(champions) > 1 else None
    audits = dict.fromkeys(report.audit for report in newest.evaluations)
    return [set_row(audit, newest, before) for audit in audits]


def _stream(name: str, report: DriftReport, folder: Path) -> Stream:
    width = CHART_WIDTH / max(len(report.windows), 1)
    drawn = []
    for index, window in enumerate(report.windows):
        ratios = [(one.value / one.limit, one.column) for one in window.columns if one.value is not None and one.limit]
        ratio, column = max(ratios, default=(0.0, "nothing judged"))
        height = min(ratio, CHART_TOP) / CHART_TOP * CHART_HEIGHT
        bar = WindowBar(ratio, column, window.drifted, index * width, CHART_HEIGHT - height, width * 0.8, height)
        drawn.append(bar)
    return Stream(name, report, tuple(drawn), _link(report.html, folder))


def _link(target: Path | None, folder: Path) -> str | None:
    return None if target is None else quote(Path(os.path.relpath(target, folder)).as_posix())
