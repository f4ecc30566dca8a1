"""Frames and their labels as they pass between formats, queues and the data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test", "audit"]
Named = Literal["content", "device"]
SPLITS: tuple[Split, ...] = ("train", "val", "test", "audit")
HELD_OUT: frozenset[Split | None] = frozenset(["test", "audit"])  # never trained or calibrated on


@dataclass(frozen=True)
class Label:
    """One labelled box.

    Attributes:
        class_id: index into the names of the set it belongs to.
        box: x1, y1, x2, y2 in pixels of the image, x1 < x2 and y1 < y2.
    """

    class_id: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """One photograph.

    Attributes:
        frame_id: first 16 hexadecimal digits of the SHA-256 of the file's bytes; equal content, equal id. Where `named`
            says so, a device chose it before there was a file.
        image: the file.
        width, height: pixels.
        camera: which camera took it; "unknown" when nothing says.
        time: when it was taken, UTC.
        named: what `frame_id` is made from: the file's content, or, on a device, the frame before it became a file.
        perceptual_hash: 64 bits that nearly equal pictures nearly share; None when nobody looked.
    """

    frame_id: str
    image: Path
    width: int
    height: int
    camera: str
    time: datetime
    named: Named = "content"
    perceptual_hash: int | None = None

    def is_content(self, content: bytes) -> bool:
        """Whether these may be the bytes of the file; of a name that a device chose there is nothing to tell by."""
        return self.named == "device" or frame_id(content) == self.frame_id


@dataclass(frozen=True)
class LabelledFrame:
    """A frame with the boxes somebody answers for. No labels means a confirmed background.

    Attributes:
        frame: the photograph.
        labels: the boxes, possibly none.
        split: the side it belongs to for ever; None lets the data set decide.
        source: where it came from ("yolo:…", "stream:…").
        labeler: who answers for the labels ("import", a queue's user, "simulated-labeler").
        group: frames of one group never end up on two sides of a split.
    """

    frame: Frame
    labels: tuple[Label, ...] = ()
    split: Split | None = None
    source: str = "import"
    labeler: str = "import"
    group: str = field(default="")


def frame_id(content: bytes) -> str:
    """The id of a frame: the first 16 hexadecimal digits of the SHA-256 of its file's bytes."""
    return hashlib.sha256(content).hexdigest()[:16]
