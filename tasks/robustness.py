"""Stage robustness: what the file that ships keeps of its accuracy on corrupted pictures."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditSet, load
from edgeloop.card import DeviceProfile, EvaluationCard
from edgeloop.measures import RobustnessReport
from edgeloop.output import say
from edgeloop.robustness import run_suite, subset
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
    frames = subset(load(audit).half("score"), card.robustness.frames if card.robustness else None)
    if not frames.boxes:
        say(f"warning: no robustness: {len(frames.frames)} frames of {audit.name} without a labelled box to judge by.")
        return None
    return run_suite(artifact, frames, profile, out, card)
