"""Stage gate: may this candidate be promoted? And before it, which precision is the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, load
from edgeloop.bootstrap import relative_loss
from edgeloop.card import DeviceProfile
from edgeloop.evidence import collect, paired, pool
from edgeloop.gate import Option, PrecisionChoice, choose_precision, decide
from edgeloop.measures import Candidate, GateDecision
from edgeloop.terms import Terms
from tasks.stage import stage


@stage
def gate(challenger: Candidate, champion: Candidate | None, terms: Terms, out: Path) -> GateDecision:
    """Decide, and write the decision as JSON below `out`.

    Raises:
        BadInput: an audit set has changed since it was frozen, or saved detections are missing.
    """
    audits = scoring_halves(terms)
    ours = collect(challenger, audits)
    theirs = collect(champion, audits) if champion else None
    decision = decide(ours, theirs, [audit.scored for audit in audits], terms.profile, terms.card)
    decision.save(out / f"{decision.artifact_id}-gate-{terms.profile.name}.json")
    return decision


@stage
def choose(challenger: Candidate, terms: Terms, others: tuple[Artifact, ...] = ()) -> PrecisionChoice:
    """The fastest precision that keeps the limits: of the shipped and the FP32 file of a candidate, and of others.

    Args:
        challenger: with the evaluations and benchmarks of all the files.
        terms: audit sets, target and limits.
        others: further precisions of the same checkpoint.

    Raises:
        BadInput: an audit set has changed since it was frozen, or saved detections are missing.
    """
    audits = scoring_halves(terms)
    files = {artifact.id: artifact for artifact in (challenger.shipped, challenger.reference, *others)}
    candidates = [challenger.model_copy(update={"shipped": artifact}) for artifact in files.values()]
    options = [_option(candidate, audits, terms.profile) for candidate in candidates]
    return choose_precision(options, terms.profile, terms.card)


def scoring_halves(terms: Terms) -> list[AuditFrames]:
    """The frames that count, as they are now."""
    return [load(audit).half("score") for audit in terms.audits]


def _option(candidate: Candidate, audits: Sequence[AuditFrames], profile: DeviceProfile) -> Option:
    """The shipped file with its benchmark on the target and its loss; a loss that was not measured is infinite."""
    artifact = candidate.shipped
    benchmark = candidate.benchmark_on(artifact.id, profile.name)
    if artifact.id == candidate.reference.id:
        return Option(artifact, benchmark, 0.0)
    scored, evidence = [audit.scored for audit in audits], collect(candidate, audits)
    ours, theirs = pool(evidence.shipped, scored), pool(evidence.reference, scored)
    if ours is None or theirs is None:
        return Option(artifact, benchmark, float("inf"))
    loss = paired(ours, theirs, "map50_95", scored, relative_loss)
    return Option(artifact, benchmark, loss.value)
