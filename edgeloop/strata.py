"""Rare classes on both sides: where the hash leaves a class without a side, the group nearest to that side goes there.

Only groups that have no side yet can go anywhere. A class may be left on one side alone when no open group shows it, or
when every move would take the last group of another class away; seven classes of three groups each can be so entangled
(the Fano plane) that no division serves all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeloop.frames import Split
from edgeloop.shares import Shares
from edgeloop.splits import position

MINIMUM_GROUPS = 3  # with two, half of what there is to learn from would go to the validation side
ANYTHING = -1  # the class that every frame shows: a data set needs something to learn from, and something beside it
Trained = Literal["train", "val"]
OTHER: dict[Trained, Trained] = {"val": "train", "train": "val"}


@dataclass(frozen=True)
class OpenGroup:
    """Frames that go to one side together, and nothing but the hash says which.

    Attributes:
        name: what the hash is taken of.
        classes: ids of the classes on its frames.
        side: the hash's.
    """

    name: str
    classes: frozenset[int]
    side: Split


def balance(
    groups: Sequence[OpenGroup], settled: Mapping[Split, Iterable[frozenset[int]]], shares: Shares
) -> dict[str, Split]:
    """The side of every open group, by name.

    Every class with at least three groups gets one on the train and one on the val side, as far as that can be done
    (see above), the rarest class first; every other group stays where its hash puts it.

    Args:
        groups: without a side yet.
        settled: the classes of each group that has a side, by side.
        shares: a side without a share gets nothing.
    """
    sides = {group.name: group.side for group in groups}
    counts: dict[Split, Counter[int]] = {
        side: Counter(one for classes in settled.get(side, ()) for one in (ANYTHING, *classes)) for side in OTHER
    }
    for group in groups:
        if group.side in counts:
            counts[group.side].update((ANYTHING, *group.classes))
    totals = counts["train"] + counts["val"]
    for wanted in sorted(totals, key=lambda one: (totals[one], one)):
        for target, source in OTHER.items():
            lacks = counts[target][wanted] == 0 and totals[wanted] >= _least(wanted, target)
            if not lacks or getattr(shares, target) == 0:
                continue
            movable = [group for group in groups if sides[group.name] == source and _shows(group, wanted)]
            spared = [group for group in movable if not _is_last(group, source, counts[source], totals)]
            if spared:
                moved = (min if target == "val" else max)(spared, key=lambda group: position(group.name))
                sides[moved.name] = target
                counts[source].subtract((ANYTHING, *moved.classes))
                counts[target].update((ANYTHING, *moved.classes))
    return sides


def _least(class_id: int, side: Split) -> int:
    """From how many groups on a class must be on a side; what there is alone is learned from."""
    if class_id == ANYTHING:
        return 1 if side == "train" else 2
    return MINIMUM_GROUPS


def _shows(group: OpenGroup, class_id: int) -> bool:
    return class_id == ANYTHING or class_id in group.classes


def _is_last(group: OpenGroup, side: Split, there: Counter[int], totals: Counter[int]) -> bool:
    """Whether a class that must be on this side would leave it."""
    return any(there[one] < 2 and totals[one] >= _least(one, side) for one in (ANYTHING, *group.classes))
