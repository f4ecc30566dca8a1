"""Stage report: what the gate decided, and all measured files side by side, as HTML pages that people can read."""

from __future__ import annotations

from edgeloop.audit import load
from edgeloop.config import Config
from edgeloop.measures import Candidate, GateDecision
from edgeloop.reports.candidates import call, write_candidates_report
from edgeloop.reports.gate import Judged, write_gate_report
from edgeloop.sweep_trials import SweepResult
from edgeloop.terms import Terms
from tasks.stage import stage


@stage
def report(
    challenger: Candidate, champion: Candidate | None, decision: GateDecision, terms: Terms, config: Config
) -> GateDecision:
    """Write both pages below the workspace's reports; the decision comes back with their paths.

    Raises:
        BadInput: an audit set has changed since it was frozen, or saved detections are missing.
    """
    folder, device = config.workspace.reports, terms.profile.name
    both = {"challenger": challenger, **({"champion": champion} if champion else {})}
    names = [f"{role} {name}" for role, name in zip(both, call(list(both.values())), strict=True)]
    beside = folder / f"candidates-{decision.artifact_id}-{device}.html"
    write_candidates_report(beside, list(both.values()), terms, names)
    decision = decision.model_copy(update={"candidates": beside})
    audits = [load(audit).half("score") for audit in terms.audits]
    page = folder / f"gate-{decision.artifact_id}-{device}.html"
    write_gate_report(page, Judged(challenger, champion, decision), audits, device)
    return decision.model_copy(update={"report": page})


@stage
def compare_finalists(result: SweepResult, terms: Terms, config: Config) -> SweepResult:
    """Write the page that compares what a sweep measured in full; the result comes back with its path.

    Raises:
        BadInput: the validation side has changed since it was frozen, or saved detections are missing.
    """
    if not result.candidates:
        return result
    page = config.workspace.reports / f"sweep-{result.sweep.name}-{result.dataset_md5[:12]}.html"
    return result.model_copy(update={"page": write_candidates_report(page, result.candidates, terms)})
