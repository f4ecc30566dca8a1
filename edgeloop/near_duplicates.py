"""Which pictures nearly show the same: a perceptual hash, and the search for hashes that differ in few bits.

The hash is pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"): 64 low
frequencies of the picture, each above or below their median. How many of the 64 bits differ, measured:

| pairs | differing bits |
|---|---|
| a picture and its copy (JPEG quality 60, half the size, or 10 % brighter), five sets | 95 % within 6 |
| the two nearest distinct pictures of 600 steel surfaces, or of 600 frames of the generated line | 10 |
| the nearest distinct pictures of 364 blood smears | 4, the next 14 |
| one fixed camera, frames a second apart | 0 to 6 for half of them |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

NEAR = 6  # bits; see the table above
BITS = 64
MEDIAN = BITS // 2 - 1  # of the frequencies without the first, which is the mean
SIDE, KEPT = 32, 8  # the picture is shrunk to 32 x 32; 8 x 8 frequencies are kept
FLAT = 1.0  # grey levels of standard deviation; below it the bits are noise
BAND, BUCKETS = 16, 1 << 16  # bits of a band, and the values it can have
CHUNK = 1 << 20  # pairs compared at a time: 24 MB
FEW, MANY = 16, 1 << 17  # hashes looked up at a time to begin with, and pairs from which on it becomes fewer
SURE = 1024  # hashes drawn at random, after which it is known how many pairs the others make
LARGE = 256  # hashes of a group from which on it has a turn of its own

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]  # (P, 2)


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int | None:
    """64 bits that nearly equal pictures nearly share; None for a flat picture, which nothing tells from another.

    Args:
        grey: (H, W); a reduced decode is as good as the whole picture.
    """
    return perceptual_hashes([grey])[0]


def perceptual_hashes(greys: Sequence[npt.NDArray[np.uint8]]) -> list[int | None]:
    """The same for several pictures of any size, at less time each."""
    if not greys:
        return []
    small = np.stack([cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for grey in greys])
    real = small.astype(np.float32)
    # OpenCV's own transform: a matrix product leaves noise where a symmetric picture has frequencies of exactly zero
    low = np.stack([cv2.dct(one)[:KEPT, :KEPT].ravel() for one in real])
    medians = np.partition(low[:, 1:], MEDIAN, axis=1)[:, MEDIAN, None]
    hashes = np.packbits(low > medians, axis=1).view(">u8")[:, 0].tolist()
    deviations = real.std(axis=(1, 2)).tolist()
    return [None if deviation < FLAT else found for deviation, found in zip(deviations, hashes, strict=True)]


def pairs(hashes: Sequence[int], distance: int = NEAR) -> list[tuple[int, int]]:
    """Every pair of indices i < j whose hashes differ in at most `distance` bits, sorted.

    As many pairs as there are: a thousand equal hashes are half a million. `clusters` does not need them.
    """
    unique, members = _grouped(hashes)
    found = [(i, j) for group in members for at, i in enumerate(group) for j in group[at + 1 :]]
    for one, other in _near(unique, unique, distance, within=True).tolist():
        found += [(min(i, j), max(i, j)) for i in members[one] for j in members[other]]
    return sorted(found)


def pairs_between(new: Sequence[int], known: Sequence[int], distance: int = NEAR) -> list[tuple[int, int]]:
    """Every pair (index in `new`, index in `known`) whose hashes differ in at most `distance` bits, sorted."""
    if not new or not known:
        return []
    ours, mine = _grouped(new)
    theirs, others = _grouped(known)
    found = _near(ours, theirs, distance, within=False).tolist()
    return sorted((i, j) for one, other in found for i in mine[one] for j in others[other])


def clusters(hashes: Sequence[int], distance: int = NEAR) -> list[list[int]]:
    """Groups of more than one index that are connected by pairs within `distance` bits; each sorted, in order.

    A few hashes at a time, drawn at random, are held against all that were not yet, those known to be connected left
    out. Before a fixed camera nearly every hash is near every other: the first few connect them, and the pairs among
    them are never made. Where a draw makes it likely that pairs are few, all that are left are compared in one go.
    """
    unique, members = _grouped(hashes)
    parent = list(range(len(unique)))
    waiting, size = np.random.default_rng(0).permutation(len(unique)), FEW
    roots = waiting
    while len(waiting):
        batch, others = _turn(roots, size)
        near = _near(unique[waiting[batch]], unique[waiting[others]], distance, within=False)
        _unite_all(parent, waiting[batch[near[:, 0]]], waiting[others[near[:, 1]]])
        drawn = len(others) == len(waiting)  # not a large group, which says nothing of the others
        made = len(near) - len(batch) if drawn else len(near)  # drawn hashes are near themselves
        waiting, roots = np.delete(waiting, batch), np.delete(roots, batch)
        if drawn and len(batch) >= SURE and made * len(waiting) <= MANY * len(batch):
            near = _near(unique[waiting], unique[waiting], distance, within=True)
            _unite_all(parent, waiting[near[:, 0]], waiting[near[:, 1]])
            break
        if made:
            roots = np.array([root(parent, index) for index in waiting.tolist()])
        if drawn:
            size = size * 4 if made < MANY else max(size // 4, 1)
    joined: dict[int, list[int]] = {}
    for index, group in enumerate(members):
        joined.setdefault(root(parent, index), []).extend(group)
    return sorted(sorted(group) for group in joined.values() if len(group) > 1)


def partners(hashes: Sequence[int], known: Sequence[int] = (), distance: int = NEAR) -> dict[int, tuple[int, int]]:
    """For every hash that has another within `distance` bits one such, near though not always the nearest.

    Twice as many at a time are held against all, and whatever is found near to one needs no search of its own. They
    are drawn at random, so that a scene with thousands of near pictures is met while there are few: pairs stay few too.

    Args:
        hashes: those that need a partner.
        known: others that may be one.

    Returns:
        by index in `hashes`: the partner's index in `[*hashes, *known]`, and how many bits differ.
    """
    unique, members = _grouped([*hashes, *known])
    best = np.full(len(unique), -1)  # the other distinct hash that is near each; equal ones need none
    apart = np.full(len(unique), BITS + 1)
    alone = np.array([len(group) == 1 and group[0] < len(hashes) for group in members], bool)
    waiting, size = np.random.default_rng(0).permutation(np.flatnonzero(alone)), FEW
    while len(waiting):
        batch = waiting[:size]
        near = _near(unique[batch], unique, distance, within=False)
        found = np.stack([batch[near[:, 0]], near[:, 1]], axis=1)
        found = found[found[:, 0] != found[:, 1]]
        both = np.concatenate([found, found[:, ::-1]])
        bits = np.bitwise_count(unique[both[:, 0]] ^ unique[both[:, 1]])
        both, bits = both[order := np.lexsort((both[:, 1], bits))], bits[order]
        one, first = np.unique(both[:, 0], return_index=True)
        closer = bits[first] < apart[one]
        best[one[closer]], apart[one[closer]] = both[first[closer], 1], bits[first[closer]]
        waiting = waiting[size:]
        waiting = waiting[best[waiting] < 0]
        size *= 2
    result = {group[0]: (members[best[at]][0], int(apart[at])) for at, group in enumerate(members) if best[at] >= 0}
    for group in members:
        if len(group) > 1:
            result |= {index: (group[index == group[0]], 0) for index in group}
    return {index: found for index, found in sorted(result.items()) if index < len(hashes)}


def _turn(roots: npt.NDArray[np.int64], size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Whose turn it is, and what they are held against: a large group against all others, else the next against all."""
    groups, counts = np.unique(roots, return_counts=True)
    if counts.max() < LARGE:
        return np.arange(min(size, len(roots))), np.arange(len(roots))
    own = roots == groups[counts.argmax()]
    return np.flatnonzero(own)[: max(size, LARGE)], np.flatnonzero(~own)


def _unite_all(parent: list[int], ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> None:
    for one, other in zip(ones.tolist(), others.tolist(), strict=True):
        unite(parent, one, other)


def unite(parent: list[int], one: int, other: int) -> None:
    """Make one group of the groups of two indices; the lowest index stands for it."""
    first, second = sorted((root(parent, one), root(parent, other)))
    parent[second] = first


def root(parent: list[int], index: int) -> int:
    """The index that stands for the group of another; the way to it is shortened."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _grouped(hashes: Sequence[int]) -> tuple[Hashes, list[list[int]]]:
    """Distinct hashes, and the indices that have each: equal pictures by the thousand cost nothing further."""
    members: dict[int, list[int]] = {}
    for index, value in enumerate(hashes):
        members.setdefault(value, []).append(index)
    return np.array(list(members), np.uint64), list(members.values())


def _near(ours: Hashes, theirs: Hashes, distance: int, *, within: bool) -> Pairs:
    """Pairs of positions within `distance`, each once: (P, 2); `within` one list, the lower position first.

    Of four bands of 16 bits, one at least differs in no more than a quarter of the distance (pigeonhole), so only
    hashes are compared whose band is one of those few neighbours (Norouzi et al. 2012, "Fast Search in Hamming Space
    with Multi-Index Hashing").
    """
    seen: list[Pairs] = [np.empty((0, 2), np.int64)]
    for shift in range(0, BITS, BAND):
        mine, yours = (
            ((side >> np.uint64(shift)) & np.uint64(BUCKETS - 1)).astype(np.int64) for side in (ours, theirs)
        )
        table = _Table.of(yours)
        for flips in _flips(distance // (BITS // BAND)):
            wanted = mine ^ flips
            asking = np.flatnonzero(mine <= wanted) if within else np.arange(len(mine))  # the others are found by them
            for found in table.look_up(wanted[asking]):
                one, other = asking[found[:, 0]], found[:, 1]
                is_near = np.bitwise_count(ours[one] ^ theirs[other]) <= distance
                seen.append(np.stack([one[is_near], other[is_near]], axis=1))
    found = np.concatenate(seen)
    if within:
        found = np.sort(found[found[:, 0] != found[:, 1]], axis=1)
    near: Pairs = np.unique(found, axis=0)
    return near


def _flips(radius: int) -> list[int]:
    """Every change of at most `radius` bits of a band."""
    return [sum(1 << bit for bit in bits) for count in range(radius + 1) for bits in combinations(range(BAND), count)]


@dataclass(frozen=True)
class _Table:
    """Positions by the value of their band: those of value v are `order[first[v]:first[v + 1]]`."""

    order: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.NDArray[np.int64]) -> _Table:
        counts = np.bincount(values, minlength=BUCKETS)
        return cls(np.argsort(values.astype(np.uint16), kind="stable"), np.concatenate([[0], np.cumsum(counts)]))

    def look_up(self, wanted: npt.NDArray[np.int64]) -> Iterator[Pairs]:
        """Pairs (index in `wanted`, position with that value), in chunks of bounded size."""
        first = self.first[wanted]
        counts = self.first[wanted + 1] - first
        ends = np.cumsum(counts)
        start = 0
        while start < len(wanted):
            before = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, before + CHUNK, "right")), start + 1)
            few = counts[start:stop]
            one = np.repeat(np.arange(start, stop), few)
            offset = np.arange(len(one)) - np.repeat(np.cumsum(few) - few, few)
            yield np.stack([one, self.order[np.repeat(first[start:stop], few) + offset]], axis=1)
            start = stop
