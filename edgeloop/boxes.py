"""Detections and labels. Boxes are xyxy in pixels of the original image, float32, unless a name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Detections:
    """What a detector saw on one frame, highest score first.

    Attributes:
        boxes: (N, 4) float32, xyxy in pixels of the original image.
        scores: (N,) float32 in 0..1.
        classes: (N,) int64, index into the artifact's names.
    """

    boxes: Floats
    scores: Floats
    classes: Ints

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def select(self, keep: npt.NDArray[np.bool_] | Ints) -> Detections:
        """The detections picked by a mask or by indices."""
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])

    def above(self, thresholds: npt.ArrayLike) -> Detections:
        """The detections whose score reaches the threshold of their class; `thresholds` is (classes,) float."""
        limits = np.asarray(thresholds, np.float32)
        return self.select(self.scores >= limits[self.classes])


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4), xyxy: (N, M) float32 in 0..1."""
    left, right = np.asarray(a, np.float32).reshape(-1, 4), np.asarray(b, np.float32).reshape(-1, 4)
    top_left = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = np.minimum(left[:, None, 2:], right[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = area(left)[:, None] + area(right)[None, :] - overlap
    ratio: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return ratio


def area(boxes: npt.ArrayLike) -> Floats:
    """Area in square pixels of xyxy boxes (N, 4): (N,) float32, 0 for inverted boxes."""
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    sides: Floats = np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def xyxy_to_yolo(boxes: npt.ArrayLike, width: int, height: int) -> Floats:
    """xyxy in pixels (N, 4) to YOLO's normalised centre-x, centre-y, width, height in 0..1."""
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4) / np.array([width, height, width, height], np.float32)
    return np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)
