"""Audit sets: labelled frames at production prevalence that nothing is trained on, frozen, in two halves for ever.

Thresholds are tuned on the tuning half, numbers and gate come from the scoring half, so that no threshold is judged
on the frames it was chosen on. A frame's half follows from its id alone: it never changes when the set grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgeloop.dataset import load_labels, load_names
from edgeloop.errors import BadInput
from edgeloop.frames import LabelledFrame, Split
from edgeloop.matching import Truths
from edgeloop.record import Record
from edgeloop.splits import group_of

Half = Literal["tune", "score"]


class AuditSet(Record):
    """Where an audit set lies and what it held when it was frozen.

    Attributes:
        name: how reports call it.
        folder: a labelled set.
        split: the side of it that is meant; None takes every frame.
        digest: of the frames and their labels.
        frames: how many.
    """

    name: str
    folder: Path
    split: Split | None
    digest: str
    frames: int


@dataclass(frozen=True)
class Scored:
    """What was scored: the name and digest of a frozen half, its classes, and what its frames are drawn together by."""

    name: str
    digest: str
    names: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class AuditFrames:
    """The frames of an audit set, or of one half of it, by frame id.

    Attributes:
        name: of the set.
        names: class names, index is the class id of the labels.
        frames: sorted by frame id.
        weights: how many production frames each stands for, up to a common factor; empty: all the same, which is what
            a random draw of production is.
    """

    name: str
    names: tuple[str, ...]
    frames: tuple[LabelledFrame, ...]
    weights: tuple[float, ...] = ()

    def half(self, half: Half) -> AuditFrames:
        """The frames of one half."""
        return self.at([index for index, frame in enumerate(self.frames) if half_of(frame) == half])

    def at(self, indices: Sequence[int]) -> AuditFrames:
        """The frames at these indices, with their weights."""
        weights = tuple(self.weights[index] for index in indices) if self.weights else ()
        return replace(self, frames=tuple(self.frames[index] for index in indices), weights=weights)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(frame.frame.frame_id for frame in self.frames)

    @property
    def groups(self) -> tuple[str, ...]:
        """What is drawn together when frames are resampled: the frame's group, or the frame itself."""
        return tuple(group_of(frame) for frame in self.frames)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over frame ids, class names and boxes: equal content, equal digest."""
        content = hashlib.sha256()
        for frame in self.frames:
            boxes = sorted(f"{self.names[label.class_id]} {_corners(label.box)}" for label in frame.labels)
            content.update("\n".join([frame.frame.frame_id, *boxes, ""]).encode())
        return content.hexdigest()[:16]

    @property
    def scored(self) -> Scored:
        return Scored(self.name, self.digest, self.names, self.groups)

    @property
    def boxes(self) -> int:
        """How many labelled boxes there are to judge by."""
        return sum(len(frame.labels) for frame in self.frames)

    def truths(self, names: Sequence[str]) -> list[Truths]:
        """The labels of each frame with class ids as in `names`, which holds every class of this set."""
        ids = [list(names).index(name) for name in self.names]
        return [
            Truths(
                np.array([label.box for label in frame.labels], np.float32).reshape(-1, 4),
                np.array([ids[label.class_id] for label in frame.labels], np.int64),
            )
            for frame in self.frames
        ]


def _corners(box: tuple[float, float, float, float]) -> str:
    return " ".join(f"{value:.3f}" for value in box)


def half_of(frame: LabelledFrame) -> Half:
    """The half a frame belongs to, by a hash of its group or, without one, of its id."""
    digest = hashlib.sha256(f"edgeloop audit half {group_of(frame)}".encode("utf-8", "surrogateescape")).digest()
    return "tune" if digest[0] % 2 else "score"


def freeze(name: str, folder: Path, split: Split | None = None) -> AuditSet:
    """Read an audit set and record what it holds now.

    Raises:
        BadInput: the folder is not a clean labelled set.
    """
    frames = _load(name, folder, split)
    return AuditSet(name=name, folder=folder.resolve(), split=split, digest=frames.digest, frames=len(frames.frames))


def load(audit: AuditSet) -> AuditFrames:
    """Read a frozen audit set.

    Raises:
        BadInput: its frames or labels are not those that were frozen.
    """
    frames = _load(audit.name, audit.folder, audit.split)
    if frames.digest != audit.digest:
        raise BadInput(
            f"the audit set {audit.name} in {audit.folder} has changed: expected digest {audit.digest} over "
            f"{audit.frames} frames, came {frames.digest} over {len(frames.frames)}. Freeze it again and measure every "
            f"artifact on the new set."
        )
    return frames


def _load(name: str, folder: Path, split: Split | None) -> AuditFrames:
    frames = sorted(load_labels(folder, split), key=lambda frame: frame.frame.frame_id)
    return AuditFrames(name, load_names(folder), tuple(frames))
