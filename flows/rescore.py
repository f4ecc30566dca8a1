"""Rescore: the champion, as it was registered, measured on today's audit sets and on the same machine."""

from __future__ import annotations

from prefect import flow

from edgeloop.config import Config
from edgeloop.measures import Candidate
from edgeloop.terms import Terms
from tasks.benchmark import benchmark
from tasks.evaluate import evaluate


@flow(name="rescore", validate_parameters=False)
def rescore(champion: Candidate | None, terms: Terms, config: Config) -> Candidate | None:
    """Measure again what a decision rests on, with the thresholds the champion runs with; None without a champion."""
    if champion is None:
        return None
    out, audits, profile = config.workspace.artifacts, terms.audits, terms.profile
    evaluations = (
        *evaluate(champion.shipped, audits, profile, out),
        *evaluate(champion.reference, audits, profile, out),
    )
    benchmarks = benchmark((champion.shipped, champion.reference), audits[0].folder, profile, out)
    return champion.model_copy(update={"evaluations": evaluations, "benchmarks": benchmarks})
