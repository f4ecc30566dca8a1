"""What a threshold is chosen for, on one ranking: F-beta, a recall to keep, the least cost, or a controlled risk.

Each choice is a range of neighbouring cuts, and the threshold is its middle, so that it never sits at the edge of a
single example. F-beta and cost take every cut around the optimum that one example more or less could have made it;
recall and risk take the one cut that keeps what they promise with the highest threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeloop.bootstrap import Doubles
from edgeloop.card import ThresholdCard
from edgeloop.conformal import controlled_cut, groups_needed, holders
from edgeloop.ranking import Ranking

ROUNDING = 1e-9  # relative, of sums of weights


@dataclass(frozen=True)
class Optimum:
    """A threshold, what it could not do (`note`) and what it promises (`guarantee`); empty where there is nothing."""

    threshold: float
    note: str = ""
    guarantee: str = ""


def optimum(ranking: Ranking, card: ThresholdCard) -> Optimum | None:
    """The threshold that a card asks for; None where nothing was found to choose it by."""
    if ranking.found[-1] <= 0:
        return None
    choices = {"f-beta": _best_f_beta, "recall": _kept_recall, "cost": _least_cost, "risk": _controlled_risk}
    return choices[card.objective](ranking, card)


def f_beta_curve(ranking: Ranking, beta: float) -> Doubles:
    """F-beta when the first 0, 1, …, N detections are shown: (N + 1,) in 0..1 (van Rijsbergen).

    `beta`: recall weighs beta times as much as precision.
    """
    below = beta**2 * ranking.truths + ranking.shown
    return np.divide((1 + beta**2) * ranking.found, below, out=np.zeros(len(below)), where=below > 0)


def plateau(curve: Doubles, effect: float) -> tuple[int, int]:
    """First and last of the cuts around the highest value that lie within `effect` of it.

    A cut that shows nothing is no operating point, so the first is never 0.
    """
    peak = int(np.argmax(curve))
    worse = np.flatnonzero(curve < curve[peak] - effect)
    first = max(int(worse[worse < peak].max(initial=-1)) + 1, 1)
    last = int(worse[worse > peak].min(initial=len(curve))) - 1
    return first, max(first, last)


def _best_f_beta(ranking: Ranking, card: ThresholdCard) -> Optimum:
    curve = f_beta_curve(ranking, card.beta)[ranking.cuts]
    shown = ranking.shown[ranking.cuts[int(np.argmax(curve))]]
    effect = ranking.example * (1 + card.beta**2) / (card.beta**2 * ranking.truths + shown)
    return Optimum(ranking.between(*plateau(curve, effect)))


def cost_curve(ranking: Ranking, card: ThresholdCard) -> Doubles:
    """What false positives and misses cost when the first 0, 1, …, N detections are shown, (N + 1,)."""
    curve: Doubles = card.cost_false * (ranking.shown - ranking.found) + card.cost_miss * (
        ranking.truths - ranking.found
    )
    return curve


def _least_cost(ranking: Ranking, card: ThresholdCard) -> Optimum:
    gain = -cost_curve(ranking, card)[ranking.cuts]
    note = "showing nothing of it would cost least" if int(np.argmax(gain)) == 0 else ""
    effect = ranking.example * max(card.cost_false, card.cost_miss)
    return Optimum(ranking.between(*plateau(gain, effect)), note)


def _kept_recall(ranking: Ranking, card: ThresholdCard) -> Optimum:
    found, kept = _highest_that_finds(ranking, card.minimum_recall)
    if kept:
        return Optimum(ranking.between(found))
    reached = ranking.found[-1] / ranking.truths
    note = f"a recall of {card.minimum_recall:g} is out of reach: at any threshold {reached:.3f} are found"
    return Optimum(ranking.between(found), note)


def _controlled_risk(ranking: Ranking, card: ThresholdCard) -> Optimum:
    limit, count = card.maximum_risk, holders(ranking)
    cut = controlled_cut(ranking, limit)
    if cut is not None:
        promise = (
            f"of its boxes in a new group of frames that holds any, at most {limit:g} are missed in expectation "
            f"(conformal risk control on {count} such groups, which the new one has to be exchangeable with)"
        )
        return Optimum(ranking.between(cut), guarantee=promise)
    needed = groups_needed(limit)
    why = f"{needed} are needed" if count < needed else "too much is missed on them at any threshold"
    note = (
        f"no guarantee for a miss rate of {limit:g}: {count} groups of frames hold it, {why}; "
        f"it has the highest threshold that keeps a recall of {1 - limit:g} here"
    )
    return Optimum(ranking.between(_highest_that_finds(ranking, 1 - limit)[0]), note)


def _highest_that_finds(ranking: Ranking, share: float) -> tuple[int, bool]:
    """The first cut that finds this share of the truths, else all that is ever found; and whether it does."""
    found = ranking.found[ranking.cuts]
    wanted = share * ranking.truths * (1 - ROUNDING)
    kept = bool(found[-1] >= wanted)
    return int(np.argmax(found >= (wanted if kept else found[-1] * (1 - ROUNDING)))), kept


def recall_bound(found: float, labels: float, confidence: float) -> float:
    """A one-sided lower bound of recall (Clopper and Pearson, 1934).

    It also holds where the threshold was put at the k-th highest score of n labelled boxes: the recall there is
    distributed as Beta(k, n + 1 - k), whatever the scores' distribution (Wilks, 1941).

    Args:
        found: boxes found, of `labels` (equally weighted ones, or as many as say as much).
        confidence: such as 0.95.
    """
    from scipy.special import betaincinv

    return float(betaincinv(found, labels - found + 1, 1 - confidence)) if found > 0 else 0.0
