"""Does a confidence mean what it says? Detection expected calibration error (D-ECE), with what chance alone gives.

Küppers, Kronenberger, Shantia, Haselhoff: Multivariate Confidence Calibration for Object Detection, CVPR workshops
2020. Detections are sorted into bins; D-ECE is the mean over the detections of |precision - mean confidence| of their
bin. A detection is right when it found a label of its own at IoU 0.5. Bins are of confidence alone, or also of where
the box lies and how large it is: a detector may be right on average and too sure at the frame's edge.

Two things to know. A bin of few detections is off by chance, and every such distance is positive, so D-ECE is never 0
and grows with the number of bins; `by_chance` says how large it would be for a perfect detector. And a detector gives
hundreds of boxes near 0 a frame, which are "calibrated" by being nothing: below `FLOOR` they would hide everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeloop.bootstrap import Doubles, Weights, percentile_interval
from edgeloop.boxes import Floats, Ints
from edgeloop.edge.detector import LOG_FLOOR
from edgeloop.matching import Matches
from edgeloop.measures import Calibration, ConditionalCalibration, ReliabilityBin
from edgeloop.rates import share

FLOOR = LOG_FLOOR  # what devices log, and thresholds and drift estimates read
BINS = 20  # of confidence, equally wide
GRIDS: dict[Literal["position", "size", "position and size"], tuple[tuple[int, ...], int]] = {
    "position": ((0, 1), 8),  # columns of (centre x, centre y, width, height), bins along each axis
    "size": ((2, 3), 8),
    "position and size": ((0, 1, 2, 3), 5),
}
MINIMUM_DETECTIONS = 8  # in a bin of the grids, of which most are empty


def calibration(matches: Matches, boxes: Floats, weights: Weights, confidence: float) -> Calibration | None:
    """D-ECE of a set with its interval and its reliability diagram; None without a detection above the floor.

    Args:
        matches: of F frames.
        boxes: (N, 4) centre x, centre y, width, height as shares of the frame, in the order of the matches.
        weights: (1 + B, F), the frames as they are first.
        confidence: of the interval.
    """
    kept = matches.scores >= np.float32(FLOOR)
    seen, cells = matches.select(kept), _cells(matches.scores[kept], BINS)
    if not len(seen.scores):
        return None
    errors = expected_errors(seen, cells, BINS, weights)
    weighed = weights[0][seen.frames].astype(np.float64)
    return Calibration(
        error=percentile_interval(errors, confidence),
        by_chance=_by_chance(seen.scores, cells, weighed),
        floor=FLOOR,
        detections=len(seen.scores),
        bins=_diagram(seen, cells, weighed),
        conditional=tuple(_given(name, seen, boxes[kept], weighed) for name in GRIDS),
    )


def class_errors(matches: Matches, weights: Weights) -> list[float | None]:
    """D-ECE of each class, over bins of confidence; None for one without a detection above the floor."""
    above = matches.select(matches.scores >= np.float32(FLOOR))
    parts = [above.of_class(class_id) for class_id in range(matches.class_count)]
    errors = [expected_errors(part, _cells(part.scores, BINS), BINS, weights[:1])[0] for part in parts]
    return [None if np.isnan(error) else float(error) for error in errors]


def expected_errors(matches: Matches, cells: Ints, count: int, weights: Weights) -> Doubles:
    """D-ECE of each resample, (B,); NaN where it holds no detection.

    Args:
        matches: N detections on F frames.
        cells: (N,) the bin of each, below `count`.
        count: how many bins.
        weights: (B, F).
    """
    surplus: Doubles = matches.hits[:, 0] - matches.scores.astype(np.float64)  # right, minus what was claimed
    shape = (matches.frame_count, count)
    where = np.ravel_multi_index((matches.frames, cells), shape)
    drawn = weights.astype(np.float64)
    distance = drawn @ np.bincount(where, surplus, shape[0] * count).reshape(shape)
    shown = drawn @ np.bincount(matches.frames, minlength=matches.frame_count).astype(np.float64)
    return share(np.abs(distance).sum(axis=1), shown)


def _by_chance(scores: Floats, cells: Ints, weighed: Doubles) -> float:
    """The expectation for a perfect detector: a bin's distance is normal around 0, so its mean is sqrt(2/pi) sigma."""
    claimed = scores.astype(np.float64)
    variance = np.bincount(cells, weighed**2 * claimed * (1 - claimed))
    return float(np.sqrt(2 / np.pi * variance).sum() / weighed.sum())


def _diagram(seen: Matches, cells: Ints, weighed: Doubles) -> tuple[ReliabilityBin, ...]:
    sums = [np.bincount(cells, values * weighed, BINS) for values in (1.0, seen.scores, seen.hits[:, 0])]
    counts = np.bincount(cells, minlength=BINS)
    return tuple(
        ReliabilityBin(
            low=index / BINS,
            high=(index + 1) / BINS,
            detections=int(counts[index]),
            confidence=float(sums[1][index] / sums[0][index]),
            precision=float(sums[2][index] / sums[0][index]),
        )
        for index in np.flatnonzero(sums[0] > 0).tolist()
    )


def _given(
    name: Literal["position", "size", "position and size"], seen: Matches, boxes: Floats, weighed: Doubles
) -> ConditionalCalibration:
    columns, bins = GRIDS[name]
    cells = _numbered([_cells(values, bins) for values in (seen.scores, *(boxes[:, column] for column in columns))])
    full = np.bincount(cells)[cells] >= MINIMUM_DETECTIONS
    kept, cells, counted = seen.select(full), cells[full], weighed[full]
    surplus: Doubles = kept.hits[:, 0] - kept.scores.astype(np.float64)
    shown = float(counted.sum())
    return ConditionalCalibration(
        given=name,
        error=float(np.abs(np.bincount(cells, surplus * counted)).sum() / shown) if shown else 0.0,
        by_chance=_by_chance(kept.scores, cells, counted) if shown else 0.0,
        covered=float(full.mean()),
    )


def _cells(values: npt.ArrayLike, bins: int) -> Ints:
    """The bin of each value in 0..1; 1 belongs to the last."""
    cells: Ints = np.clip((np.asarray(values, np.float64) * bins).astype(np.int64), 0, bins - 1)
    return cells


def _numbered(parts: Sequence[Ints]) -> Ints:
    """The cells of a grid that hold anything, numbered 0, 1, …"""
    found: Ints = np.unique(np.stack(parts, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    return found


def relative_boxes(boxes: Floats, frames: Ints, sizes: npt.ArrayLike) -> Floats:
    """xyxy boxes (N, 4) in pixels as centre x, centre y, width, height in shares of their frames.

    Args:
        boxes: (N, 4).
        frames: (N,) index into the sizes.
        sizes: (F, 2) width and height of each frame.
    """
    scale = np.asarray(sizes, np.float32).reshape(-1, 2)[frames]
    centres, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    relative: Floats = np.concatenate([centres / scale, extent / scale], axis=1)
    return relative
