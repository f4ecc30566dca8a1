"""Which side of the split a frame is on, for ever: a hash of its group decides, so growing data moves nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from pydantic import Field, model_validator

from edgeloop.errors import BadInput
from edgeloop.frames import LabelledFrame, Split
from edgeloop.record import Record


class Shares(Record):
    """Shares of the groups that have no side yet. The audit side is drawn from production, so it gets none here."""

    train: float = Field(default=0.8, ge=0, le=1)
    val: float = Field(default=0.2, ge=0, le=1)
    audit: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        if abs(self.train + self.val + self.audit - 1) > 1e-9:
            raise ValueError("expected shares that add up to 1")
        return self


DEFAULT_SHARES = Shares()


def group_of(frame: LabelledFrame) -> str:
    """The group of a frame; a frame without one is its own group."""
    return frame.group or frame.frame.frame_id


def position(group: str) -> float:
    """Where a group falls in 0..1: the first 64 bits of a SHA-256, the same on every machine and for ever."""
    digest = hashlib.sha256(f"edgeloop split {group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(group: str, shares: Shares = DEFAULT_SHARES) -> Split:
    """The side that the hash gives a group."""
    at = position(group)
    if at < shares.audit:
        return "audit"
    return "val" if at < shares.audit + shares.val else "train"


def assign(
    frames: Iterable[LabelledFrame], known: Mapping[str, Split] | None = None, shares: Shares = DEFAULT_SHARES
) -> dict[str, Split]:
    """The side of every group of `frames`: the one it is already on, else the one its frames ask for, else the hash's.

    The first frames of a data set always give it a train and a val side: when the hash leaves one empty, the group
    nearest to it goes there. That group is then known and stays.

    Args:
        frames: new frames.
        known: groups that have a side already; none of them moves.
        shares: for the groups that nothing else decides.

    Raises:
        BadInput: frames of one new group ask for different sides, or one asks for audit in a group that is trained on.
    """
    settled = dict(known or {})
    asked = _asked(frames, settled)
    chosen: dict[str, Split] = {
        group: settled.get(group) or side or side_of(group, shares) for group, side in asked.items()
    }
    taken = {*settled.values(), *chosen.values()}
    open_groups = sorted((g for g, side in asked.items() if side is None and g not in settled), key=position)
    if len(open_groups) > 1 and shares.val > 0 and "val" not in taken:
        chosen[open_groups[0]] = "val"
    if len(open_groups) > 1 and shares.train > 0 and "train" not in taken:
        chosen[open_groups[-1]] = "train"
    return chosen


def _asked(frames: Iterable[LabelledFrame], settled: Mapping[str, Split]) -> dict[str, Split | None]:
    """The side that the frames of each group ask for, None when they leave it open."""
    asked: dict[str, Split | None] = {}
    for frame in frames:
        group, side = group_of(frame), frame.split
        before = asked.setdefault(group, side)
        if group in settled:
            if side == "audit" and settled[group] != "audit":
                raise BadInput(
                    f"{frame.frame.image.name} was drawn for the audit side, but its group {group!r} is on the "
                    f"{settled[group]} side and would leak. Draw audit frames from groups that are not trained on."
                )
        elif side and before and side != before:
            raise BadInput(
                f"group {group!r} has frames for the {before} and the {side} side; expected one side a group, or the "
                f"two would leak into each other. Split by a finer group."
            )
        elif side:
            asked[group] = side
    return asked
