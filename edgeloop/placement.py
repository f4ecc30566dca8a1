"""Which side every new frame goes to, so that nothing leaks: what belongs together is on one side, and stays there.

1. A new frame that belongs to a frame of the data set (`edgeloop.belonging`) goes to its side.
2. One that belongs to frames of two sides is left out: it would leak on either.
3. New frames that belong together go to one side: the one most of them belong to, else the one most of them ask for,
   else the hash's (`edgeloop.splits`), moved where a rare class would miss a side (`edgeloop.strata`).
4. The audit side takes only frames that ask for it. Another frame that belongs to one of them is left out; a random
   draw that belongs to another side is no audit frame any more and goes where it belongs; a held-out frame of a source
   is left out then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edgeloop.belonging import Belonging, Placed, asked, is_ruled, sides_of_groups
from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.frames import LabelledFrame, Split
from edgeloop.shares import DEFAULT_SHARES, Shares
from edgeloop.splits import NO_RULE, GroupRule, is_drawn, side_of
from edgeloop.strata import OpenGroup, balance

STRICTNESS: tuple[Split, ...] = ("train", "val", "test", "audit")  # of equally many, the side that is learned from less


@dataclass(frozen=True)
class Placement:
    """Where new frames go.

    Attributes:
        placed: by frame id.
        left_out: why a frame cannot go anywhere, by frame id.
    """

    placed: dict[str, Placed]
    left_out: dict[str, str]


def place(
    frames: Sequence[LabelledFrame],
    settled: Sequence[Placed],
    rule: GroupRule = NO_RULE,
    shares: Shares = DEFAULT_SHARES,
) -> Placement:
    """A side for every new frame that can have one; those left out, given again, are left out again.

    Args:
        frames: new, each once.
        settled: those of the data set; none of them moves.
        rule: what belongs together. Where it says anything, the train and val sides that a source names do not count.
        shares: for what nothing else decides.
    """
    held_out = [frame for frame in frames if frame.split == "audit"]
    others = [frame for frame in frames if frame.split != "audit"]
    first = _settle(held_out, settled, rule, shares)
    left = dict(first.left_out)
    for frame in held_out:
        if frame.frame.frame_id in left and is_drawn(frame.split, frame.source):
            del left[frame.frame.frame_id]
            others.append(replace(frame, split=None))
    second = _settle(others, [*settled, *first.placed.values()], rule, shares)
    return Placement(first.placed | second.placed, left | second.left_out)


def refuse_rule(frames: Sequence[LabelledFrame], settled: Sequence[Placed], rule: GroupRule) -> None:
    """Whether a rule can be kept from now on.

    Raises:
        BadInput: it says nothing of any of the frames, or a group of theirs is on two sides already.
    """
    if rule.kind == "none" or not frames:
        return
    ruled = [frame for frame in frames if is_ruled(frame, rule)]
    if not ruled:
        why = "no path matches" if rule.kind == "pattern" else "no file name says camera and time"
        raise BadInput(
            f"cannot split by {rule.text!r}: {why} among {len(frames)} frames, such as "
            f"{printable(frames[0].frame.image.name)}; name another rule."
        )
    sides = sides_of_groups(settled, rule)
    torn = next((key for frame in ruled if len(sides.get(key := rule.key(frame) or "", ())) > 1), None)
    if torn is not None:
        raise BadInput(
            f"cannot split by {rule.text!r}: the data set has frames of {torn!r} on the "
            f"{' and the '.join(sorted(sides[torn]))} side already; name another rule or begin a new data set."
        )


def _settle(frames: Sequence[LabelledFrame], settled: Sequence[Placed], rule: GroupRule, shares: Shares) -> Placement:
    """Place what can be placed, until nothing more can."""
    placed: dict[str, Placed] = {}
    left: dict[str, str] = {}
    waiting = list(frames)
    while waiting:
        now = _Round(waiting, [*settled, *placed.values()], rule, shares).place()
        placed |= now.placed
        left = now.left_out
        waiting = [frame for frame in waiting if frame.frame.frame_id in left] if now.placed else []
    return Placement(placed, left)


class _Round:
    """One pass over new frames, each known by its index."""

    def __init__(
        self, frames: Sequence[LabelledFrame], settled: Sequence[Placed], rule: GroupRule, shares: Shares
    ) -> None:
        self.frames, self.settled, self.rule, self.shares = frames, settled, rule, shares
        self.bonds = Belonging(frames, settled, rule)

    def place(self) -> Placement:
        left = self._stranded()
        opened: dict[str, list[int]] = {}
        placed: dict[str, Placed] = {}
        for members in self.bonds.components(without=left):
            side = self._wanted(members)
            if side is None:
                opened[self._name(members)] = members
                continue
            staying = [index for index in members if set(self.bonds.pulls[index]) <= {side}]
            placed |= self._all(staying, side)
            left |= {index: self._torn(index, side) for index in members if index not in staying}
        for name, side in self._divide(opened).items():
            placed |= self._all(opened[name], side)
        return Placement(placed, {self.frames[index].frame.frame_id: reason for index, reason in left.items()})

    def _stranded(self) -> dict[int, str]:
        """New frames that no side can take, with the reason."""
        left = {}
        for index, pulls in enumerate(self.bonds.pulls):
            asks = self.frames[index].split == "audit"
            if len(pulls) > 1:
                left[index] = f"{' and '.join(pulls[side] for side in sorted(pulls))}: on either side it would leak"
            elif "audit" in pulls and not asks:
                left[index] = f"{pulls['audit']}, which takes only frames that are held out on purpose"
            elif asks and pulls and "audit" not in pulls:
                left[index] = f"{next(iter(pulls.values()))}: it cannot be held out any more"
        return left

    def _wanted(self, members: Iterable[int]) -> Split | None:
        """The side most of them belong to, else the one most of them ask for; None when it is open."""
        votes: Counter[Split] = Counter(side for index in members for side in self.bonds.pulls[index])
        for index in () if votes else members:
            wish = asked(self.frames[index], self.rule)
            votes.update([wish] if wish else [])
        if not votes:
            return None
        return max(votes, key=lambda side: (votes[side], STRICTNESS.index(side)))

    def _torn(self, index: int, side: Split) -> str:
        why = next(iter(self.bonds.pulls[index].values()))
        return f"{why} and it belongs to new frames that go to the {side} side: on either side it would leak"

    def _name(self, members: Iterable[int]) -> str:
        """What frames that belong together are called, and hashed by."""
        names = {self.bonds.keys[index] or self.bonds.homes[index] for index in members} - {""}
        return min(names) if names else min(self.frames[index].frame.frame_id for index in members)

    def _divide(self, opened: dict[str, list[int]]) -> dict[str, Split]:
        if not opened:
            return {}
        settled: dict[Split, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for one in self.settled:
            settled[one.side][one.group] |= one.classes
        groups = [OpenGroup(name, self._classes(ids), side_of(name, self.shares)) for name, ids in opened.items()]
        shown = {side: [frozenset(classes) for classes in found.values()] for side, found in settled.items()}
        return balance(groups, shown, self.shares)

    def _classes(self, members: Iterable[int]) -> frozenset[int]:
        return frozenset(label.class_id for index in members for label in self.frames[index].labels)

    def _all(self, members: Sequence[int], side: Split) -> dict[str, Placed]:
        name = self._name(members)
        return {self.frames[index].frame.frame_id: self._placed(index, side, name) for index in members}

    def _placed(self, index: int, side: Split, name: str) -> Placed:
        one = self.frames[index]
        return Placed(
            frame_id=one.frame.frame_id,
            group=self.bonds.keys[index] or self.bonds.homes[index] or name,
            side=side,
            camera=one.frame.camera,
            time=one.frame.time,
            look=one.frame.perceptual_hash,
            classes=self._classes([index]),
            drawn=is_drawn(side, one.source),
        )
