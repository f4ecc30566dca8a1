"""Sweep: architectures at input sizes, halved at every rung under a budget; the finalists are measured in full."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow

from edgeloop.card import Card
from edgeloop.config import Config, load_config
from edgeloop.dataset import DatasetVersion
from edgeloop.halving import plan
from edgeloop.inputs import read_sweep
from edgeloop.measures import BenchmarkReport
from edgeloop.sweep import expand, probing, probing_card, within
from edgeloop.sweep_trials import Measured, Standing, SweepResult, Work
from edgeloop.terms import Terms
from flows.candidate import candidate
from models.checkpoint import Checkpoint
from tasks.benchmark import benchmark
from tasks.export import export
from tasks.freeze import freeze_validation
from tasks.journal import close_sweep
from tasks.quantize import quantize
from tasks.register import track_sweep
from tasks.report import compare_finalists
from tasks.stage import stage
from tasks.train import abandon, train
from tasks.version import current_version


@flow(name="sweep")
def sweep(sweep_path: Path | None = None, budget: float | None = None, config_path: Path | None = None) -> SweepResult:
    """Train every candidate a little, the better ones further, and measure those that come to their end.

    Args:
        sweep_path: a sweep in YAML; the configuration's when None.
        budget: seconds for training and probing; the sweep's own when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    asked, profile = read_sweep(config, sweep_path, budget)
    version = current_version(config)
    cards = expand(asked, version.frames["train"])
    terms = freeze_validation(version, cards[0], profile, config)
    state, work = plan(SweepResult.begin(asked, cards, version.md5, profile))
    track_sweep(state, version, config)
    while work:
        futures = [trial.submit(version, one, terms, config) for one in work]
        outcomes = [future.result(raise_on_failure=False) for future in futures]
        state, work = plan(state.after([one.card for one in work], outcomes))
        track_sweep(state, version, config)
    for one in state.finalists:  # one after the other: they are timed
        outcome = finish.submit(version, one.card, asked.batches, terms, config).result(raise_on_failure=False)
        state = state.after([one.card], [outcome])
        track_sweep(state, version, config)
    for one in state.dropped:
        abandon(version, one.card, config)
    return close_sweep(config, compare_finalists(state, terms, config))


@stage
def trial(version: DatasetVersion, work: Work, terms: Terms, config: Config) -> Standing:
    """One candidate's way to its next rung, where it left off; at the first its latency is probed.

    Kept whole with its seconds, like a stage, since a sweep that is run again decides by them.
    """
    began = time.monotonic()
    checkpoint = train(version, work.card, config, until=work.until)
    probed = probe(checkpoint, version, work.card, terms, config) if work.first else ()
    return Standing.since(began, checkpoint.curve, checkpoint.path, probed)


@stage
def finish(version: DatasetVersion, card: Card, batches: tuple[int, ...], terms: Terms, config: Config) -> Measured:
    """One candidate that is trained to its end: every precision, tuned, evaluated and benchmarked."""
    began = time.monotonic()
    return Measured.since(began, candidate(version, card, terms, config, batches=batches))


def probe(
    checkpoint: Checkpoint, version: DatasetVersion, card: Card, terms: Terms, config: Config
) -> tuple[BenchmarkReport, ...]:
    """The latency in FP32, and in INT8 where that is too slow and the candidate may ship it."""
    profile, images, out = probing(terms.profile), terms.audits[0].folder, config.workspace.artifacts
    whole = export(checkpoint, card, config)
    runs = benchmark((whole,), images, profile, out)
    if within(runs, profile) or "int8" not in card.precisions:
        return runs
    return benchmark((quantize(whole, checkpoint, version, probing_card(card), config),), images, profile, out)
