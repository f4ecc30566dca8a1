"""Stage evaluate: accuracy of an artifact file on the scoring half of each audit set."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from edgeloop import evaluation
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditSet, load
from edgeloop.card import DeviceProfile, EvaluationCard
from edgeloop.measures import EvaluationReport
from tasks.stage import stage


@stage
def evaluate(
    artifact: Artifact,
    audits: tuple[AuditSet, ...],
    profile: DeviceProfile,
    out: Path,
    card: EvaluationCard | None = None,
) -> tuple[EvaluationReport, ...]:
    """Evaluate the file on every audit set; reports and detections are saved below `out`.

    A set without a labelled box on its scoring half cannot judge: it is named on stderr and has no report, and the
    gate refuses what was not measured on every set.

    Raises:
        BadInput: a set has changed since it was frozen, shares no class with the artifact, or holds a broken image.
    """
    artifact.verify()
    reports = []
    for audit in audits:
        frames = load(audit).half("score")
        if not frames.boxes:
            warning = f"warning: {audit.name} has no labelled box to score by; the gate will refuse. Label more frames."
            Console(stderr=True).print(warning, markup=False)
            continue
        report = evaluation.evaluate(artifact, frames, profile, out, card)
        report.save(report.predictions.with_suffix(".json"))
        reports.append(report)
    return tuple(reports)
