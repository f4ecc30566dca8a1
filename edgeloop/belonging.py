"""What belongs together: near duplicates, frames of one group of the rule, and neighbours in a clip.

A frame that was drawn at random from production is bound by its looks alone: it comes from where every other frame
comes from, so no rule about cameras or times can hold for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from edgeloop.formats.names import UNKNOWN_CAMERA
from edgeloop.frames import Frame, LabelledFrame, Split
from edgeloop.near_duplicates import clusters, pairs_between, root, unite
from edgeloop.splits import GroupRule, is_drawn

FEW, MANY = 64, 200_000  # frames looked up at a time to begin with, and pairs from which on it becomes fewer


@dataclass(frozen=True)
class Placed:
    """A frame that has a side.

    Attributes:
        look: its perceptual hash; None when it has none.
        classes: ids of the classes on it.
        drawn: it was drawn at random from production.
    """

    frame_id: str
    group: str
    side: Split
    camera: str
    time: datetime
    look: int | None = None
    classes: frozenset[int] = frozenset()
    drawn: bool = False


def is_ruled(frame: LabelledFrame, rule: GroupRule) -> bool:
    """Whether the rule says anything of a frame."""
    if is_drawn(frame.split, frame.source):
        return False
    return rule.key(frame) is not None or (rule.kind == "clip" and frame.frame.camera != UNKNOWN_CAMERA)


def asked(frame: LabelledFrame, rule: GroupRule) -> Split | None:
    """The side a frame asks for. A rule that says something of it has the last word on train and val."""
    return None if frame.split != "audit" and is_ruled(frame, rule) else frame.split


def sides_of_groups(settled: Iterable[Placed], rule: GroupRule) -> dict[str, set[Split]]:
    """On which sides each group is, by the group it came with and by the rule."""
    sides: dict[str, set[Split]] = defaultdict(set)
    for one in settled:
        sides[one.group].add(one.side)
        key = None if one.drawn else rule.key_of(one.camera, one.time)
        if key is not None:
            sides[key].add(one.side)
    return sides


class Belonging:
    """What each of some new frames, known by its index, belongs to.

    Attributes:
        keys: the group of each by the rule or its source; None when it is alone.
        pulls: the sides that each belongs to, with the reason.
        homes: the group of a settled frame that each belongs to; "" for none.
    """

    def __init__(self, frames: Sequence[LabelledFrame], settled: Sequence[Placed], rule: GroupRule) -> None:
        self._frames, self._settled, self._rule = frames, settled, rule
        self.keys = [self._key(frame) for frame in frames]
        self.pulls: list[dict[Split, str]] = [{} for _ in frames]
        self.homes = [""] * len(frames)
        self._by_group()
        self._by_look()
        if rule.kind == "clip":
            self._by_time()

    def components(self, without: Iterable[int]) -> list[list[int]]:
        """New frames that belong together when some are left out; each in one list, in their order."""
        out = set(without)
        staying = [index for index in range(len(self._frames)) if index not in out]
        parent = list(range(len(self._frames)))
        for links in self._links(staying):
            for other in links[1:]:
                unite(parent, links[0], other)
        members: dict[int, list[int]] = defaultdict(list)
        for index in staying:
            members[root(parent, index)].append(index)
        return list(members.values())

    def _key(self, frame: LabelledFrame) -> str | None:
        ruled = None if is_drawn(frame.split, frame.source) else self._rule.key(frame)
        return ruled or frame.group or None

    def _by_group(self) -> None:
        sides = sides_of_groups(self._settled, self._rule)
        for index, key in enumerate(self.keys):
            for side in sorted(sides.get(key, ())) if key else ():
                self.pulls[index][side] = f"its group {key!r} is on the {side} side"

    def _by_look(self) -> None:
        mine: dict[int, list[int]] = defaultdict(list)
        for index, look in _with_look((index, one.frame.perceptual_hash) for index, one in enumerate(self._frames)):
            mine[look].append(index)
        theirs: dict[tuple[int, Split], Placed] = {}  # of equal pictures on a side one speaks for all
        for at, look in _with_look((at, one.look) for at, one in enumerate(self._settled)):
            one = self._settled[at]
            theirs[look, one.side] = min(theirs.get((look, one.side), one), one, key=lambda placed: placed.group)
        looks, known = list(mine), list(theirs.values())
        for new, old in _near(looks, [look for look, _ in theirs]):
            for index in mine[looks[new]]:
                self._pull(index, known[old], "it looks like")

    def _by_time(self) -> None:
        gap = timedelta(seconds=self._rule.gap_seconds)
        of_camera: dict[str, list[Placed]] = defaultdict(list)
        for one in sorted((one for one in self._settled if not one.drawn), key=lambda one: one.time):
            of_camera[one.camera].append(one)
        times = {camera: [one.time for one in placed] for camera, placed in of_camera.items()}
        for index in self._in_time(range(len(self._frames))):
            frame = self._frames[index].frame
            start = bisect_left(times.get(frame.camera, []), frame.time - gap)
            for one in of_camera.get(frame.camera, [])[start:]:
                if one.time - frame.time >= gap:
                    break
                if frame.time - one.time < gap:
                    self._pull(index, one, f"less than {self._rule.gap_seconds:g} s lie between it and")

    def _pull(self, index: int, one: Placed, how: str) -> None:
        if one.side not in self.pulls[index]:
            self.pulls[index][one.side] = f"{how} {one.frame_id} on the {one.side} side"
        self.homes[index] = min(self.homes[index] or one.group, one.group)

    def _in_time(self, indices: Iterable[int]) -> list[int]:
        """Those that a clip can be made of, by camera and time."""
        timed = [index for index in indices if is_ruled(self._frames[index], self._rule)]
        return sorted(timed, key=lambda index: (*_camera_time(self._frames[index].frame), index))

    def _links(self, indices: Sequence[int]) -> Iterator[list[int]]:
        groups: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            if (key := self.keys[index]) is not None:
                groups[key].append(index)
        yield from groups.values()
        seen = _with_look((index, self._frames[index].frame.perceptual_hash) for index in indices)
        yield from ([seen[at][0] for at in cluster] for cluster in clusters([look for _, look in seen]))
        if self._rule.kind == "clip":
            yield from ([one, other] for one, other in pairwise(self._in_time(indices)) if self._follow(one, other))

    def _follow(self, one: int, other: int) -> bool:
        (camera, time), (its_camera, its_time) = (_camera_time(self._frames[index].frame) for index in (one, other))
        return camera == its_camera and (its_time - time).total_seconds() < self._rule.gap_seconds


def _camera_time(frame: Frame) -> tuple[str, datetime]:
    return frame.camera, frame.time


def _with_look(looks: Iterable[tuple[int, int | None]]) -> list[tuple[int, int]]:
    """Those that have a perceptual hash."""
    return [(index, look) for index, look in looks if look is not None]


def _near(new: Sequence[int], known: Sequence[int]) -> Iterator[tuple[int, int]]:
    """`pairs_between` in parts: before one fixed camera nearly everything pairs with nearly everything."""
    start, size = 0, FEW
    while start < len(new):
        found = pairs_between(new[start : start + size], known)
        yield from ((start + one, other) for one, other in found)
        start += size
        size = size * 2 if len(found) < MANY else max(size // 4, 1)
