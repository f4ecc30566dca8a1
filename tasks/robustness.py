"""Stage robustness: what the file that ships keeps of its accuracy on corrupted pictures."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditSet, load
from edgeloop.card import DeviceProfile, EvaluationCard, RobustnessSettings
from edgeloop.evaluation import open_for
from edgeloop.measures import RobustnessReport
from edgeloop.output import say
from edgeloop.robustness import Trial, subset
from edgeloop.robustness import robustness as run_suite
from tasks.stage import stage


@stage
def robustness(
    artifact: Artifact, audit: AuditSet, profile: DeviceProfile, out: Path, card: EvaluationCard
) -> RobustnessReport | None:
    """Run the card's part of the suite on the scoring half of an audit set; the report is saved below `out`.

    Killed, it goes on with the condition it was at. Without a labelled box on the frames there is no report, which is
    said on stderr.

    Raises:
        BadInput: the set has changed since it was frozen, shares no class with the artifact, or holds a broken image.
    """
    artifact.verify()
    settings = card.robustness or RobustnessSettings()
    frames = subset(load(audit).half("score"), settings.frames)
    if not frames.boxes:
        say(f"warning: no robustness: {len(frames.frames)} frames of {audit.name} without a labelled box to judge by.")
        return None
    runtime = open_for(artifact, profile)
    try:
        report = run_suite(Trial(artifact, runtime, frames, out), settings, card)
    finally:
        runtime.close()
    report.save(out / f"{artifact.id}-{frames.name}-{frames.digest[:8]}-robustness.json")
    return report
