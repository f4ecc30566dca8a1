"""Average precision under resampling of frames: how sure a number, or a difference between two detectors, is.

A resample is a weight per frame (how often it was drawn, times what it stands for in production where that is not 1).
COCO's average precision is computed for all resamples at once from matches that were made once, so a thousand resamples
cost about as much as a few evaluations. Weighted, every detection and every label counts what its frame weighs:
precision is weighted hits over weighted detections, recall weighted hits over weighted labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeloop.boxes import Ints
from edgeloop.errors import BadInput
from edgeloop.matching import IOU_LIMITS, Bools, Matches
from edgeloop.measures import Interval

Doubles = npt.NDArray[np.float64]
Weights = Ints | Doubles  # how often each frame counts
Statistic = Literal["map50", "map50_95"]

RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's recall grid
RESAMPLES = 1000
CHUNK = 100  # resamples held in memory at once
ROUNDING = 1e-9  # sums of weights that are no integers may miss a point of the recall grid by their last bits


def frame_weights(frame_count: int, resamples: int, seed: int, groups: Sequence[str] | None = None) -> Ints:
    """How often each frame is drawn: (resamples, frames) int64.

    Frames of one group (a clip, a part) are alike, so whole groups are drawn, and the interval does not claim more
    than the groups carry. Without groups every frame is its own.

    Raises:
        BadInput: there are no frames to draw from.
    """
    if frame_count == 0:
        raise BadInput("expected frames to resample, came none; add labelled frames to the audit set.")
    unit = np.arange(frame_count) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(unit.max()) + 1
    draws = np.random.default_rng(seed).integers(0, units, (resamples, units))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=units)
    drawn: Ints = counts[:, unit]
    return drawn


def average_precision(matches: Matches, weights: Weights, limits: Sequence[int] = (0,)) -> Doubles:
    """COCO's 101-point average precision per resample, class and IoU limit.

    Args:
        matches: of the frames that `weights` draws from.
        weights: (B, F) int64 or float64; one row of ones gives the plain value.
        limits: indices into `IOU_LIMITS`.

    Returns:
        (B, C, len(limits)) float64 in 0..1; NaN where the resample holds no truth of the class.
    """
    result = np.full((len(weights), matches.class_count, len(limits)), np.nan)
    truths = weights @ matches.truths
    for class_id in range(matches.class_count):
        of_class = matches.of_class(class_id)
        for start in range(0, len(weights), CHUNK):
            rows = slice(start, start + CHUNK)
            result[rows, class_id] = _class_precision(of_class, weights[rows], truths[rows, class_id], limits)
    return result


def _class_precision(matches: Matches, weights: Weights, truths: Weights, limits: Sequence[int]) -> Doubles:
    """Average precision (B, len(limits)) of one class; only the ranks where something was found can matter."""
    hits = matches.hits[:, list(limits)]
    last = np.flatnonzero(hits.any(axis=1))
    end = int(last[-1]) + 1 if len(last) else 0
    drawn = weights[:, matches.frames[:end]]
    if matches.ignored is None:
        shown: Weights = drawn.cumsum(axis=1)
        columns = [_area(drawn[:, ranks], shown[:, ranks], truths) for ranks in map(np.flatnonzero, hits[:end].T)]
    else:
        counted = ~matches.ignored[:end, list(limits)]
        columns = [_counted_area(drawn, here, keep, truths) for here, keep in zip(hits[:end].T, counted.T, strict=True)]
    return np.where(truths[:, None] > 0, np.stack(columns, axis=1), np.nan)


def _counted_area(drawn: Weights, hits: Bools, counted: Bools, truths: Weights) -> Doubles:
    """The same at one limit where some detections count neither way."""
    kept, ranks = drawn[:, counted], np.flatnonzero(hits[counted])
    shown: Weights = kept.cumsum(axis=1)
    return _area(kept[:, ranks], shown[:, ranks], truths)


def _area(found_here: Weights, shown: Weights, truths: Weights) -> Doubles:
    """Mean over the recall grid of the best precision at that recall or beyond, (B,).

    `found_here` and `shown` are (B, K): weight of the K hits and of everything down to each of them.
    """
    found = np.cumsum(found_here, axis=1)
    precision = np.divide(found, shown, out=np.zeros(found.shape), where=shown > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, truths[:, None], out=np.zeros(found.shape), where=truths[:, None] > 0)
    if found.dtype.kind == "f":
        recall += ROUNDING
    reached = np.searchsorted(RECALLS, recall, side="right")  # how many grid points each hit covers
    steps = np.diff(reached, axis=1, prepend=0)
    # A leading hit that was not drawn takes the grid point at recall 0, with the envelope of the first that was.
    area: Doubles = (envelope * steps).sum(axis=1) / len(RECALLS)
    return area


def mean_average_precision(matches: Matches, weights: Weights, statistic: Statistic) -> Doubles:
    """mAP (B,) of each resample, over the classes that have a truth in it; NaN where none has."""
    limits = (0,) if statistic == "map50" else tuple(range(len(IOU_LIMITS)))
    by_class: Doubles = average_precision(matches, weights, limits).mean(axis=2)
    return mean_over_classes(by_class)


def mean_over_classes(values: Doubles) -> Doubles:
    """The mean of each row (B,) of (B, C) without its NaN; NaN where a row has nothing else."""
    judged = ~np.isnan(values)
    total = np.where(judged, values, 0.0).sum(axis=1)
    counts = judged.sum(axis=1)
    mean: Doubles = np.divide(total, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return mean


def mean_of_judged(values: Doubles) -> Doubles:
    """The mean over classes of the set as it is and of each resample, (1 + B,) of (1 + B, C).

    A class that a resample lost keeps its value on the whole set. Left out, a rare class that is found badly would
    raise the mean wherever it is not drawn, and the interval would reach far above anything that was measured.
    """
    return mean_over_classes(np.where(np.isnan(values), values[:1], values))


def effective_counts(truths: Ints, weights: Weights) -> Doubles:
    """As many equally weighted boxes of each class say as much (Kish), (C,): the number of boxes where all weigh alike.

    `truths`: (F, C) labelled boxes; `weights`: (F,).
    """
    squares = weights.astype(np.float64) ** 2 @ truths
    counts = np.divide((weights @ truths) ** 2, squares, out=np.zeros(len(squares)), where=squares > 0)
    rounded: Doubles = counts.round(9)  # ten boxes that weigh alike are ten, in any unit
    return rounded


def difference(challenger: Doubles, champion: Doubles) -> Doubles:
    """What the challenger gains, absolute."""
    return challenger - champion


def relative_loss(artifact: Doubles, reference: Doubles) -> Doubles:
    """What the artifact loses against its reference as a share of the reference; 0 where the reference has nothing."""
    return np.divide(reference - artifact, reference, out=np.zeros(reference.shape), where=reference > 0)


def paired_interval(
    first: Matches,
    second: Matches,
    statistic: Statistic | Callable[[Matches, Weights], Doubles],
    compare: Callable[[Doubles, Doubles], Doubles] = difference,
    draws: Ints | None = None,
    confidence: float = 0.95,
    weights: Sequence[float] = (),
) -> Interval:
    """Compare two detectors on the same frames: both see the same resamples, so what is common to both cancels.

    Args:
        first, second: matches on the same frames in the same order.
        statistic: "map50", "map50_95" or a function of matches and weights giving (B,).
        compare: of the two statistics (B,), (B,).
        draws: from `frame_weights`; 1000 resamples of single frames with seed 0 when not given.
        confidence: of the two-sided percentile interval.
        weights: (F,) what each frame stands for; empty: all the same.

    Raises:
        BadInput: the two were not measured on the same truths, or there are no frames.
    """
    if not np.array_equal(first.truths, second.truths):
        raise BadInput("expected two detectors measured on the same frames and labels, came different truths.")
    drawn = frame_weights(first.frame_count, RESAMPLES, seed=0) if draws is None else draws
    rows = with_plain(drawn, weights)
    values = [_evaluate(matches, statistic, rows) for matches in (first, second)]
    return percentile_interval(compare(values[0], values[1]), confidence)


def interval(
    matches: Matches, statistic: Statistic, draws: Ints, confidence: float = 0.95, weights: Sequence[float] = ()
) -> Interval:
    """The statistic of one detector with its percentile interval; see `paired_interval`."""
    return percentile_interval(_evaluate(matches, statistic, with_plain(draws, weights)), confidence)


def with_plain(draws: Ints, weights: Sequence[float] = ()) -> Weights:
    """What each frame counts (1 + B, F): as it is, then in each resample (B, F).

    `weights`: (F,) what each frame stands for; empty: all the same, and the rows stay whole numbers.
    """
    rows = np.concatenate([np.ones((1, draws.shape[1]), np.int64), draws])
    return rows * np.asarray(weights, np.float64) if len(weights) else rows


def _evaluate(
    matches: Matches, statistic: Statistic | Callable[[Matches, Weights], Doubles], weights: Weights
) -> Doubles:
    """The statistic of each row of weights: (1 + B,)."""
    if callable(statistic):
        return statistic(matches, weights)
    return mean_average_precision(matches, weights, statistic)


def known_interval(values: Doubles, confidence: float) -> Interval | None:
    """`percentile_interval`, or None where the first value is NaN: there was nothing to measure."""
    return None if np.isnan(values[0]) else percentile_interval(values, confidence)


def percentile_interval(values: Doubles, confidence: float) -> Interval:
    """The first value with the percentile interval of the others; NaN resamples are left out."""
    resampled = values[1:][~np.isnan(values[1:])]
    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(resampled, [tail, 100 - tail]) if len(resampled) else (values[0], values[0])
    return Interval(value=float(values[0]), low=float(low), high=float(high), confidence=confidence)
