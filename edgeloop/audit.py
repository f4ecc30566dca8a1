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
from edgeloop.prevalence import weighted
from edgeloop.record import Record
from edgeloop.splits import group_of

Half = Literal["tune", "score"]


class AuditSet(Record):
    """Where an audit set lies and what it held when it was frozen.

    Attributes:
        name: how reports call it.
        folder: a labelled set.
        split: the side of it that is meant; None takes every frame.
        digest: of the frames, their labels and their weights.
        frames: how many.
        weights: a table of what each frame stands for in production (`edgeloop.prevalence`); None: all the same.
    """

    name: str
    folder: Path
    split: Split | None
    digest: str
    frames: int
    weights: Path | None = None


@dataclass(frozen=True)
class Scored:
    """What was scored: a frozen half without its images and labels.

    Attributes:
        name, digest: of the half.
        names: of its classes.
        groups: what its frames are drawn together by, one a frame.
        weights: what each frame stands for in production, up to a common factor; empty: all the same.
    """

    name: str
    digest: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    weights: tuple[float, ...] = ()


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
        """16 hexadecimal digits over frame ids, class names, boxes and weights: equal content, equal digest."""
        content = hashlib.sha256()
        for frame in self.frames:
            boxes = sorted(f"{self.names[label.class_id]} {_corners(label.box)}" for label in frame.labels)
            content.update("\n".join([frame.frame.frame_id, *boxes, ""]).encode())
        if self.weights:
            total = sum(self.weights)  # weights are known up to a common factor
            content.update(" ".join(f"{weight / total:.9g}" for weight in self.weights).encode())
        return content.hexdigest()[:16]

    @property
    def scored(self) -> Scored:
        return Scored(self.name, self.digest, self.names, self.groups, self.weights)

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


def pooled_weights(scored: Sequence[Scored]) -> tuple[float, ...]:
    """What each frame of several sets counts when they are one; empty: all the same.

    A set counts as its number of frames, in whatever unit its weights are: each set's have mean 1.
    """
    if not any(one.weights for one in scored):
        return ()
    each = [one.weights or (1.0,) * len(one.groups) for one in scored]
    return tuple(weight * len(weights) / sum(weights) for weights in each for weight in weights)


def freeze(name: str, folder: Path, split: Split | None = None, weights: Path | None = None) -> AuditSet:
    """Read an audit set and record what it holds now.

    Args:
        name: how reports call it.
        folder: a labelled set.
        split: the side of it that is meant; None takes every frame.
        weights: a table of what each frame stands for in production.

    Raises:
        BadInput: the folder is not a clean labelled set, or the table does not fit it.
    """
    frames = _load(name, folder, split, weights)
    return AuditSet(
        name=name, folder=folder.resolve(), split=split, digest=frames.digest, frames=len(frames.frames),
        weights=weights and weights.resolve(),
    )  # fmt: skip


def load(audit: AuditSet) -> AuditFrames:
    """Read a frozen audit set.

    Raises:
        BadInput: its frames, labels or weights are not those that were frozen.
    """
    frames = _load(audit.name, audit.folder, audit.split, audit.weights)
    if frames.digest != audit.digest:
        raise BadInput(
            f"the audit set {audit.name} in {audit.folder} has changed: expected digest {audit.digest} over "
            f"{audit.frames} frames, came {frames.digest} over {len(frames.frames)}. Freeze it again and measure every "
            f"artifact on the new set."
        )
    return frames


def _load(name: str, folder: Path, split: Split | None, weights: Path | None) -> AuditFrames:
    frames = sorted(load_labels(folder, split), key=lambda frame: frame.frame.frame_id)
    audit = AuditFrames(name, load_names(folder), tuple(frames))
    return weighted(audit, weights) if weights and frames else audit
