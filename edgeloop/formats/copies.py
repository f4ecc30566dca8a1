"""One content, one frame: files with the same bytes are joined, and where their labels differ it is decided and said.

A union of all boxes would be wrong where two people drew one object: their boxes differ by more than rounding (the
pair in NEU-DET by an IoU of 0.84), both would stay, and a detector would be taught to see the object twice. A box of
another copy is therefore the same object as a box of the kept copy when they overlap by an IoU of 0.5, the limit
at which detections count as found everywhere else; each box can stand for one other only, so crowded objects stay.
The kept copy's box and class win: it is the one on the stricter side of the split, whose labels are measured against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgeloop.boxes import iou_matrix
from edgeloop.formats.findings import Finding, printable, warning
from edgeloop.frames import Label, LabelledFrame, Split

SAME_OBJECT_IOU = 0.5
STRICTEST: tuple[Split | None, ...] = ("audit", "test", "val", "train", None)  # a frame on two sides stays on the first
_ROWS = 256  # boxes compared with all others at a time


def join_copies(frames: Sequence[LabelledFrame]) -> tuple[list[LabelledFrame], list[Finding]]:
    """Each content once: on the strictest side any copy is on, its labels those of that copy and what only others have.

    Of copies on one side the first is kept. Returns the frames, and a warning for each file that was joined.
    """
    copies: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        copies.setdefault(frame.frame.frame_id, []).append(frame)
    joined = [_join(group) for group in copies.values()]
    return [frame for frame, _ in joined], [finding for _, findings in joined for finding in findings]


def _join(copies: list[LabelledFrame]) -> tuple[LabelledFrame, list[Finding]]:
    if len(copies) == 1:
        return copies[0], []
    kept, *others = sorted(copies, key=lambda copy: STRICTEST.index(copy.split))
    labels, moved, renamed = list(kept.labels), 0, 0
    for other in others:
        pairs = same_objects(labels, other.labels)
        matched = {theirs for _, theirs in pairs}
        moved += sum(labels[ours].box != other.labels[theirs].box for ours, theirs in pairs)
        renamed += sum(labels[ours].class_id != other.labels[theirs].class_id for ours, theirs in pairs)
        labels += [label for index, label in enumerate(other.labels) if index not in matched]
    reason = _reason(kept, [kept, *others], (len(labels), moved, renamed))
    findings = [warning("duplicate-frame", other.frame.image, reason) for other in others]
    return replace(kept, labels=tuple(labels)), findings


def _reason(kept: LabelledFrame, copies: Sequence[LabelledFrame], counts: tuple[int, int, int]) -> str:
    joined, moved, renamed = counts
    numbers = " and ".join(str(len(copy.labels)) for copy in copies)
    side = f" on the {kept.split} side" if kept.split else ""
    return (
        f"same bytes as {printable(kept.frame.image.name)}, which is kept once{side}; their {numbers} boxes were "
        f"joined to {joined}: boxes with an IoU of at least {SAME_OBJECT_IOU} are one object, of which the kept "
        f"file's box and class stand ({moved} drawn differently, {renamed} with another class)"
    )


def same_objects(ours: Sequence[Label], theirs: Sequence[Label]) -> list[tuple[int, int]]:
    """Index pairs of boxes that show one object: one to one, those of one class first, then the larger overlap."""
    found = overlaps(ours, theirs, SAME_OBJECT_IOU)
    ranked = sorted(found, key=lambda pair: (ours[pair[0]].class_id != theirs[pair[1]].class_id, -pair[2], pair))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for one, other, _ in ranked:
        if one not in pairs and other not in taken:
            pairs[one] = other
            taken.add(other)
    return list(pairs.items())


def overlaps(ours: Sequence[Label], theirs: Sequence[Label], least: float) -> Iterator[tuple[int, int, float]]:
    """Every pair of boxes that overlaps by an IoU of at least `least`: two indices and the IoU.

    Memory grows with the longer list, not with the product of both.
    """
    boxes = np.array([label.box for label in theirs], np.float32).reshape(-1, 4)
    for start in range(0, len(ours), _ROWS):
        ious = iou_matrix([label.box for label in ours[start : start + _ROWS]], boxes)
        for row, column in zip(*np.nonzero(ious >= least), strict=True):
            yield start + int(row), int(column), float(ious[row, column])
