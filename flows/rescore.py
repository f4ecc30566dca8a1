"""Rescore: a candidate, as it was registered, measured on today's audit sets and on the same machine."""

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
    return None if champion is None else measure_again(champion, terms, config)


def measure_again(registered: Candidate, terms: Terms, config: Config) -> Candidate:
    """The shipped file and its FP32 twin, evaluated and benchmarked with the thresholds that are registered."""
    out, audits, profile = config.workspace.artifacts, terms.audits, terms.profile
    evaluations = (
        *evaluate(registered.shipped, audits, profile, out),
        *evaluate(registered.reference, audits, profile, out),
    )
    benchmarks = benchmark((registered.shipped, registered.reference), audits[0].folder, profile, out)
    return registered.model_copy(update={"evaluations": evaluations, "benchmarks": benchmarks})
