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
        size: (N, 2) width and height in pixels.
        share: (N,) of the image's area.
    """

    frame: npt.NDArray[np.int64]
    class_id: npt.NDArray[np.int64]
    size: Numbers
    share: Numbers


def suspicious(frames: Sequence[LabelledFrame], names: Sequence[str]) -> list[Finding]:
    """A notice for each box that is worth a look; of each kind at most 100, the worst, and one that counts the rest."""
    boxes = _columns(frames)
    findings = _listed("odd-shape", _odd_shapes(boxes), frames)
    findings += _listed("tiny-box", _tiny(boxes), frames)
    findings += _listed("whole-image-box", _whole(boxes), frames)
    findings += _listed("near-duplicate-box", _twice(frames, names), frames)
    return findings + _listed("odd-size", _odd_sizes(boxes, names), frames)


Worst = tuple[float, int, str]  # how bad, whose frame, and why


def _columns(frames: Sequence[LabelledFrame]) -> Boxes:
    rows = [
        (index, label.class_id, *label.box, frame.frame.width * frame.frame.height)
        for index, frame in enumerate(frames)
        for label in frame.labels
    ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    size = table[:, 4:6] - table[:, 2:4]
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), size, size.prod(axis=1) / table[:, 6])


def _listed(kind: Kind, found: Iterator[Worst], frames: Sequence[LabelledFrame]) -> list[Finding]:
    worst = sorted(found, key=lambda item: (-item[0], item[1]))
    findings = [notice(kind, frames[index].frame.image, reason) for _, index, reason in worst[:LISTED]]
    if len(worst) > LISTED:
        reason = f"and {len(worst) - LISTED} more: {RULES[kind].phrase}"
        findings.append(notice(kind, frames[worst[LISTED][1]].frame.image, reason))
    return findings


def _odd_shapes(boxes: Boxes) -> Iterator[Worst]:
    aspects = boxes.size.max(axis=1, initial=1) / boxes.size.min(axis=1, initial=np.inf)
    for row in np.flatnonzero(aspects > MAXIMUM_ASPECT):
        reason = f"{_sides(boxes, row)}, one side {aspects[row]:.0f} times the other"
        yield float(aspects[row]), int(boxes.frame[row]), reason


def _tiny(boxes: Boxes) -> Iterator[Worst]:
    shorter = boxes.size.min(axis=1, initial=np.inf)
    for row in np.flatnonzero(shorter < TINY_SIDE):
        reason = f"{_sides(boxes, row)}; training ignores sides below {TINY_SIDE:g}"
        yield -float(shorter[row]), int(boxes.frame[row]), reason


def _whole(boxes: Boxes) -> Iterator[Worst]:
    for row in np.flatnonzero(boxes.share >= WHOLE_IMAGE):
        yield float(boxes.share[row]), int(boxes.frame[row]), f"{boxes.share[row]:.0%} of the image"


def _sides(boxes: Boxes, row: np.int64) -> str:
    width, height = boxes.size[row]
    return f"{width:.4g} × {height:.4g} pixels"


def _twice(frames: Sequence[LabelledFrame], names: Sequence[str]) -> Iterator[Worst]:
    for index, frame in enumerate(frames):
        for one, other, iou in overlaps(frame.labels, frame.labels, SAME_BOX_IOU) if len(frame.labels) > 1 else ():
            first, second = frame.labels[one], frame.labels[other]
            if one < other and first.class_id == second.class_id:
                yield iou, index, f"two boxes of {names[first.class_id]} with an IoU of {iou:.2f}"


def _odd_sizes(boxes: Boxes, names: Sequence[str]) -> Iterator[Worst]:
    """Robust z of the logarithm of the area's share, class by class: sizes multiply, and medians ignore outliers."""
    for class_id in np.unique(boxes.class_id):
        rows = np.flatnonzero(boxes.class_id == class_id)
        if len(rows) < ENOUGH:
            continue
        sizes = np.log(boxes.share[rows])
        usual = np.median(sizes)
        spread = max(float(np.median(np.abs(sizes - usual))), SPREAD)
        scores = NORMAL * (sizes - usual) / spread
        for at in np.flatnonzero(np.abs(scores) > OUTLIER):
            times = float(np.exp(abs(sizes[at] - usual)))
            word = "larger" if scores[at] > 0 else "smaller"
            reason = f"{names[class_id]}, {times:.1f} times {word} than usual (robust z {scores[at]:.1f})"
            yield abs(float(scores[at])), int(boxes.frame[rows[at]]), reason
