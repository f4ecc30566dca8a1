"""What a round or a walk through the loop came to, kept so that a run that was killed goes on instead of going round.

Stages are reused by their inputs. The steps of a walk change what the next ones look at (the champion, the data set),
so a finished step is also written down by name, and read instead of being walked again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.measures import Candidate
from edgeloop.record import Record
from edgeloop.retraining import RetrainResult
from edgeloop.sweep_trials import SweepResult

R = TypeVar("R", bound=Record)


def recall(config: Config, step: str, kind: type[R]) -> R | None:
    """The record of a finished step; None when it was not finished."""
    path = _path(config, step)
    return kind.load(path) if path.is_file() else None


def record(config: Config, step: str, outcome: R | None) -> R:
    """Write down that a step is finished, and return its outcome.

    Raises:
        BadInput: the step found nothing to work on.
    """
    if outcome is None:
        raise BadInput(
            f"The step {step} found nothing to work on: expected a champion whose log goes on after its "
            f"`drift.reference_frames` first frames. Use a longer stream or a smaller reference."
        )
    outcome.save(_path(config, step))
    return outcome


def close_round(config: Config, result: RetrainResult) -> RetrainResult:
    """Keep a round before its promotion, so that a run killed right after the promotion still knows what it did."""
    if result.challenger is None:
        return result
    return record(config, f"round-{result.challenger.shipped.id}", result)


def last_round(config: Config, champion: Candidate, reason: str, dataset_md5: str) -> RetrainResult:
    """The answer of a round that has nothing new to train on."""
    found = recall(config, f"round-{champion.shipped.id}", RetrainResult)
    idle = found or RetrainResult(reason=reason, outcome="no-new-labels", dataset_md5=dataset_md5)
    return idle.model_copy(update={"reason": reason, "outcome": "no-new-labels"})


def close_sweep(config: Config, result: SweepResult) -> SweepResult:
    """Keep what a sweep came to, with all that was measured of its finalists."""
    return record(config, f"sweep-{result.sweep.name}-{result.dataset_md5[:12]}", result)


def _path(config: Config, step: str) -> Path:
    return config.workspace.var / "journal" / f"{step}.json"
