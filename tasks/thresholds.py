"""Stage thresholds: one confidence threshold per class, tuned on the tuning halves of the audit sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, AuditSet, load
from edgeloop.card import DeviceProfile, ThresholdCard
from edgeloop.evaluation import match_audit, open_for, predict, scored_names
from edgeloop.matching import join, match
from edgeloop.measures import ThresholdReport
from edgeloop.output import say
from edgeloop.predictions import predictions_path, save_predictions
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from tasks.stage import stage


@stage
def thresholds(
    artifact: Artifact, audits: tuple[AuditSet, ...], card: ThresholdCard, profile: DeviceProfile, out: Path
) -> ThresholdReport:
    """Tune on this very file's detections; the artifact with its thresholds is `.tuned`, its sidecar is rewritten.

    Without a labelled box to tune on every class gets the default, with a warning in the report and on stderr.

    Raises:
        BadInput: no audit set, a set has changed since it was frozen, or shares no class with the artifact, or the card
            names a class that the artifact does not know.
    """
    artifact.verify()
    halves = [load(audit).half("tune") for audit in audits]
    report = tune_on(artifact, halves, card, profile, out)
    report.save(out / f"{artifact.id}-thresholds.json")
    report.tuned.save_sidecar()
    say(*([f"warning: {report.warning}"] if report.warning else report.remarks))
    return report


def tune_on(
    artifact: Artifact, halves: Sequence[AuditFrames], card: ThresholdCard, profile: DeviceProfile, out: Path
) -> ThresholdReport:
    """Detect on every half, keep what was seen below `out`, and tune on all of it together."""
    names = tuple(dict.fromkeys((*artifact.names, *(name for half in halves for name in scored_names(artifact, half)))))
    runtime = open_for(artifact, profile)
    parts = [match([], [], len(names))]  # no audit set at all leaves nothing to tune on, which the report says
    for half in halves:
        detections = predict(artifact, half, runtime)
        save_predictions(predictions_path(artifact, half, out), artifact, half, detections)
        parts.append(match_audit(artifact, half, detections, names))
    groups = [f"{half.name} {group}" for half in halves for group in half.groups]
    return report_thresholds(artifact, Labelled(join(parts), groups, [half.digest for half in halves]), card)
