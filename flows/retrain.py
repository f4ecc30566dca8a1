"""Retrain: a challenger on the newest labels, judged against the champion on the same frozen sets."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.inputs import read_card
from edgeloop.retraining import RetrainResult, checkpoint_of, has_news
from flows.candidate import candidate
from flows.rescore import rescore
from tasks.freeze import freeze_terms
from tasks.gate import gate
from tasks.journal import close_round, last_round
from tasks.register import champion_candidate, promote, register
from tasks.report import report
from tasks.version import current_version


@flow(name="retrain")
def retrain(
    reason: str = "schedule",
    artifact_id: str | None = None,
    score: float | None = None,
    columns: list[str] | None = None,
    audits: list[Path] | None = None,
    config_path: Path | None = None,
) -> RetrainResult:
    """Train, measure, gate, register, and promote what passed.

    Args:
        reason: why, in words; a drift event carries its own.
        artifact_id, score, columns: what the drift event said of the artifact that drifted.
        audits: labelled sets to judge by; those of the configuration and the data set's audit side when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    card, profile = read_card(config, audits=audits)
    version, before = current_version(config), champion_candidate(config)
    if before and not has_news(before, version.md5):
        return last_round(config, before, reason, version.md5)
    terms = freeze_terms(version, card, profile, config, audits)
    challenger = candidate(version, card, terms, config, checkpoint_of(before))
    champion = rescore(before, terms, config)
    decision = gate(challenger, champion, terms, config.workspace.artifacts)
    decision = report(challenger, champion, decision, terms, config)
    registered = register(challenger, decision, version, card, config)
    result = close_round(config, RetrainResult.of(reason, challenger, champion, decision, registered))
    if decision.passed:
        promote(registered, decision, config)
    return result
