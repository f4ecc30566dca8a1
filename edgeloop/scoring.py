"""What a logged frame is worth as a label: how unsure the detector is, what it may miss, how rare what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeloop.boxes import iou_matrix
from edgeloop.drift_features import STATISTICS, check_columns, flatten_boxes
from edgeloop.errors import BadInput

Values = npt.NDArray[np.float64]

TOP_BOXES = 3  # a frame is as uncertain as its three least certain objects together
SAME_OBJECT = 0.5  # IoU above which two boxes are about one object, whatever their classes
JUST_BELOW = 0.5  # share of its threshold down to which a box is a likely miss rather than noise
OUTLIER = 3.5  # modified z-score, Iglewicz & Hoaglin (1993)
RARE = 0.5  # a class with less than half of an equal share of the training boxes


@dataclass(frozen=True)
class Scored:
    """Candidate frames with their ranks, (N,) each; a higher rank is chosen earlier, 0 is not for that stratum.

    Attributes:
        objects: boxes that reach their threshold, (M, 4) xyxy in pixels of each frame.
        looks: (N, 3) brightness, contrast and sharpness in robust standard deviations from the camera's median.
        uncertainty: mean over the three least certain objects, 0..1.
    """

    frame_ids: tuple[str, ...]
    cameras: tuple[str, ...]
    times: tuple[datetime, ...]
    objects: tuple[Values, ...]
    looks: Values
    uncertainty: Values
    rare: Values
    missed: Values

    def __len__(self) -> int:
        return len(self.frame_ids)

    def confidence(self, index: int) -> float:
        """How sure the detector is of a frame, 0..1."""
        return float(1 - self.uncertainty[index])

    def reason(self, stratum: str, index: int) -> str:
        """One clause for people."""
        if stratum == "rare":
            return f"likely shows a class with few training boxes (rank {self.rare[index]:.2f})"
        if stratum == "missed" and len(self.objects[index]):
            return "a box just below its threshold"
        if stratum == "missed":
            return "no box, and either one just below its threshold or an unusual image"
        return f"uncertainty {self.uncertainty[index]:.2f} over its least certain objects"


def score_frames(log: pa.Table, thresholds: Sequence[float], training_boxes: Sequence[int]) -> Scored:
    """Rank every frame of a log for every stratum.

    Args:
        log: one row a frame.
        thresholds: (classes,) of the artifact that wrote the log.
        training_boxes: (classes,) boxes on the training side.

    Raises:
        BadInput: a column is missing, or a class id has no threshold.
    """
    check_columns(log, "log")
    frame, boxes = flatten_boxes(log)
    classes, limits = boxes["class_id"].astype(np.int64), np.asarray(thresholds, np.float64)
    if classes.size and not 0 <= classes.min() <= classes.max() < limits.size:
        raise BadInput(
            f"The log has class id {classes.max()}; the artifact has {limits.size} thresholds. Use its own log."
        )
    limit = np.maximum(limits[classes], np.finfo(np.float64).tiny)
    distinct = _distinct(frame, boxes, uncertainty(boxes["score"], limit))
    reached = boxes["score"] >= limit
    counts = np.bincount(frame[reached], minlength=len(log))
    looks = _looks(log)
    return Scored(
        frame_ids=tuple(log.column("frame_id").to_pylist()),
        cameras=tuple(log.column("camera").to_pylist()),
        times=tuple(log.column("time").to_pylist()),
        objects=tuple(np.split(_corners(boxes)[reached], np.cumsum(counts)[:-1])),
        looks=looks,
        uncertainty=_top_mean(frame, distinct, len(log)),
        rare=_rare(frame, boxes["score"] / limit, _weights(training_boxes, limits.size)[classes], len(log)),
        missed=np.maximum(_near_misses(frame, boxes, limit, len(log)), _outliers(looks, counts)),
    )


def uncertainty(scores: Values, limits: Values) -> Values:
    """1 at the threshold, falling linearly to 0 at the scores 0 and 1; (M,) each.

    A label is worth most where the detector's answer is a coin toss, and the answer turns at the threshold.
    """
    below = scores / limits
    above = (1 - scores) / np.maximum(1 - limits, np.finfo(np.float64).eps)
    found: Values = np.clip(np.where(scores < limits, below, above), 0, 1)
    return found


def _spans(frame: npt.NDArray[np.int64]) -> list[slice]:
    """The boxes of each frame that has some; boxes of one frame are neighbours."""
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], frame.size], strict=False)]  # no boxes, no starts


def _corners(boxes: dict[str, Values]) -> Values:
    return np.stack([boxes[side] for side in ("x1", "y1", "x2", "y2")], axis=1)


def _distinct(frame: npt.NDArray[np.int64], boxes: dict[str, Values], worth: Values) -> Values:
    """The worth of each box, 0 where a box of higher worth is about the same object."""
    corners, kept = _corners(boxes), worth.copy()
    for span in _spans(frame):
        if span.stop - span.start == 1:
            continue
        order = np.argsort(-worth[span], kind="stable") + span.start
        same = iou_matrix(corners[order], corners[order]) > SAME_OBJECT
        for rank in range(1, order.size):
            if (same[rank, :rank] & (kept[order[:rank]] > 0)).any():
                kept[order[rank]] = 0
    return kept


def _top_mean(frame: npt.NDArray[np.int64], worth: Values, frames: int) -> Values:
    order = np.lexsort((-worth, frame))
    ranked = frame[order]
    position = np.arange(ranked.size) - np.searchsorted(ranked, ranked)
    top = order[position < TOP_BOXES]
    mean: Values = np.bincount(frame[top], weights=worth[top], minlength=frames) / TOP_BOXES
    return mean


def _weights(training_boxes: Sequence[int], classes: int) -> Values:
    """Per class, how many times rarer than an equal share it is on the training side; 0 unless it is rare."""
    counts = np.zeros(classes)
    counts[: len(training_boxes)] = training_boxes[:classes]
    equal = counts.sum() / max(classes, 1)
    weights: Values = np.where(counts < RARE * equal, equal / np.maximum(counts, 1), 0)
    return weights


def _rare(frame: npt.NDArray[np.int64], ratio: Values, weight: Values, frames: int) -> Values:
    """The best of weight times how likely the box is, counting boxes from half their threshold up."""
    ranks = np.zeros(frames)
    np.maximum.at(ranks, frame, np.where(ratio >= JUST_BELOW, weight * np.minimum(ratio, 1), 0))
    return ranks


def _near_misses(frame: npt.NDArray[np.int64], boxes: dict[str, Values], limit: Values, frames: int) -> Values:
    """The largest share of its threshold that a box reaches which no confident box covers; 0 below half."""
    corners, ratio, ranks = _corners(boxes), boxes["score"] / limit, np.zeros(frames)
    for span in _spans(frame):
        candidates = np.flatnonzero((ratio[span] < 1) & (ratio[span] >= JUST_BELOW)) + span.start
        confident = np.flatnonzero(ratio[span] >= 1) + span.start
        if candidates.size and confident.size:
            covered = iou_matrix(corners[candidates], corners[confident]).max(axis=1) > SAME_OBJECT
            candidates = candidates[~covered]
        if candidates.size:
            ranks[frame[span.start]] = ratio[candidates].max()
    return ranks


def _looks(log: pa.Table) -> Values:
    """Image statistics as modified z-scores within each camera; a missing statistic counts as the median."""
    cameras = np.array(log.column("camera").to_pylist(), dtype=object)
    looks = np.stack(
        [log.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in STATISTICS], axis=1
    )
    for camera in sorted(set(cameras.tolist())):
        rows = cameras == camera
        if np.isnan(looks[rows]).all(axis=0).any():
            looks[rows] = 0
            continue
        middle = np.nanmedian(looks[rows], axis=0)
        spread = np.nanmedian(np.abs(looks[rows] - middle), axis=0) / 0.6745  # of a normal distribution
        looks[rows] = (looks[rows] - middle) / np.where(spread > 0, spread, np.inf)
    finite: npt.NDArray[np.float64] = np.nan_to_num(looks, nan=0.0, posinf=0.0, neginf=0.0)
    return finite


def _outliers(looks: Values, objects: npt.NDArray[np.int64]) -> Values:
    """Empty frames that look unlike their camera's others: 0.5 at the limit, towards 1 far beyond it."""
    distance = np.abs(looks).max(axis=1, initial=0.0)
    ranks: Values = np.where((objects == 0) & (distance > OUTLIER), distance / (distance + OUTLIER), 0)
    return ranks
