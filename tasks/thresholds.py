"""Stage thresholds: one confidence threshold per class, tuned on the tuning halves of the audit sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, AuditSet, load, pooled_weights
from edgeloop.card import DeviceProfile, ThresholdCard
from edgeloop.edge.runtime import Runtime
from edgeloop.evaluation import match_audit, open_for, predict, scored_names
from edgeloop.matching import join, match
from edgeloop.measures import ThresholdReport
from edgeloop.output import say
from edgeloop.predictions import predictions_path, save_predictions
from edgeloop.prior_shift import estimate_shift
from edgeloop.production import watch_drawn
from edgeloop.production_frames import ProductionFrames
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from tasks.stage import stage


@stage
def thresholds(
    artifact: Artifact,
    audits: tuple[AuditSet, ...],
    card: ThresholdCard,
    profile: DeviceProfile,
    out: Path,
    production: ProductionFrames | None = None,
) -> ThresholdReport:
    """Tune on this very file's detections; the artifact with its thresholds is `.tuned`, its sidecar is rewritten.

    Without a labelled box to tune on every class gets the default, with a warning in the report and on stderr.

    Args:
        artifact: the file.
        audits: frozen; their tuning halves are used.
        card: what the thresholds are for.
        profile: says which runtimes and how many threads.
        out: folder for the report and the detections.
        production: frames that this file tells the prevalence of production from; too few of them are said, and change
            nothing.

    Raises:
        BadInput: no audit set, a set has changed since it was frozen, or shares no class with the artifact, the card
            names a class that the artifact does not know, or a production frame is gone.
    """
    artifact.verify()
    halves = [load(audit).half("tune") for audit in audits]
    runtime = open_for(artifact, profile)
    try:
        labelled = look(artifact, halves, runtime, out)
        if production and production.enough:
            labelled = replace(labelled, shift=estimate_shift(labelled, watch_drawn(production, artifact, runtime)))
    finally:
        runtime.close()
    report = report_thresholds(artifact, labelled, card)
    if production:
        report = report.model_copy(update={"remarks": (production.told, *report.remarks)})
    report.save(out / f"{artifact.id}-thresholds.json")
    report.tuned.save_sidecar()
    say(*([f"warning: {report.warning}"] if report.warning else report.remarks))
    return report


def look(artifact: Artifact, halves: Sequence[AuditFrames], runtime: Runtime, out: Path) -> Labelled:
    """What the artifact sees on all halves together; the detections on each are kept below `out`."""
    names = tuple(dict.fromkeys((*artifact.names, *(name for half in halves for name in scored_names(artifact, half)))))
    parts = [match([], [], len(names))]  # no audit set at all leaves nothing to tune on, which the report says
    for half in halves:
        detections = predict(artifact, half, runtime)
        save_predictions(predictions_path(artifact, half, out), artifact, half, detections)
        parts.append(match_audit(artifact, half, detections, names))
    groups = [f"{half.name} {group}" for half in halves for group in half.groups]
    scored = [half.scored for half in halves]
    return Labelled(join(parts), groups, [one.digest for one in scored], pooled_weights(scored))
