"""Conformal risk control of the miss rate: Angelopoulos, Bates, Fisch, Lei, Schuster, ICLR 2024 (arXiv 2208.02814).

The loss of a group of frames is the share of its labelled boxes that a threshold does not show; it is at most 1 and
never rises when the threshold falls. With n exchangeable groups, the highest threshold at which

    n / (n + 1) * (mean loss) + 1 / (n + 1) <= limit

has an expected loss of at most `limit` on the next group. Expected means: over the draw of the n groups and of the
next one. Groups, not frames, because frames of one clip are alike; only groups that hold the class, because a frame
without it cannot miss it, and counting it as nothing missed would dilute the promise. Where no threshold keeps the
limit nothing is promised, and that is said; in the paper's terms such a draw counts as one without loss.

Groups that were drawn on purpose carry weights: then the sums are weighted, and the next group is taken to weigh as
much as the heaviest, which only makes the threshold lower (weighted exchangeability, section 4 there).
"""

from __future__ import annotations

import math

import numpy as np

from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Ints
from edgeloop.ranking import Ranking

ROUNDING = 1e-12


def groups_needed(limit: float) -> int:
    """How many groups a limit needs even where nothing is missed."""
    return math.ceil(1 / limit - 1 - ROUNDING)


def holders(ranking: Ranking) -> int:
    """How many groups hold a labelled box."""
    labels, _, draws = _by_group(ranking)
    return int(draws[labels > 0].sum())


def risk_bound(ranking: Ranking) -> Doubles:
    """The left side above when the first 0, 1, …, N detections are shown, (N + 1,); 1 where no group holds a box."""
    labels, weights, draws = _by_group(ranking)
    held = (labels > 0) & (draws > 0)
    if not held.any():
        return np.ones(len(ranking.scores) + 1)
    whole, heaviest = float((weights * draws)[held].sum()), float(weights[held].max())
    per_box = np.divide(weights * draws, labels, out=np.zeros(len(labels)), where=labels > 0)
    found = np.concatenate([[0.0], np.cumsum(ranking.hits * per_box[ranking.units[ranking.frames]])])
    bound: Doubles = (whole - found + heaviest) / (whole + heaviest)
    return bound


def controlled_cut(ranking: Ranking, limit: float) -> int | None:
    """The cut with the highest threshold that controls the risk (index into `ranking.cuts`); None where none does."""
    kept = risk_bound(ranking)[ranking.cuts] <= limit + ROUNDING
    return int(np.argmax(kept)) if kept.any() else None


def _by_group(ranking: Ranking) -> tuple[Ints, Doubles, Ints]:
    """Labelled boxes, mean weight and draws of each group; the frames of a group are drawn together."""
    size = np.bincount(ranking.units)
    labels = np.bincount(ranking.units, ranking.labels).round().astype(np.int64)
    weights = np.bincount(ranking.units, ranking.weights) / np.maximum(size, 1)
    draws = (np.bincount(ranking.units, ranking.draws) / np.maximum(size, 1)).round().astype(np.int64)
    return labels, weights, draws
