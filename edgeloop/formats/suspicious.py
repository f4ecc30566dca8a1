"""Boxes that are worth a look: odd shapes, odd sizes, one object boxed twice. They may be right; nothing is left out.

The boxes of a set are columns of numbers here, and each rule is a line of arithmetic over them. A schema library would
add nothing: whether a value is a finite number was checked when it was read (pydantic does so for COCO's records), and
pandera's checks need pandas or polars, which a device does not install.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeloop.formats.copies import overlaps
from edgeloop.formats.findings import Finding, notice
from edgeloop.formats.rules import RULES, Kind
from edgeloop.frames import LabelledFrame

Numbers = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAXIMUM_ASPECT = 20.0  # YOLOv5 took more extreme boxes for broken ones (ar_thr in its augmentation)
TINY_SIDE = 2.0  # pixels; Ultralytics drops thinner ones while it trains (wh_thr in box_candidates)
WHOLE_IMAGE = 0.95  # of the image's area
SAME_BOX_IOU = 0.9  # two boxes of one class that overlap so much are seldom two objects
OUTLIER = 3.5  # robust z, Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers, 3.5
NORMAL = 0.6745  # median absolute deviation of a standard normal distribution
ENOUGH = 20  # boxes of a class before its sizes say what is usual
SPREAD = 0.05  # least deviation of the logarithm of the area: a class drawn with a fixed frame has none
LISTED = 100  # boxes named of each kind, the worst first


@dataclass(frozen=True)
class Boxes:
    """Every box of a set.

    Attributes:
        frame: (N,) index of its frame.
        class_id: (N,).
        box: (N, 4) xyxy in pixels.
        share: (N,) of the image's area.
    """

    frame: Ints
    class_id: Ints
    box: Numbers
    share: Numbers

    @property
    def size(self) -> Numbers:
        """(N, 2) width and height in pixels."""
        return self.box[:, 2:] - self.box[:, :2]


@dataclass(frozen=True)
class Worst:
    """A suspicious box: how bad, which row of the columns, and why."""

    badness: float
    row: int
    reason: str


def suspicious(frames: Sequence[LabelledFrame], names: Sequence[str]) -> list[Finding]:
    """A notice for each box that is worth a look; of each kind at most 100, the worst, and one that counts the rest."""
    boxes = _columns(frames)
    found: dict[Kind, Iterator[Worst]] = {
        "odd-shape": _odd_shapes(boxes),
        "tiny-box": _tiny(boxes),
        "whole-image-box": _whole(boxes),
        "near-duplicate-box": _twice(frames, names),
        "odd-size": _odd_sizes(boxes, names),
    }
    return [finding for kind, worst in found.items() for finding in _listed(kind, worst, boxes, frames)]


def _columns(frames: Sequence[LabelledFrame]) -> Boxes:
    rows = [
        (index, label.class_id, *label.box, frame.frame.width * frame.frame.height)
        for index, frame in enumerate(frames)
        for label in frame.labels
    ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    box = table[:, 2:6]
    share = (box[:, 2:] - box[:, :2]).prod(axis=1) / table[:, 6]
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), box, share)


def _listed(kind: Kind, found: Iterator[Worst], boxes: Boxes, frames: Sequence[LabelledFrame]) -> Iterator[Finding]:
    worst = sorted(found, key=lambda item: (-item.badness, item.row))
    for item in worst[:LISTED]:
        x1, y1, x2, y2 = boxes.box[item.row].tolist()
        yield notice(kind, frames[boxes.frame[item.row]].frame.image, item.reason, (x1, y1, x2, y2))
    if len(worst) > LISTED:
        reason = f"and {len(worst) - LISTED} more: {RULES[kind].phrase}"
        yield notice(kind, frames[boxes.frame[worst[LISTED].row]].frame.image, reason)


def _odd_shapes(boxes: Boxes) -> Iterator[Worst]:
    aspects = boxes.size.max(axis=1, initial=1) / boxes.size.min(axis=1, initial=np.inf)
    for row in np.flatnonzero(aspects > MAXIMUM_ASPECT):
        reason = f"{_sides(boxes, row)}, one side {aspects[row]:.0f} times the other"
        yield Worst(float(aspects[row]), int(row), reason)


def _tiny(boxes: Boxes) -> Iterator[Worst]:
    shorter = boxes.size.min(axis=1, initial=np.inf)
    for row in np.flatnonzero(shorter < TINY_SIDE):
        reason = f"{_sides(boxes, row)}; training ignores sides below {TINY_SIDE:g}"
        yield Worst(-float(shorter[row]), int(row), reason)


def _whole(boxes: Boxes) -> Iterator[Worst]:
    for row in np.flatnonzero(boxes.share >= WHOLE_IMAGE):
        yield Worst(float(boxes.share[row]), int(row), f"{boxes.share[row]:.0%} of the image")


def _sides(boxes: Boxes, row: np.int64) -> str:
    width, height = boxes.size[row]
    return f"{width:.4g} × {height:.4g} pixels"


def _twice(frames: Sequence[LabelledFrame], names: Sequence[str]) -> Iterator[Worst]:
    start = 0
    for frame in frames:
        labels = frame.labels
        for one, other, iou in overlaps(labels, labels, SAME_BOX_IOU) if len(labels) > 1 else ():
            if one < other and labels[one].class_id == labels[other].class_id:
                reason = f"two boxes of {names[labels[one].class_id]} with an IoU of {iou:.2f}"
                yield Worst(iou, start + other, reason)
        start += len(labels)


def _odd_sizes(boxes: Boxes, names: Sequence[str]) -> Iterator[Worst]:
    """Robust z of the logarithm of the area's share, class by class: sizes multiply, and medians ignore outliers."""
    for class_id in np.unique(boxes.class_id):
        rows = np.flatnonzero(boxes.class_id == class_id)
        if len(rows) < ENOUGH:
            continue
        sizes = np.log(boxes.share[rows])
        usual = np.median(sizes)
        scores = NORMAL * (sizes - usual) / max(float(np.median(np.abs(sizes - usual))), SPREAD)
        for at in np.flatnonzero(np.abs(scores) > OUTLIER):
            times, word = np.exp(abs(sizes[at] - usual)), "larger" if scores[at] > 0 else "smaller"
            reason = f"{names[class_id]}, {times:.1f} times {word} than usual (robust z {scores[at]:.1f})"
            yield Worst(abs(float(scores[at])), int(rows[at]), reason)
