"""The report of tuned thresholds: precision against recall of each class with the chosen point, and the comparison."""

from __future__ import annotations

from pathlib import Path

from edgeloop.operating_points import COMPARED
from edgeloop.own_thresholds import OwnThresholds
from edgeloop.reports.curves import HEIGHT, WIDTH, plots
from edgeloop.reports.page import write_page
from edgeloop.threshold_tables import said


def write_threshold_report(path: Path, found: OwnThresholds) -> Path:
    """Write the HTML report.

    Raises:
        BadInput: jinja2 is not installed.
    """
    report = found.report
    chosen = {one.name: one.threshold for one in report.classes}
    sets = [("tuned on", found.labelled), *([("held out", found.held_out)] if found.held_out else [])]
    names = report.tuned.names
    return write_page(
        path,
        "thresholds.html.j2",
        report=report,
        said=said(report),
        sets=[(name, plots(names, one.matches, None, chosen, COMPARED)) for name, one in sets],
        plot=(WIDTH, HEIGHT),
    )
