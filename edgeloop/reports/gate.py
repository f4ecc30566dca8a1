"""The report of one candidate at the gate: the verdict, what it rests on, and what the detector still gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.evidence import class_names, collect, pool
from edgeloop.matching import Matches
from edgeloop.measures import (
    BenchmarkReport,
    Candidate,
    EvaluationReport,
    GateDecision,
    OperatingPoint,
    ThresholdReport,
)
from edgeloop.predictions import load_predictions, renumber
from edgeloop.reports.curves import HEIGHT, WIDTH, Plot, plots
from edgeloop.reports.page import write_page
from edgeloop.reports.pictures import Mistake, find_mistakes, worst
from edgeloop.thresholds import COMPARED, operating_point

PICTURES = 10  # of each kind


@dataclass(frozen=True)
class Judged:
    """A challenger, the champion it was measured against, and the decision."""

    challenger: Candidate
    champion: Candidate | None
    decision: GateDecision


@dataclass(frozen=True)
class SetRow:
    """What challenger and champion reach on one audit set."""

    name: str
    challenger: EvaluationReport | None
    champion: EvaluationReport | None

    @property
    def gain(self) -> float | None:
        """mAP50 gained."""
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger.map50 - self.champion.map50


@dataclass(frozen=True)
class ClassRow:
    """One class on one audit set."""

    audit: str
    name: str
    truths: int
    challenger: float | None
    champion: float | None

    @property
    def gain(self) -> float | None:
        """AP50 gained."""
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger - self.champion


@dataclass(frozen=True)
class FileRow:
    """One precision: accuracy on one audit set against FP32, and its benchmark in its fastest runtime."""

    report: EvaluationReport
    loss: float | None
    benchmark: BenchmarkReport | None
    shipped: bool


def write_gate_report(path: Path, judged: Judged, audits: Sequence[AuditFrames], device: str) -> Path:
    """Write the HTML report of a decision.

    Args:
        path: of the HTML file.
        judged: what was decided about whom.
        audits: the scoring halves that the decision rests on.
        device: name of the target's profile.

    Raises:
        BadInput: saved detections are missing, or jinja2 is not installed.
    """
    challenger, champion = judged.challenger, judged.champion
    mistakes = [mistake for audit in audits for mistake in _mistakes(challenger, audit)]
    curves, points = _curves(judged, audits)
    return write_page(
        path,
        "gate.html.j2",
        decision=judged.decision,
        shipped=challenger.shipped,
        device=device,
        sets=[_set_row(audit.name, challenger, champion) for audit in audits],
        classes=_class_rows(challenger, champion),
        files=_file_rows(challenger, device),
        bars=bars([one for one in challenger.benchmarks if one.device == device and one.batch == 1]),
        thresholds=challenger.thresholds,
        curves=curves,
        points=points,
        plot=(WIDTH, HEIGHT),
        false_positives=worst(mistakes, PICTURES, missed=False),
        misses=worst(mistakes, PICTURES, missed=True),
        counts=(sum(not one.missed for one in mistakes), sum(one.missed for one in mistakes)),
    )


def _set_row(name: str, challenger: Candidate, champion: Candidate | None) -> SetRow:
    theirs = champion.report_on(champion.shipped.id, name) if champion else None
    return SetRow(name, challenger.report_on(challenger.shipped.id, name), theirs)


def _class_rows(challenger: Candidate, champion: Candidate | None) -> list[ClassRow]:
    """Every class that has labels on a set, set by set."""
    rows = []
    for report in challenger.evaluations:
        if report.artifact_id != challenger.shipped.id:
            continue
        other = champion.report_on(champion.shipped.id, report.audit) if champion else None
        theirs = {score.name: score.ap50 for score in other.classes} if other else {}
        rows += [
            ClassRow(report.audit, score.name, score.truths, score.ap50, theirs.get(score.name))
            for score in report.classes
            if score.truths
        ]
    return rows


def _file_rows(challenger: Candidate, device: str) -> list[FileRow]:
    """Each measured precision on each set, the set's FP32 first."""
    rows = []
    for report in sorted(challenger.evaluations, key=lambda one: (one.audit, one.precision != "fp32")):
        reference = challenger.report_on(challenger.reference.id, report.audit)
        loss = 1 - report.map50_95 / reference.map50_95 if reference and reference.map50_95 else None
        rows.append(
            FileRow(
                report=report,
                loss=None if report.precision == "fp32" else loss,
                benchmark=challenger.benchmark_on(report.artifact_id, device),
                shipped=report.artifact_id == challenger.shipped.id,
            )
        )
    return rows


@dataclass(frozen=True)
class Bar:
    """Where one frame's time goes: medians in milliseconds, and widths in per cent of the longest bar."""

    benchmark: BenchmarkReport
    parts: tuple[tuple[str, float, float], ...]


def bars(benchmarks: Sequence[BenchmarkReport]) -> list[Bar]:
    """One bar for each artifact and runtime, the fastest first."""
    longest = max((_sum_of_parts(one) for one in benchmarks), default=1.0)
    ordered = sorted(benchmarks, key=lambda one: one.total.p50)
    return [
        Bar(one, tuple((name, value, value / longest * 100) for name, value in _parts(one).items())) for one in ordered
    ]


def _parts(report: BenchmarkReport) -> dict[str, float]:
    return {
        "preprocess": report.preprocess.p50,
        "inference": report.inference.p50,
        "postprocess": report.postprocess.p50,
    }


def _sum_of_parts(report: BenchmarkReport) -> float:
    return sum(_parts(report).values())


def _curves(judged: Judged, audits: Sequence[AuditFrames]) -> tuple[list[Plot], list[OperatingPoint]]:
    """Precision-recall plots and operating points on the scored frames of all sets; none where a set is missing."""
    scored = [audit.scored for audit in audits]
    names = class_names(scored)
    ours = pool(collect(judged.challenger, audits).shipped, scored)
    if ours is None:
        return [], []
    theirs = pool(collect(judged.champion, audits).shipped, scored) if judged.champion else None
    shipped = judged.challenger.shipped
    thresholds = dict(zip(shipped.names, shipped.thresholds, strict=True))
    return plots(names, ours, theirs, thresholds, COMPARED), _points(ours, names, shipped, judged.challenger.thresholds)


def _points(
    matches: Matches, names: Sequence[str], shipped: Artifact, report: ThresholdReport | None
) -> list[OperatingPoint]:
    beta = report.beta if report else 1.0
    known = dict(zip(shipped.names, shipped.thresholds, strict=True))
    compared = {"shipped": [known.get(name, 1.1) for name in names]}
    compared |= {f"global {value}": [value] * len(names) for value in COMPARED}
    return [operating_point(name, matches, values, beta) for name, values in compared.items()]


def _mistakes(candidate: Candidate, audit: AuditFrames) -> list[Mistake]:
    """What the shipped file gets wrong on a set; nothing where it was not measured."""
    shipped = candidate.shipped
    report = candidate.report_on(shipped.id, audit.name)
    if report is None or report.audit_digest != audit.digest:
        return []
    names = tuple(dict.fromkeys((*audit.names, *shipped.names)))
    known = dict(zip(shipped.names, shipped.thresholds, strict=True))
    seen = renumber(load_predictions(report.predictions, shipped.id, audit), shipped.names, names)
    return find_mistakes(audit, seen, names, [known.get(name, 1.1) for name in names])
