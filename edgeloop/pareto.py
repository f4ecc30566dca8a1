"""Which of several trade-offs are worth having: those that no other one beats in every respect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeloop.matching import Bools


def not_dominated(costs: npt.ArrayLike) -> Bools:
    """Which points lie on the Pareto front: (N,) bool.

    A point is dominated when another one is at most as costly in every respect and cheaper in one (Pareto, 1906). Equal
    points do not dominate each other, so both stay.

    Args:
        costs: (N, D) finite numbers, less is better in each column; negate what should be large.

    Raises:
        ValueError: not two-dimensional, or a number is not finite.

    Example:
        >>> not_dominated([[2.0, -0.5], [3.0, -0.6], [3.0, -0.5]]).tolist()
        [True, True, False]
    """
    points = np.asarray(costs, np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(f"expected (N, D) finite costs, came shape {points.shape} with or without NaN.")
    others, mine = points[:, None, :], points[None, :, :]
    beaten = (others <= mine).all(axis=2) & (others < mine).any(axis=2)
    return np.asarray(~beaten.any(axis=0), np.bool_)
