"""What passes through a labelling queue, whichever it is, and the geometry at its border."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from pydantic import Field

from edgeloop.errors import BadInput
from edgeloop.frames import Frame, Label, LabelledFrame, Split
from edgeloop.record import Record
from edgeloop.selection import Selection, Stratum

Corners = tuple[float, float, float, float]


class PreLabel(Record):
    """A box the detector proposes: corners x1, y1, x2, y2 in pixels, inside the image."""

    class_id: int = Field(ge=0)
    box: Corners
    score: float = Field(ge=0, le=1)


class QueueTask(Record):
    """A frame on its way to a person, with what the detector saw on it.

    Attributes:
        score: 0..1, lowest labelled first.
        artifact_id: which artifact the proposed boxes come from.
    """

    frame: Frame
    stratum: Stratum
    score: float = Field(ge=0, le=1)
    reason: str
    artifact_id: str
    prelabels: tuple[PreLabel, ...] = ()


class Answer(Record):
    """What a person said about a frame. Skipped is no label; no labels and not skipped is a confirmed background."""

    frame_id: str
    labels: tuple[Label, ...] = ()
    labeler: str = Field(min_length=1)
    skipped: bool = False


class PushReport(Record):
    """What a push did. Pushing the same tasks again adds nothing."""

    queue: str
    added: int
    already: int


class PullReport(Record):
    """What changed in a queue since the last acknowledged pull.

    Attributes:
        frames: newly labelled or edited frames.
        skipped: frames that people declined to label.
        retracted: frames whose label, acknowledged before, was taken back.
        problems: answers that could not be used, one sentence each; they come again until they are changed.
        clipped: boxes that stuck out of their image and were cut to it.
        seen: frame id and revision of every answer that this report covers; `acknowledge` keeps it.
        until: changes up to this moment are covered.
    """

    queue: str
    frames: tuple[LabelledFrame, ...] = ()
    skipped: tuple[str, ...] = ()
    retracted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    clipped: int = 0
    seen: tuple[tuple[str, str], ...] = ()
    until: datetime | None = None


class QueueStatus(Record):
    """How far a queue is."""

    queue: str
    total: int
    labelled: int
    skipped: int
    waiting: int
    frame_ids: tuple[str, ...]


class Queue(Protocol):
    """Where people label, in a `with` block. A pull repeats what was not acknowledged, so a crash loses no label."""

    def __enter__(self) -> Queue: ...

    def __exit__(self, *_: object) -> None: ...

    def push(self, tasks: Sequence[QueueTask], names: Sequence[str]) -> PushReport:
        """Add the tasks that are not there yet."""

    def pull(self) -> PullReport:
        """What changed since the last acknowledged pull."""

    def acknowledge(self, report: PullReport) -> None:
        """The labels of this report are safe; do not bring them again."""

    def status(self) -> QueueStatus:
        """How far it is."""


def queue_tasks(selection: Selection, log: pa.Table, images: dict[str, Path]) -> tuple[QueueTask, ...]:
    """The chosen frames with the detector's boxes above their thresholds, lowest score first.

    Args:
        selection: the chosen frames.
        log: rows of the inference log that hold them.
        images: frame id to image file on this machine.

    Raises:
        BadInput: a chosen frame is not in the log.
    """
    rows = {row["frame_id"]: row for row in log.to_pylist()}
    missing = [chosen.frame_id for chosen in selection.frames if chosen.frame_id not in rows]
    if missing:
        raise BadInput(f"{len(missing)} chosen frames are not in the log, first {missing[0]}; push with the same log.")
    tasks = [
        QueueTask(
            frame=_frame(rows[chosen.frame_id], images[chosen.frame_id]),
            stratum=chosen.stratum,
            score=chosen.score,
            reason=chosen.reason,
            artifact_id=selection.artifact_id,
            prelabels=_prelabels(rows[chosen.frame_id]),
        )
        for chosen in selection.frames
    ]
    return tuple(sorted(tasks, key=lambda task: (task.score, task.frame.frame_id)))


def _frame(row: dict[str, object], image: Path) -> Frame:
    facts = {name: row[name] for name in ("frame_id", "width", "height", "camera", "time")}
    return Frame(image=image, named="device" if row.get("kept") else "content", **facts)  # type: ignore[arg-type]


def _prelabels(row: dict[str, object]) -> tuple[PreLabel, ...]:
    """Boxes that reach their class's threshold, cut to the image; what lies outside it is no proposal."""
    thresholds, width, height = row["thresholds"], row["width"], row["height"]
    found = []
    for box in row["boxes"] or ():  # type: ignore[attr-defined]
        corners = clip((box["x1"], box["y1"], box["x2"], box["y2"]), width, height)  # type: ignore[arg-type]
        if corners is not None and box["score"] >= thresholds[box["class_id"]]:  # type: ignore[index]
            found.append(PreLabel(class_id=box["class_id"], box=corners, score=box["score"]))
    return tuple(found)


@dataclass(frozen=True)
class Reply:
    """What a queue holds about one task now.

    Attributes:
        revision: differs whenever the answer does.
        answer: None when there is none (any more).
        problem: why the answer cannot be read.
    """

    task: QueueTask
    revision: str = ""
    answer: Answer | None = None
    problem: str = ""


SKIPPED = "skipped:"  # revisions of skipped tasks begin so: taking one back retracts no label


def collect(queue: str, replies: Iterable[Reply], before: Mapping[str, str], classes: int) -> PullReport:
    """What changed against the acknowledged revisions `before`, by frame id."""
    frames, skipped, retracted, problems, clipped = [], [], [], [], 0
    seen: dict[str, str] = {}
    for reply in replies:
        frame_id = reply.task.frame.frame_id
        known = before.get(frame_id, "")
        revision = f"{SKIPPED}{reply.revision}" if reply.answer and reply.answer.skipped else reply.revision
        if revision == known and not reply.problem:
            continue
        try:
            settled = settle(reply, classes)
        except BadInput as problem:
            problems.append(f"{frame_id}: {problem}")
            continue
        seen[frame_id] = revision
        if settled is not None:
            frames.append(settled[0])
            clipped += settled[1]
            continue
        skipped += [frame_id] if reply.answer else []
        retracted += [frame_id] if known and not known.startswith(SKIPPED) else []
    return PullReport(
        queue=queue,
        frames=tuple(frames),
        skipped=tuple(skipped),
        retracted=tuple(retracted),
        problems=tuple(problems),
        clipped=clipped,
        seen=tuple(seen.items()),
    )


def settle(reply: Reply, classes: int) -> tuple[LabelledFrame, int] | None:
    """The labelled frame and how many of its boxes were cut to the image; None for a skip or no answer.

    The audit stratum judges and is never trained on, so it keeps a side of its own.

    Raises:
        BadInput: the answer cannot be used; the message says which box and why.
    """
    if reply.problem:
        raise BadInput(reply.problem)
    if reply.answer is None or reply.answer.skipped:
        return None
    frame, labels, clipped = reply.task.frame, [], 0
    for number, label in enumerate(reply.answer.labels, 1):
        if not 0 <= label.class_id < classes:
            raise BadInput(f"box {number} has class {label.class_id}; expected 0 to {classes - 1}.")
        box = clip(label.box, frame.width, frame.height)
        if box is None:
            raise BadInput(f"box {number} at {label.box} has no area inside {frame.width} × {frame.height} pixels.")
        clipped += box != label.box
        labels.append(Label(label.class_id, box))
    split: Split | None = "audit" if reply.task.stratum == "audit" else None
    source = f"queue:{reply.task.stratum}"
    return LabelledFrame(frame, tuple(labels), split, source, reply.answer.labeler), clipped


def check_names(queue: str, names: Sequence[str], there: Sequence[str]) -> None:
    """Refuse class names that would give the labels in a queue another meaning; new names may follow the old ones.

    Raises:
        BadInput: the queue's names are not the first of `names`.
    """
    if tuple(there) != tuple(names[: len(there)]):
        raise BadInput(
            f"{queue} has the classes {', '.join(there)}; came {', '.join(names)}. Use another queue.project for them."
        )


def clip(box: Sequence[float], width: int, height: int) -> Corners | None:
    """A box cut to its image; None when less than one pixel in width or height is left, or a number is not finite."""
    if not all(math.isfinite(value) for value in box):
        return None
    x1, x2 = (min(max(float(value), 0.0), float(width)) for value in (box[0], box[2]))
    y1, y2 = (min(max(float(value), 0.0), float(height)) for value in (box[1], box[3]))
    return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None
