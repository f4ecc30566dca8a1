"""Objects by size: COCO's limits in pixels, and the same limits as shares of the picture.

COCO calls a box small below 32 x 32 pixels and large from 96 x 96 on. On a line whose frames are 192 pixels wide next
to nothing is "large" by that, and on a 12-megapixel camera next to nothing is "small", though a detector sees both
after scaling to its own input. So each box is judged by both: pixels to compare with what is published, and shares of
the frame's area for the line itself. The shares are COCO's limits on a frame of 640 x 480, what most of COCO is; limits
from quantiles of the set would move with the set and compare with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Detections, Floats, Ints, iou_matrix
from edgeloop.matching import IOU_LIMITS, Bools, Matches, Truths, rank

Scale = Literal["pixels", "share"]
SizeName = Literal["small", "medium", "large"]
SIZES: tuple[SizeName, ...] = get_args(SizeName)
COCO_FRAME = 640 * 480
UNITS: dict[Scale, int] = {"pixels": 1, "share": COCO_FRAME}
LIMITS = (0.0, 32.0**2, 96.0**2, 1e10)  # square pixels; COCO's own upper end of 1e5**2


@dataclass(frozen=True)
class SizeRange:
    """Boxes of `low` to `high`, both included as in COCO: square pixels, or shares of the frame's area."""

    scale: Scale
    name: SizeName
    low: float
    high: float


RANGES = tuple(
    SizeRange(scale, name, LIMITS[index] / unit, LIMITS[index + 1] / unit)
    for scale, unit in UNITS.items()
    for index, name in enumerate(SIZES)
)


def match_by_size(
    detections: Sequence[Detections], truths: Sequence[Truths], frame_areas: Sequence[int], class_count: int
) -> Mapping[SizeRange, Matches]:
    """Matches in each of `RANGES`, with COCO's rules.

    A label outside the range is ignored, and so is a detection that finds it. A detection prefers a label inside. One
    that finds nothing counts as false only when its own size lies in the range.

    Args:
        detections: of each frame.
        truths: of each frame, in the same order.
        frame_areas: width x height of each frame.
        class_count: how many classes.
    """
    by_frame, order, found, frames = rank(detections)
    parts = [_match_frame(*frame) for frame in zip(by_frame, truths, frame_areas, strict=True)]
    empty = np.zeros((0, len(RANGES), len(IOU_LIMITS)), np.bool_)
    hits, ignored = (np.concatenate([empty, *(part[which] for part in parts)])[order] for which in (0, 1))
    counts = [_count(truths, [part[2][index] for part in parts], class_count) for index in range(len(RANGES))]
    return {
        one: Matches(frames, found.classes, found.scores, hits[:, index], counts[index], ignored[:, index])
        for index, one in enumerate(RANGES)
    }


def _count(truths: Sequence[Truths], inside: Sequence[Bools], class_count: int) -> Ints:
    counts = [
        np.bincount(truth.classes[kept], minlength=class_count) for truth, kept in zip(truths, inside, strict=True)
    ]
    return np.stack(counts) if counts else np.zeros((0, class_count), np.int64)


def _match_frame(seen: Detections, truth: Truths, frame_area: int) -> tuple[Bools, Bools, Bools]:
    """Hits and ignored detections (N, R, 10) of one frame, and which labels are inside each range (R, G)."""
    inside = _inside(truth.boxes, frame_area)
    hits = np.zeros((len(seen), len(RANGES), len(IOU_LIMITS)), np.bool_)
    ignored = np.repeat(~_inside(seen.boxes, frame_area).T[:, :, None], len(IOU_LIMITS), axis=2)
    overlaps = np.where(
        seen.classes[:, None] == truth.classes[None, :], iou_matrix(seen.boxes, truth.boxes), np.float32(0)
    )
    limits = IOU_LIMITS.astype(np.float32)[:, None]
    preferred = np.where(inside, 2.0, 0.0)[:, None, :]  # (R, 1, G): above any IoU outside
    free = np.ones((len(RANGES), len(IOU_LIMITS), len(truth.classes)), np.bool_)
    for row in np.flatnonzero(overlaps.max(axis=1, initial=0) >= limits[0, 0]):
        open_overlaps = np.where(free & (overlaps[row] >= limits), overlaps[row] + preferred, np.float32(-1))
        best = open_overlaps.shape[2] - 1 - np.argmax(open_overlaps[:, :, ::-1], axis=2)
        ranges, rows = np.nonzero(open_overlaps.max(axis=2) > 0)
        chosen = best[ranges, rows]
        free[ranges, rows, chosen] = False
        hits[row, ranges, rows] = inside[ranges, chosen]
        ignored[row, ranges, rows] = ~inside[ranges, chosen]
    return hits, ignored, inside


def _inside(boxes: Floats, frame_area: int) -> Bools:
    """Which boxes (N, 4) lie in each of `RANGES`: (R, N). Areas in double precision, as COCO's evaluators have them."""
    sides = boxes.astype(np.float64)
    areas: Doubles = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    of_scale = {"pixels": areas, "share": areas / frame_area}
    return np.stack([(of_scale[one.scale] >= one.low) & (of_scale[one.scale] <= one.high) for one in RANGES])
