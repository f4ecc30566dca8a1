"""From the model's raw output to detections in pixels of the original image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.artifact import Artifact, Head
from edgeloop.boxes import Detections, Floats, Ints
from edgeloop.edge.frame import Geometry
from edgeloop.errors import BadInput

MAXIMUM_DETECTIONS = 300  # Ultralytics' max_det
FIRST_CANDIDATES = 1000  # NMS costs candidates x kept: it starts with the best ones and widens only when it must


@dataclass(frozen=True)
class Decoder:
    """How the output of one artifact is read.

    Attributes:
        head: "anchor-free" (4 + classes, anchors): centre-x, centre-y, width, height in pixels of the square, then
            one sigmoid score per class; needs NMS. "end-to-end" (detections, 6): x1, y1, x2, y2, score, class.
        classes: how many.
        iou: above which two boxes of one class are one object.
        floor: scores at or below it are dropped.
        multi_label: whether an anchor may answer for several classes, as Ultralytics does when it evaluates; when it
            predicts, the best class alone counts.
        limit: at most so many detections a frame.
    """

    head: Head
    classes: int
    iou: float = 0.7
    floor: float = 0.05
    multi_label: bool = False
    limit: int = MAXIMUM_DETECTIONS

    @classmethod
    def of(cls, artifact: Artifact, floor: float, multi_label: bool = False) -> Decoder:
        """The decoder of an artifact."""
        return cls(artifact.head, len(artifact.names), artifact.iou, floor, multi_label)

    def decode(self, raw: Floats, geometry: Geometry) -> Detections:
        """The detections of one image, highest score first, clipped to the image.

        Args:
            raw: the output for one image, without the batch axis: (4 + classes, anchors) or (detections, 6).
            geometry: how the image lies in the square.

        Raises:
            BadInput: the output's shape does not fit the head and the number of classes.
        """
        found = self._end_to_end(raw) if self.head == "end-to-end" else self._anchor_free(raw)
        return Detections(geometry.to_original(found.boxes), found.scores, found.classes)

    def _anchor_free(self, raw: Floats) -> Detections:
        if raw.ndim != 2 or raw.shape[0] != 4 + self.classes:
            raise _misfit(raw, f"(4 + {self.classes} classes, anchors)", self.head)
        anchors, classes = self._candidates(raw[4:])
        scores = raw[4 + classes, anchors]
        boxes = raw[:4, anchors].T
        corners = boxes.copy()
        corners[:, :2] -= boxes[:, 2:] / 2  # x, y of the top left corner, width, height: what OpenCV's NMS takes
        kept = suppress(corners, scores, classes, self.iou, self.limit)
        picked = corners[kept]
        picked[:, 2:] += picked[:, :2]
        return Detections(picked, scores[kept], classes[kept])

    def _candidates(self, scores: Floats) -> tuple[Ints, Ints]:
        """Anchors and classes whose score is above the floor, from (classes, anchors)."""
        if self.multi_label:
            classes, anchors = np.nonzero(scores > self.floor)
            return anchors, classes
        # The maximum over all anchors is vectorised, the argmax is six times slower: it runs on the few that passed.
        anchors = np.flatnonzero(scores.max(axis=0) > self.floor)
        return anchors, scores[:, anchors].argmax(axis=0)

    def _end_to_end(self, raw: Floats) -> Detections:
        if raw.ndim != 2 or raw.shape[1] != 6:
            raise _misfit(raw, "(detections, 6)", self.head)
        passed = raw[raw[:, 4] > self.floor]
        ordered = passed[np.argsort(-passed[:, 4], kind="stable")[: self.limit]]
        return Detections(ordered[:, :4], ordered[:, 4], ordered[:, 5].astype(np.int64))


def suppress(boxes: Floats, scores: Floats, classes: Ints, iou: float, limit: int) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: (N, 4) float32, x and y of the top left corner, width, height.
        scores: (N,) float32.
        classes: (N,) int64.
        iou: a box that overlaps a better one of its class by more than this is dropped.
        limit: at most so many are kept.

    Returns:
        Indices of the kept boxes, highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    kept = np.zeros(0, np.intp)
    taken = 0
    # What the best candidates keep does not depend on the rest, so a prefix that fills the limit is the whole answer.
    while taken < len(order) and len(kept) < limit:
        taken = min(len(order), max(FIRST_CANDIDATES, taken * 4))
        best = order[:taken]
        # Lists: OpenCV's binding converts them twice as fast as arrays.
        found = cv2.dnn.NMSBoxesBatched(boxes[best].tolist(), scores[best].tolist(), classes[best].tolist(), 0.0, iou)
        kept = best[np.asarray(found, np.intp).reshape(-1)]
    return kept[:limit]


def _misfit(raw: Floats, expected: str, head: Head) -> BadInput:
    return BadInput(
        f"expected {expected} from the {head} head, came {raw.shape}; "
        f"the artifact's record (head, names) does not belong to this file. Export it again."
    )
