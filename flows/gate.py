"""Gate: a registered version, judged again on today's audit sets against the champion, on this machine."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.comparison import to_judge
from edgeloop.config import load_config
from edgeloop.inputs import read_card
from edgeloop.measures import GateDecision
from flows.rescore import measure_again, rescore
from tasks.freeze import freeze_terms
from tasks.gate import gate as decide
from tasks.register import candidate_of, champion_candidate, judge_again, list_versions
from tasks.report import report
from tasks.version import current_version


@flow(name="gate")
def gate(version: str | None = None, audits: list[Path] | None = None, config_path: Path | None = None) -> GateDecision:
    """Measure a version and the champion, decide, report, and record the decision with the version.

    Args:
        version: a number or an alias; the challenger, else the newest that is not the champion, when None.
        audits: labelled sets to judge by; those of the configuration and the data set's audit side when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    card, profile = read_card(config, audits=audits)
    judged = to_judge(list_versions(config), version)
    terms = freeze_terms(current_version(config), card, profile, config, audits)
    challenger = measure_again(candidate_of(judged, config), terms, config)
    champion = rescore(champion_candidate(config), terms, config)
    decision = decide(challenger, champion, terms, config.workspace.artifacts)
    decision = report(challenger, champion, decision, terms, config)
    judge_again(judged, decision, config)
    return decision
