"""Stage report: what the gate decided, as an HTML page that people can read."""

from __future__ import annotations

from edgeloop.audit import load
from edgeloop.config import Config
from edgeloop.measures import Candidate, GateDecision
from edgeloop.reports.gate import Judged, write_gate_report
from edgeloop.terms import Terms
from tasks.stage import stage


@stage
def report(
    challenger: Candidate, champion: Candidate | None, decision: GateDecision, terms: Terms, config: Config
) -> GateDecision:
    """Write the page below the workspace's reports; the decision comes back with its path.

    Raises:
        BadInput: an audit set has changed since it was frozen, or saved detections are missing.
    """
    audits = [load(audit).half("score") for audit in terms.audits]
    path = config.workspace.reports / f"gate-{decision.artifact_id}-{terms.profile.name}.html"
    judged = Judged(challenger, champion, decision)
    return decision.model_copy(update={"report": write_gate_report(path, judged, audits, terms.profile.name)})
