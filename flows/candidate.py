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
from tasks.halve import halve
from tasks.quantize import quantize
from tasks.robustness import robustness
from tasks.thresholds import thresholds
from tasks.train import train


@flow(name="candidate", validate_parameters=False)
def candidate(
    version: DatasetVersion,
    card: Card,
    terms: Terms,
    config: Config,
    start: Path | None = None,
    batches: tuple[int, ...] = (1,),
) -> Candidate:
    """Train, export the card's precisions, tune, evaluate and benchmark; ship the fastest that keeps the limits.

    Args:
        version: what to train on.
        card: what to train.
        terms: audit sets, target and limits.
        config: the workspace.
        start: the champion's checkpoint; the card's own start when None.
        batches: images in a call, for the benchmark; more than 1 needs the card's `open_batch`.
    """
    out, audits, profile = config.workspace.artifacts, terms.audits, terms.profile
    checkpoint = train(version, card, config, start)
    files = [export(checkpoint, card, config)]
    if "fp16" in card.precisions:
        files.append(halve(files[0], version, card, config))
    if "int8" in card.precisions:
        files.append(quantize(files[0], checkpoint, version, card, config))
    reports = tuple(thresholds(file, audits, card.thresholds, profile, out, terms.production) for file in files)
    tuned = tuple(report.tuned for report in reports)
    measured = Candidate(
        shipped=tuned[-1],
        reference=tuned[0],
        checkpoint=checkpoint.path,
        evaluations=tuple(one for file in tuned for one in evaluate(file, audits, profile, out, card.evaluation)),
        benchmarks=tuple(run for size in batches for run in benchmark(tuned, audits[0].folder, profile, out, size)),
    )
    whole = ship(measured, choose(measured, terms, tuned), reports)
    if card.evaluation.robustness is None:
        return whole
    suite = robustness(whole.shipped, audits[0], profile, out, card.evaluation)
    return whole.model_copy(update={"robustness": suite})
