"""Where to cut a ranking of detections: by F-beta, by cost, at a recall, or so that a risk is controlled.

Every function takes detections with the highest score first. Only cuts between different scores can be made by a
threshold. Cut k shows the first k detections: its threshold lies between edge k and edge k + 1, the scores with 1
before them and 0 after.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Ints
from edgeloop.matching import Bools

ROUNDING = 1e-9  # sums of weights may miss a share by their last bits


def f_beta_curve(hits: Bools, truths: float, beta: float, weights: npt.ArrayLike = 1.0) -> Doubles:
    """F-beta when the first 0, 1, …, N detections are shown: (N + 1,) in 0..1.

    Args:
        hits: (N,) whether each detection, highest score first, found a truth.
        truths: labelled boxes (weighted like the detections).
        beta: recall weighs beta times as much as precision (van Rijsbergen).
        weights: how often each detection counts.
    """
    counted = np.broadcast_to(np.asarray(weights, np.float64), hits.shape)
    found = np.concatenate([[0.0], np.cumsum(hits * counted)])
    shown = np.concatenate([[0.0], np.cumsum(counted)])
    below = beta**2 * truths + shown
    return np.divide((1 + beta**2) * found, below, out=np.zeros(len(found)), where=below > 0)


def best_threshold(
    scores: npt.ArrayLike, hits: Bools, truths: float, beta: float, weights: npt.ArrayLike = 1.0
) -> float | None:
    """The middle of the plateau around the highest F-beta; None where nothing was found.

    The plateau is every neighbouring cut whose F-beta lies within the effect of one more or one less example, so the
    threshold never sits at the edge of a single one. It costs at most that effect against the highest F-beta.

    Args:
        scores: (N,) falling, in 0..1.
        hits, truths, beta, weights: as in `f_beta_curve`.
    """
    cuts, edges = _cuts(scores)
    curve = f_beta_curve(hits, truths, beta, weights)[cuts]
    peak = int(np.argmax(curve))
    if curve[peak] == 0:
        return None
    shown = np.broadcast_to(np.asarray(weights, np.float64), hits.shape)[: cuts[peak]].sum()
    effect = (1 + beta**2) / (beta**2 * truths + shown)
    return _middle_of_plateau(curve, effect, cuts, edges, least=1)  # a cut that shows nothing is no operating point


def cheapest_threshold(
    scores: npt.ArrayLike, hits: Bools, costs: tuple[Doubles, Doubles], missed: float, effect: float
) -> float | None:
    """The middle of the plateau around the least expected cost; None where there is nothing to find.

    The plateau is every neighbouring cut that costs at most `effect` more. Where a class costs least when it is never
    shown, the threshold lies above its highest score.

    Args:
        scores: (N,) falling, in 0..1.
        hits: (N,) whether each found a truth.
        costs: (N,) each: what the detection costs when it is shown and false, and what its truth costs when it is
            missed; both already weighted by what the detection stands for.
        missed: what it costs to miss every truth.
        effect: what one example costs.
    """
    if missed <= 0:
        return None
    cuts, edges = _cuts(scores)
    when_shown, when_missed = costs
    change = np.where(hits, -when_missed, when_shown)
    saved = -np.concatenate([[0.0], np.cumsum(change)])[cuts]
    return _middle_of_plateau(saved, effect, cuts, edges, least=0)


def threshold_at_recall(
    scores: npt.ArrayLike, hits: Bools, truths: float, least: float, weights: npt.ArrayLike = 1.0
) -> tuple[float, bool] | None:
    """The highest threshold that finds at least this share of the truths, and whether there is one.

    Where no cut reaches it, everything is shown. None where there is nothing to find.
    """
    if truths <= 0:
        return None
    cuts, edges = _cuts(scores)
    counted = np.broadcast_to(np.asarray(weights, np.float64), hits.shape)
    recall = np.concatenate([[0.0], np.cumsum(hits * counted)])[cuts] / truths
    return _first_that(recall >= least - ROUNDING, cuts, edges)


def risk_controlled_threshold(
    scores: npt.ArrayLike, hits: Bools, units: Ints, truths: Doubles, maximum: float, drawn: npt.ArrayLike = 1
) -> tuple[float, bool] | None:
    """The highest threshold with a guarantee on the expected miss rate, and whether there is one.

    Conformal risk control (Angelopoulos, Bates, Fisch, Lei, Schuster 2024, theorem 1): the loss of a unit is the share
    of its truths that is missed. It lies in 0..1 and never falls when the threshold rises. With n units and a mean loss
    R, every threshold with n / (n + 1) R + 1 / (n + 1) <= `maximum` has an expected loss of at most `maximum` on a new
    unit that is exchangeable with them.

    Args:
        scores: (N,) falling, in 0..1.
        hits: (N,) whether each found a truth.
        units: (N,) index of the unit that each detection is on; frames of one group are no two units.
        truths: (U,) labelled boxes of each unit; those without one say nothing.
        maximum: the risk, in 0..1.
        drawn: (U,) how often each unit counts.

    Returns:
        None where no unit has a truth. Where the units are too few, or too much is missed at any threshold, everything
        is shown and nothing is guaranteed.
    """
    times = np.where(truths > 0, np.broadcast_to(np.asarray(drawn, np.float64), truths.shape), 0.0)
    count = float(times.sum())
    if count == 0:
        return None
    cuts, edges = _cuts(scores)
    of_truth = np.divide(times, truths, out=np.zeros(len(truths)), where=truths > 0)
    found = np.concatenate([[0.0], np.cumsum(hits * of_truth[units])])[cuts]
    risk = (count - found + 1) / (count + 1)
    return _first_that(risk <= maximum + ROUNDING, cuts, edges)


def _cuts(scores: npt.ArrayLike) -> tuple[Ints, Doubles]:
    """The cuts that a threshold can make, and the edges that they lie between."""
    falling = np.asarray(scores, np.float64)
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(falling)) + 1, [len(falling)]]).astype(np.int64)
    return np.unique(cuts), np.concatenate([[1.0], falling, [0.0]])


def _middle_of_plateau(curve: Doubles, effect: float, cuts: Ints, edges: Doubles, least: int) -> float:
    """The middle of the cuts around the highest point of the curve that lie at most `effect` below it."""
    peak = int(np.argmax(curve))
    worse = np.flatnonzero(curve < curve[peak] - effect)
    first = max(int(worse[worse < peak].max(initial=-1)) + 1, least)
    last = int(worse[worse > peak].min(initial=len(curve))) - 1
    return float((edges[cuts[first]] + edges[cuts[last] + 1]) / 2)


def _first_that(keeps: Bools, cuts: Ints, edges: Doubles) -> tuple[float, bool]:
    """The threshold of the first cut that keeps a promise; of the last one where none does."""
    chosen = cuts[int(np.argmax(keeps)) if keeps.any() else -1]
    return float((edges[chosen] + edges[chosen + 1]) / 2), bool(keeps.any())
