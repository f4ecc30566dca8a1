"""What a split is made of: the rule that groups frames, the shares of the sides, and the hash that decides for ever."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from typing import Literal

from pydantic import Field

from edgeloop.errors import BadInput
from edgeloop.formats.names import UNKNOWN_CAMERA
from edgeloop.frames import LabelledFrame, Split
from edgeloop.record import Record
from edgeloop.shares import DEFAULT_SHARES, Shares

CLIP_GAP_SECONDS = 10.0  # a belt or a car shows another scene by then; name another with clip:SECONDS
DRAWN = "queue:audit"  # source of frames that were drawn at random from production


class GroupRule(Record):
    """What belongs together, so that it never ends up on two sides of a split.

    | text          | one group is                                                                      |
    |---------------|-----------------------------------------------------------------------------------|
    | `none`        | what the source says belongs together, else a frame                               |
    | `camera`      | every frame of a camera                                                           |
    | `day`         | every frame of a day, UTC                                                         |
    | `clip[:30]`   | frames of a camera with less than 10 (30) seconds between neighbours              |
    | anything else | a regular expression: frames whose path gives the same first group, or same match |

    Attributes:
        kind: which of them.
        pattern: the regular expression; "" for the others.
        gap_seconds: of a clip.
    """

    kind: Literal["none", "camera", "day", "clip", "pattern"] = "none"
    pattern: str = ""
    gap_seconds: float = Field(default=CLIP_GAP_SECONDS, gt=0)

    @classmethod
    def parse(cls, text: str) -> GroupRule:
        """The rule that a person named.

        Raises:
            BadInput: neither one of the words nor a regular expression.
        """
        if text in ("none", "camera", "day", "clip"):
            return cls(kind=text)
        if found := re.fullmatch(r"clip:(\d+(?:\.\d+)?)", text):
            if float(found[1]) <= 0:
                raise BadInput(f"expected the gap between two clips in seconds, more than 0, came {text!r}.")
            return cls(kind="clip", gap_seconds=float(found[1]))
        try:
            re.compile(text)
        except re.error as error:
            raise BadInput(
                f"expected camera, day, clip, none or a regular expression to split by, came {text!r} ({error})."
            ) from error
        if not text:
            raise BadInput("expected camera, day, clip, none or a regular expression to split by, came nothing.")
        return cls(kind="pattern", pattern=text)

    @property
    def text(self) -> str:
        """The rule as `parse` reads it."""
        if self.kind == "clip":
            return "clip" if self.gap_seconds == CLIP_GAP_SECONDS else f"clip:{self.gap_seconds:g}"
        return self.pattern or self.kind

    def key(self, frame: LabelledFrame) -> str | None:
        """The group of a frame by this rule; None when the rule says nothing of it."""
        if self.kind == "pattern":
            found = re.search(self.pattern, frame.frame.image.as_posix())
            return f"{self.pattern} {found[1] if found.re.groups else found[0]}" if found else None
        return self.key_of(frame.frame.camera, frame.frame.time)

    def key_of(self, camera: str, time: datetime) -> str | None:
        """The same from camera and time alone.

        A frame without a camera has no time either: `edgeloop.formats.names` gives it the date of its file.
        """
        if camera == UNKNOWN_CAMERA:
            return None
        keys = {"camera": f"camera {camera}", "day": f"day {time.astimezone(timezone.utc):%Y-%m-%d}"}
        return keys.get(self.kind)


NO_RULE = GroupRule()


def group_of(frame: LabelledFrame) -> str:
    """The group of a frame; a frame without one is its own group."""
    return frame.group or frame.frame.frame_id


def is_drawn(split: Split | None, source: str) -> bool:
    """Whether a frame was drawn at random from production.

    No rule about cameras or times can hold for such a frame: it comes from where every other frame comes from.
    """
    return split == "audit" and source == DRAWN


def position(group: str) -> float:
    """Where a group falls in 0..1: the first 64 bits of a SHA-256, the same on every machine and for ever."""
    digest = hashlib.sha256(f"edgeloop split {group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(group: str, shares: Shares = DEFAULT_SHARES) -> Split:
    """The side that the hash gives a group."""
    at = position(group)
    if at < shares.val:
        return "val"
    return "test" if at < shares.val + shares.test else "train"
