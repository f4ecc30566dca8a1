"""One round of retraining: what was trained, how it was judged, what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgeloop.gate import PrecisionChoice
from edgeloop.measures import Candidate, GateDecision, ThresholdReport
from edgeloop.record import Record
from edgeloop.registry import ModelVersion

Outcome = Literal["promoted", "refused", "no-new-labels"]


class RetrainResult(Record):
    """What a round of retraining came to.

    Attributes:
        reason: why it ran.
        outcome: "no-new-labels" when the champion was trained on this very data set version already; the rest is then
            what was measured in the round that made it the champion.
        dataset_md5: the version.
        challenger, champion: measured on the same frozen audit sets in this run; champion None before the first.
        decision: the gate's.
        registered: the version in the registry, promoted or not.
    """

    reason: str
    outcome: Outcome
    dataset_md5: str
    challenger: Candidate | None = None
    champion: Candidate | None = None
    decision: GateDecision | None = None
    registered: ModelVersion | None = None

    @classmethod
    def of(
        cls,
        reason: str,
        challenger: Candidate,
        champion: Candidate | None,
        decision: GateDecision,
        registered: ModelVersion,
    ) -> RetrainResult:
        """The result of a round that trained."""
        return cls(
            reason=reason,
            outcome="promoted" if decision.passed else "refused",
            dataset_md5=registered.dataset_md5,
            challenger=challenger,
            champion=champion,
            decision=decision,
            registered=registered,
        )

    @property
    def report(self) -> Path | None:
        """The HTML report of the gate."""
        return self.decision.report if self.decision else None


def ship(measured: Candidate, choice: PrecisionChoice, thresholds: tuple[ThresholdReport, ...]) -> Candidate:
    """The candidate with the chosen precision as the file that ships, its thresholds, and the files left over."""
    tuned = next(report for report in thresholds if report.tuned.id == choice.artifact.id)
    taken = {choice.artifact.id, measured.reference.id}
    others = tuple(report.tuned for report in thresholds if report.tuned.id not in taken)
    return measured.model_copy(update={"shipped": choice.artifact, "thresholds": tuned, "others": others})


def has_news(champion: Candidate | None, dataset_md5: str) -> bool:
    """Whether training again can bring anything: there is no champion, or the data set has changed since."""
    return champion is None or champion.shipped.dataset_md5 != dataset_md5


def checkpoint_of(champion: Candidate | None) -> Path | None:
    """Where training continues from: the champion's checkpoint; None, the card's own start, before the first."""
    return champion.checkpoint if champion else None
