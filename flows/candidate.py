"""Candidate: a card on a data set version becomes an artifact with everything the gate asks about it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.measures import Candidate
from edgeloop.retraining import ship
from edgeloop.terms import Terms
from tasks.benchmark import benchmark
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.gate import choose
from tasks.quantize import quantize
from tasks.thresholds import thresholds
from tasks.train import train


@flow(name="candidate", validate_parameters=False)
def candidate(
    version: DatasetVersion, card: Card, terms: Terms, config: Config, start: Path | None = None
) -> Candidate:
    """Train, export, quantize, tune, evaluate and benchmark; ship the fastest precision that keeps the limits.

    Args:
        version: what to train on.
        card: what to train.
        terms: audit sets, target and limits.
        config: the workspace.
        start: the champion's checkpoint; the card's own start when None.
    """
    out, audits, profile = config.workspace.artifacts, terms.audits, terms.profile
    checkpoint = train(version, card, config, start)
    reference = export(checkpoint, card, config)
    quantized = quantize(reference, version, card, config)
    precise = thresholds(reference, audits, card.thresholds, profile, out)
    small = thresholds(quantized, audits, card.thresholds, profile, out)
    measured = Candidate(
        shipped=small.tuned,
        reference=precise.tuned,
        checkpoint=checkpoint.path,
        evaluations=(
            *evaluate(small.tuned, audits, profile, out, card.evaluation),
            *evaluate(precise.tuned, audits, profile, out, card.evaluation),
        ),
        benchmarks=benchmark((small.tuned, precise.tuned), audits[0].folder, profile, out),
    )
    return ship(measured, choose(measured, terms), (small, precise))
