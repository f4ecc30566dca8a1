"""An evaluation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edgeloop.measures import ClassScore, EvaluationReport, Interval, Part, RobustnessReport
from edgeloop.own_evaluation import OwnEvaluation
from edgeloop.tables import table

DASH = "–"


def evaluation_tables(found: OwnEvaluation) -> list[Table]:
    """The whole set, its classes, cameras and sizes, calibration, and robustness where it was run."""
    report = found.report
    tables = [_overall(found), _classes(report.classes)]
    if report.cameras:
        tables.append(_parts("Cameras", report.cameras))
    tables.append(_parts("Sizes: COCO's limits in pixels, and as shares of the frame", report.sizes))
    if report.calibration:
        tables.append(_calibration(report))
    if found.robustness:
        tables.append(robustness_table(found.robustness))
    return tables


def stated(value: float | None, interval: Interval | None, digits: int = 3) -> str:
    """A number with its interval."""
    if value is None:
        return DASH
    if interval is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _of(interval: Interval | None, digits: int = 3) -> str:
    return stated(interval.value if interval else None, interval, digits)


def _overall(found: OwnEvaluation) -> Table:
    report, artifact = found.report, found.artifact
    side = "all frames" if found.side == "all" else f"the {found.side} side"
    made = table(
        f"{artifact.path.name} ({artifact.precision}, {artifact.imgsz} px, {report.runtime}) on {side} of "
        f"{report.audit}, {report.frames} frames",
        "", "value and interval",
    )  # fmt: skip
    interval = report.intervals.get
    rows = {
        "mAP50-95": stated(report.map50_95, interval("map50_95")),
        "mAP50": stated(report.map50, interval("map50")),
        "false positives / 1,000 frames": stated(
            report.false_positives_per_1000_frames, interval("false_positives_per_1000_frames"), 0
        ),
        "missed / 1,000 frames": stated(report.missed_per_1000_frames, interval("missed_per_1000_frames"), 0),
    }
    if report.critical:
        name = f"miss rate of {', '.join(report.critical)}"
        rows[name] = stated(report.critical_miss_rate, interval("critical_miss_rate"))
    if report.effective_frames is not None:
        rows["frames that would say as much, equally weighted"] = f"{report.effective_frames:.0f}"
    for name, value in rows.items():
        made.add_row(Text(name), value)
    return made


def _classes(classes: Sequence[ClassScore]) -> Table:
    made = table(
        "Classes, rates at each one's threshold", "class", "boxes", "AP50-95", "AP50", "threshold", "precision",
        "recall", "false / 1000", "D-ECE",
    )  # fmt: skip
    for one in classes:
        if not one.truths:
            false = stated(one.false_positives_per_1000_frames, None, 0)
            made.add_row(
                Text(one.name), "0", Text("not judged", "yellow"), "", f"{one.threshold:.2f}", "", "", false, ""
            )
            continue
        interval = one.intervals.get
        made.add_row(
            Text(one.name), str(one.truths), stated(one.ap50_95, interval("ap50_95")),
            stated(one.ap50, None), f"{one.threshold:.2f}", stated(one.precision, None, 2),
            stated(one.recall, interval("recall"), 2), stated(one.false_positives_per_1000_frames, None, 0),
            stated(one.calibration_error, None),
        )  # fmt: skip
    return made


def _parts(title: str, parts: Sequence[Part]) -> Table:
    made = table(title, "", "frames", "boxes", "mAP50-95", "mAP50", "recall", "false / 1000")
    for one in parts:
        name = one.name if one.kind == "camera" else f"{one.name} by {one.kind}"
        rates = (_of(one.map50_95), _of(one.map50), _of(one.recall, 2), _of(one.false_positives_per_1000_frames, 0))
        made.add_row(Text(name), str(one.frames), str(one.truths), *rates)
    return made


def _calibration(report: EvaluationReport) -> Table:
    found = report.calibration
    made = table("Calibration error (D-ECE)", "bins of", "error", "by chance alone", "detections in full bins")
    if found:
        made.add_row("confidence", _of(found.error), f"{found.by_chance:.3f}", "100 %")
        for one in found.conditional:
            covered = f"{one.covered:.0%}".replace("%", " %")
            made.add_row(f"confidence, {one.given}", f"{one.error:.3f}", f"{one.by_chance:.3f}", covered)
        made.caption = f"{found.detections} detections of at least {found.floor}; 0 is perfect, chance is unavoidable."
    return made


def robustness_table(report: RobustnessReport) -> Table:
    """mAP50-95 at each severity, and what each corruption leaves of the clean value."""
    severities = report.settings.severities
    made = table(
        f"Robustness, {report.frames} frames: clean {_of(report.clean)}, mPC {_of(report.mpc)}, rPC {_of(report.rpc)}",
        "mAP50-95", *(str(severity) for severity in severities), "mean", "kept",
    )  # fmt: skip
    for one in report.corruptions:
        row = [condition.map50_95 for condition in report.conditions if condition.corruption == one.corruption]
        values = (DASH if found is None else f"{found.value:.3f}" for found in row)
        made.add_row(one.corruption, *values, _of(one.mean), _of(one.kept, 2))
    return made
