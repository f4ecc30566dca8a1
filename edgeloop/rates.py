"""Rates at thresholds, for all resamples of the frames at once: recall, precision, false positives per 1,000 frames.

Weighted, each count is multiplied by what its frame stands for, and divided by sums that are weighted alike (ratio
estimators after Hájek), so that frames drawn on purpose weigh no more than they occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeloop.bootstrap import Doubles, Weights
from edgeloop.matching import Bools, Matches


@dataclass(frozen=True)
class Totals:
    """Weighted counts per resample and class, (B, C) float64 each, and the weight of all frames (B,)."""

    found: Doubles
    false: Doubles
    truths: Doubles
    frames: Doubles

    def recall(self, classes: Sequence[int] | None = None) -> Doubles:
        """Found share of the labelled boxes of these classes, or of all, (B,); NaN without one."""
        found, truths = (_over(part, classes) for part in (self.found, self.truths))
        return share(found, truths)

    def precision(self, classes: Sequence[int] | None = None) -> Doubles:
        """Right share of what is shown, (B,); NaN where nothing is."""
        found, false = (_over(part, classes) for part in (self.found, self.false))
        return share(found, found + false)

    def false_per_1000(self, classes: Sequence[int] | None = None) -> Doubles:
        """False positives per 1,000 production frames, (B,)."""
        return 1000 * share(_over(self.false, classes), self.frames)

    def missed_per_1000(self) -> Doubles:
        """Labelled boxes that are not shown, per 1,000 production frames, (B,)."""
        return 1000 * share((self.truths - self.found).sum(axis=1), self.frames)


def totals(matches: Matches, thresholds: npt.ArrayLike, weights: Weights) -> Totals:
    """What is found and falsely shown at IoU 0.5 when each class has its threshold.

    Args:
        matches: of F frames and C classes.
        thresholds: (C,) float.
        weights: (B, F).
    """
    limits = np.asarray(thresholds, np.float32)
    shown = matches.scores >= limits[matches.classes]
    hits = matches.hits[:, 0]
    wrong = ~hits if matches.ignored is None else ~hits & ~matches.ignored[:, 0]
    counted = weights.astype(np.float64)  # integers have no fast product of matrices
    found, false = (counted @ _by_frame(matches, shown & part) for part in (hits, wrong))
    return Totals(found, false, counted @ matches.truths.astype(np.float64), counted.sum(axis=1))


def share(part: Doubles, whole: Doubles) -> Doubles:
    """part / whole; NaN where the whole is 0."""
    ratio: Doubles = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _by_frame(matches: Matches, counted: Bools) -> Doubles:
    """Detections per frame and class, (F, C)."""
    shape = (matches.frame_count, matches.class_count)
    cells = np.ravel_multi_index((matches.frames[counted], matches.classes[counted]), shape)
    counts: Doubles = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    return counts


def _over(values: Doubles, classes: Sequence[int] | None) -> Doubles:
    chosen = values if classes is None else values[:, list(classes)]
    summed: Doubles = chosen.sum(axis=1)
    return summed
