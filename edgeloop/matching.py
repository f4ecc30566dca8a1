"""Which detection found which truth: greedy by score, per class and frame, at ten IoU limits at once, as COCO does.

The arrays are what thresholds, intervals and error pictures are computed from. The numbers that a report states as
average precision come from faster-coco-eval; tests hold both to the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeloop.boxes import Detections, Floats, Ints, iou_matrix

Bools = npt.NDArray[np.bool_]

IOU_LIMITS = np.linspace(0.5, 0.95, 10)  # COCO's ten
MAXIMUM_DETECTIONS = 300  # a frame; Ultralytics validates with 300


@dataclass(frozen=True)
class Truths:
    """The labelled boxes of one frame: boxes (G, 4) float32 xyxy in pixels, classes (G,) int64."""

    boxes: Floats
    classes: Ints


@dataclass(frozen=True)
class Matches:
    """Every detection of a set of frames, highest score first, and whether it found a truth.

    Attributes:
        frames: (N,) int64, index of the frame the detection is on.
        classes: (N,) int64.
        scores: (N,) float32, falling.
        hits: (N, 10) bool, whether the detection found a truth of its own at each of `IOU_LIMITS`.
        truths: (F, C) int64, labelled boxes per frame and class; its shape says how many frames and classes there are.
        ignored: (N, 10) bool, detections that count neither way, where only a part of the labels is judged (a range of
            sizes); None where everything counts.
    """

    frames: Ints
    classes: Ints
    scores: Floats
    hits: Bools
    truths: Ints
    ignored: Bools | None = None

    @property
    def frame_count(self) -> int:
        return int(self.truths.shape[0])

    @property
    def class_count(self) -> int:
        return int(self.truths.shape[1])

    def of_class(self, class_id: int) -> Matches:
        """The detections of one class; `truths` stays whole."""
        return self.select(self.classes == class_id)

    def select(self, keep: Bools) -> Matches:
        """The detections picked by a mask (N,); `truths` stays whole."""
        ignored = None if self.ignored is None else self.ignored[keep]
        return Matches(self.frames[keep], self.classes[keep], self.scores[keep], self.hits[keep], self.truths, ignored)

    def on(self, frames: Ints) -> Matches:
        """The frames picked by rising indices (K,), numbered anew."""
        place = np.full(self.frame_count, -1, np.int64)
        place[frames] = np.arange(len(frames))
        kept = self.select(place[self.frames] >= 0)
        return replace(kept, frames=place[kept.frames], truths=self.truths[frames])


def match(detections: Sequence[Detections], truths: Sequence[Truths], class_count: int) -> Matches:
    """Match the detections of each frame with its truths; both sequences are in the same order of frames.

    Equal scores keep the order of frames, then of detections, as COCO's stable sort does.
    """
    ranked = rank(detections)
    hits, counts = [np.zeros((0, len(IOU_LIMITS)), np.bool_)], np.zeros((len(truths), class_count), np.int64)
    for index, (seen, truth) in enumerate(zip(ranked.by_frame, truths, strict=True)):
        hits.append(match_frame(seen, truth)[0])
        counts[index] = np.bincount(truth.classes, minlength=class_count)
    found = ranked.detections
    return Matches(ranked.frames, found.classes, found.scores, np.concatenate(hits)[ranked.order], counts)


class Ranked(NamedTuple):
    """The detections that are judged, at most 300 a frame.

    Attributes:
        by_frame: of each frame, highest score first.
        order: (N,) int64, which of them, counted frame by frame, comes where in the two below.
        detections: of all frames, highest score first.
        frames: (N,) int64, the frame of each.
    """

    by_frame: list[Detections]
    order: Ints
    detections: Detections
    frames: Ints


def rank(detections: Sequence[Detections]) -> Ranked:
    """Put the detections of all frames in the order of `Matches`."""
    kept = [seen.select(np.argsort(-seen.scores, kind="stable")[:MAXIMUM_DETECTIONS]) for seen in detections]
    parts = [Detections.empty(), *kept]
    everything = Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )
    order = np.argsort(-everything.scores, kind="stable")
    frames = np.repeat(np.arange(len(kept)), np.array([len(seen) for seen in kept], np.int64))
    return Ranked(kept, order, everything.select(order), frames[order])


def match_frame(seen: Detections, truth: Truths) -> tuple[Bools, Bools]:
    """Hits (N, 10) of one frame's detections, which are sorted by score, and which truths (G, 10) were found.

    A detection takes the free truth of its class with the highest IoU at or above the limit; of equal ones the last.
    """
    hits = np.zeros((len(seen), len(IOU_LIMITS)), np.bool_)
    overlaps = np.where(
        seen.classes[:, None] == truth.classes[None, :], iou_matrix(seen.boxes, truth.boxes), np.float32(0)
    )
    limits = IOU_LIMITS.astype(np.float32)  # IoU is float32 too, so that 13/20 meets a limit of 0.65 exactly
    taken = np.zeros((len(IOU_LIMITS), len(truth.classes)), np.bool_)
    for row in np.flatnonzero(overlaps.max(axis=1, initial=0) >= limits[0]):
        open_overlaps = np.where(taken | (overlaps[row] < limits[:, None]), np.float32(-1), overlaps[row])
        best = open_overlaps.shape[1] - 1 - np.argmax(open_overlaps[:, ::-1], axis=1)
        found = np.flatnonzero(open_overlaps.max(axis=1) > 0)
        hits[row, found] = True
        taken[found, best[found]] = True
    return hits, taken.T


def join(parts: Sequence[Matches]) -> Matches:
    """Several sets of frames as one, the frames numbered on; all have the same classes, and none ignores anything."""
    offsets = np.cumsum([0, *(part.frame_count for part in parts)])
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    return Matches(
        frames=np.concatenate([part.frames + offset for part, offset in zip(parts, offsets, strict=False)])[order],
        classes=np.concatenate([part.classes for part in parts])[order],
        scores=scores[order],
        hits=np.concatenate([part.hits for part in parts])[order],
        truths=np.concatenate([part.truths for part in parts]),
    )


@dataclass(frozen=True)
class Counts:
    """What an operating point gives per class, (C,) int64 each: found truths, false positives, missed truths."""

    found: Ints
    false: Ints
    missed: Ints


def count_at(matches: Matches, thresholds: npt.ArrayLike) -> Counts:
    """Counts at IoU 0.5 when only scores at or above the class's threshold are shown; `thresholds` is (C,) float.

    Matching is greedy by score, so hiding the low scores changes no match of those above.
    """
    limits = np.asarray(thresholds, np.float32)
    shown = matches.scores >= limits[matches.classes]
    hits = matches.hits[:, 0]
    found = np.bincount(matches.classes[shown & hits], minlength=matches.class_count)
    false = np.bincount(matches.classes[shown & ~hits], minlength=matches.class_count)
    return Counts(found, false, matches.truths.sum(axis=0) - found)
