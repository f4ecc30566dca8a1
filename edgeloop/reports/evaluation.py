"""The report of one evaluation: the numbers with their intervals, diagrams, and the worst mistakes as pictures."""

from __future__ import annotations

from pathlib import Path

from edgeloop.audit import AuditFrames
from edgeloop.measures import Interval
from edgeloop.own_evaluation import OwnEvaluation
from edgeloop.reports.diagrams import HEIGHT, SIDE, WIDTH, reliability_bars, severity_curves
from edgeloop.reports.page import write_page
from edgeloop.reports.pictures import mistakes_of, worst

PICTURES = 12  # of each kind


def write_evaluation_report(path: Path, found: OwnEvaluation, audit: AuditFrames) -> Path:
    """Write the HTML report of an evaluation on these frames.

    Raises:
        BadInput: the saved detections or an image are missing, or jinja2 is not installed.
    """
    report, mistakes = found.report, mistakes_of(found.artifact, audit, found.report.predictions)
    return write_page(
        path,
        "evaluation.html.j2",
        found=found,
        report=report,
        overall=_overall(found),
        bars=reliability_bars(report.calibration) if report.calibration else [],
        curves=severity_curves(found.robustness) if found.robustness else [],
        side=SIDE,
        curve=(WIDTH, HEIGHT),
        false_positives=worst(mistakes, PICTURES, missed=False),
        misses=worst(mistakes, PICTURES, missed=True),
        counts=(sum(not one.missed for one in mistakes), sum(one.missed for one in mistakes)),
    )


def _overall(found: OwnEvaluation) -> list[tuple[str, float | None, Interval | None, bool]]:
    """Name, value, interval, and whether it is a share, of the whole set."""
    report = found.report
    rows: list[tuple[str, float | None, str, bool]] = [
        ("mAP50-95", report.map50_95, "map50_95", True),
        ("mAP50", report.map50, "map50", True),
        (
            "false positives / 1,000 frames",
            report.false_positives_per_1000_frames,
            "false_positives_per_1000_frames",
            False,
        ),
        ("missed / 1,000 frames", report.missed_per_1000_frames, "missed_per_1000_frames", False),
    ]
    if report.critical:
        name = f"miss rate of {', '.join(report.critical)}"
        rows.append((name, report.critical_miss_rate, "critical_miss_rate", True))
    stated = [(name, value, report.intervals.get(key), is_share) for name, value, key, is_share in rows]
    if report.calibration:
        error = report.calibration.error
        stated.append(("calibration error (D-ECE)", error.value, error, True))
    return stated
