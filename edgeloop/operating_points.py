"""What thresholds give on the same frames, tuned and global ones: rates, F-beta, cost, and the share of it saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeloop.bootstrap import Doubles, Weights, percentile_interval
from edgeloop.card import ThresholdCard
from edgeloop.matching import Matches
from edgeloop.measures import Interval, OperatingPoint
from edgeloop.ranking import Labelled
from edgeloop.rates import Totals, share, totals
from edgeloop.thresholds import RESAMPLES, costs_of

COMPARED = (0.25, 0.5)  # global thresholds that people use: Ultralytics' default and a round one
CONFIDENCE = 0.95  # of the bootstrap intervals
NEVER = 1.1  # a threshold that no score reaches: of classes that the artifact does not know
On = Literal["tuning", "held-out"]
Asked = tuple[Sequence[str], ThresholdCard]  # the artifact's class names, and the card with the costs


def compared(tuned: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """The tuned thresholds and the global ones, by the name of their row."""
    return {"tuned": tuple(tuned)} | {f"global {value}": (value,) * len(tuned) for value in COMPARED}


def operating_point(name: str, on: On, labelled: Labelled, thresholds: Sequence[float], of: Asked) -> OperatingPoint:
    """What thresholds give over all classes; classes beyond the given thresholds are never shown.

    Args:
        name: of the thresholds.
        on: what the frames are.
        labelled: the frames, weighted by what each stands for, and at the prevalence of their shift.
        thresholds: one for each of the artifact's classes.
        of: the artifact's class names, and the card with the costs.
    """
    names, card = of
    counts = counts_at(labelled, thresholds, labelled.frame_weights[None])
    found, false, missed = (float(part.sum()) for part in (counts.found, counts.false, counts.truths - counts.found))
    weighted = (1 + card.beta**2) * found + card.beta**2 * missed + false
    per_frame = 1000 / float(counts.frames[0]) if labelled.matches.frame_count else 0.0
    recalls = {one: float(counts.recall([index])[0]) for index, one in enumerate(names)}
    return OperatingPoint(
        name=name,
        on=on,
        precision=found / (found + false) if found + false else None,
        recall=found / (found + missed) if found + missed else None,
        f_beta=(1 + card.beta**2) * found / weighted if weighted else None,
        false_positives_per_1000_frames=false * per_frame,
        missed_per_1000_frames=missed * per_frame,
        cost_per_1000_frames=float(_cost(counts, of)[0]) * per_frame,
        recalls={one: None if np.isnan(value) else value for one, value in recalls.items()},
        false_by_class={one: float(counts.false[0, index]) * per_frame for index, one in enumerate(names)},
    )


def savings(labelled: Labelled, tuned: Sequence[float], of: Asked) -> dict[str, Interval]:
    """By name of each global threshold, the share of its cost that the tuned ones save, paired over resampled groups.

    The thresholds stay what they are: on frames that had no part in tuning, this is how sure the saving is. None of
    one that costs nothing.
    """
    if not labelled.matches.frame_count:
        return {}
    draws = with_draws(labelled, labelled.draws(RESAMPLES))
    costs = {name: _cost(counts_at(labelled, values, draws), of) for name, values in compared(tuned).items()}
    ours = costs.pop("tuned")
    saved = {name: share(cost - ours, cost) for name, cost in costs.items()}
    return {name: percentile_interval(one, CONFIDENCE) for name, one in saved.items() if not np.isnan(one[0])}


def counts_at(labelled: Labelled, thresholds: Sequence[float] | Doubles, weights: Weights) -> Totals:
    """Counts of each resample (B, F) of frames when each class has its threshold, at the prevalence of the shift."""
    counts = totals(labelled.matches, _limits(thresholds, labelled.matches), weights)
    right, wrong = labelled.ratios(labelled.matches.class_count)
    return Totals(counts.found * right, counts.false * wrong, counts.truths * right, counts.frames)


def with_draws(labelled: Labelled, draws: Weights) -> Doubles:
    """The frames as they are, then each resample, by what each stands for: (1 + B, F)."""
    plain = np.ones((1, labelled.matches.frame_count), np.int64)
    return np.concatenate([plain, draws]) * labelled.frame_weights


def _cost(counts: Totals, of: Asked) -> Doubles:
    """What false positives and misses cost, (B,), in the card's unit; classes without a card cost what it says."""
    names, card = of
    cards = [card.of_class(name) for name in names]
    cards += [card] * (counts.false.shape[1] - len(cards))
    false, miss = costs_of(cards)
    summed: Doubles = counts.false @ false + (counts.truths - counts.found) @ miss
    return summed


def _limits(thresholds: Sequence[float] | Doubles, matches: Matches) -> list[float]:
    """A threshold for every class of the matches; those beyond the given ones are never shown."""
    return [*map(float, thresholds), *[NEVER] * (matches.class_count - len(thresholds))]
