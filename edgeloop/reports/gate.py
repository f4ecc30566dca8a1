"""The report of one candidate at the gate: the verdict, what it rests on, and what the detector still gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.audit import AuditFrames, pooled_weights
from edgeloop.evidence import class_names, collect, pool
from edgeloop.measures import Candidate, GateDecision, OperatingPoint
from edgeloop.operating_points import COMPARED
from edgeloop.reports.curves import HEIGHT, WIDTH, Plot, plots
from edgeloop.reports.page import write_page
from edgeloop.reports.pictures import Mistake, mistakes_of, worst
from edgeloop.reports.rows import bars, class_rows, file_rows, operating_points, set_row

PICTURES = 10  # of each kind


@dataclass(frozen=True)
class Judged:
    """A challenger, the champion it was measured against, and the decision."""

    challenger: Candidate
    champion: Candidate | None
    decision: GateDecision


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
        sets=[set_row(audit.name, challenger, champion) for audit in audits],
        classes=class_rows(challenger, champion),
        files=file_rows(challenger, device),
        bars=bars([one for one in challenger.benchmarks if one.device == device and one.batch == 1]),
        thresholds=challenger.thresholds,
        curves=curves,
        points=points,
        plot=(WIDTH, HEIGHT),
        weighted=any(audit.weights for audit in audits),
        beside=judged.decision.candidates.name if judged.decision.candidates else None,
        false_positives=worst(mistakes, PICTURES, missed=False),
        misses=worst(mistakes, PICTURES, missed=True),
        counts=(sum(not one.missed for one in mistakes), sum(one.missed for one in mistakes)),
    )


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
    points = operating_points(ours, names, judged.challenger, pooled_weights(scored))
    return plots(names, ours, theirs, thresholds, COMPARED), points


def _mistakes(candidate: Candidate, audit: AuditFrames) -> list[Mistake]:
    """What the shipped file gets wrong on a set; nothing where it was not measured."""
    report = candidate.report_on(candidate.shipped.id, audit.name)
    if report is None or report.audit_digest != audit.digest:
        return []
    return mistakes_of(candidate.shipped, report, audit)
