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
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

NEAR = 6  # bits; see the table above
BITS = 64
SIDE, KEPT = 32, 8  # the picture is shrunk to 32 x 32; 8 x 8 frequencies are kept
FLAT = 1.0  # grey levels of standard deviation; below it the bits are noise
CHUNK = 1 << 20  # pairs compared at a time: 24 MB

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]  # (P, 2)


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int | None:
    """64 bits that nearly equal pictures nearly share; None for a flat picture, which nothing tells from another.

    Args:
        grey: (H, W); a reduced decode is as good as the whole picture.
    """
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < FLAT:
        return None
    low = cv2.dct(small)[:KEPT, :KEPT].ravel()
    return int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), "big")


def pairs(hashes: Sequence[int], distance: int = NEAR) -> list[tuple[int, int]]:
    """Every pair of indices i < j whose hashes differ in at most `distance` bits, sorted.

    As many pairs as there are: a thousand equal hashes are half a million. `clusters` does not need them.
    """
    unique, members = _grouped(hashes)
    found = [(i, j) for group in members for at, i in enumerate(group) for j in group[at + 1 :]]
    for one, other in _near(unique, unique, distance, within=True):
        found += [(min(i, j), max(i, j)) for i in members[one] for j in members[other]]
    return sorted(found)


def pairs_between(new: Sequence[int], known: Sequence[int], distance: int = NEAR) -> list[tuple[int, int]]:
    """Every pair (index in `new`, index in `known`) whose hashes differ in at most `distance` bits, sorted."""
    ours, mine = _grouped(new)
    theirs, others = _grouped(known)
    found = _near(ours, theirs, distance, within=False)
    return sorted((i, j) for one, other in found for i in mine[one] for j in others[other])


def clusters(hashes: Sequence[int], distance: int = NEAR) -> list[list[int]]:
    """Groups of more than one index that are connected by pairs within `distance` bits; each sorted, in order."""
    unique, members = _grouped(hashes)
    parent = list(range(len(unique)))
    for one, other in _near(unique, unique, distance, within=True):
        first, second = sorted((_root(parent, one), _root(parent, other)))
        parent[second] = first
    joined: dict[int, list[int]] = {}
    for index, group in enumerate(members):
        joined.setdefault(_root(parent, index), []).extend(group)
    return sorted(sorted(group) for group in joined.values() if len(group) > 1)


def _root(parent: list[int], index: int) -> int:
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


def _near(ours: Hashes, theirs: Hashes, distance: int, *, within: bool) -> Iterator[tuple[int, int]]:
    """Pairs of positions within `distance`, each once.

    Of distance + 1 bands of bits, one at least is equal in both (pigeonhole), so only hashes that share a band are
    compared.
    """
    seen: list[Pairs] = []
    for shift, mask in _bands(min(distance, BITS - 1) + 1):
        for candidates in _sharing((ours >> shift) & mask, (theirs >> shift) & mask):
            if within:
                candidates = candidates[candidates[:, 0] < candidates[:, 1]]
            apart = ours[candidates[:, 0]] ^ theirs[candidates[:, 1]]
            seen.append(candidates[_ones(apart) <= distance])
    if seen:
        yield from ((int(one), int(other)) for one, other in np.unique(np.concatenate(seen), axis=0))


def _bands(count: int) -> list[tuple[np.uint64, np.uint64]]:
    """`count` ranges of bits that cover the hash: how far to shift, and the mask then."""
    edges = [BITS * index // count for index in range(count + 1)]
    return [(np.uint64(low), np.uint64((1 << (high - low)) - 1)) for low, high in pairwise(edges)]


def _sharing(ours: Hashes, theirs: Hashes) -> Iterator[Pairs]:
    """Pairs of positions with equal values, in chunks of bounded size."""
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    first, last = np.searchsorted(ordered, ours, "left"), np.searchsorted(ordered, ours, "right")
    ends = np.cumsum(last - first)
    start = 0
    while start < len(ours):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + CHUNK, "right")), start + 1)
        counts = (last - first)[start:stop]
        one = np.repeat(np.arange(start, stop), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.stack([one, order[np.repeat(first[start:stop], counts) + offset]], axis=1)
        start = stop


def _ones(values: Hashes) -> npt.NDArray[np.uint8]:
    """How many bits are set: (N,)."""
    octets = values.view(np.uint8).reshape(len(values), 8)
    counts: npt.NDArray[np.uint8] = _ONES[octets].sum(axis=1, dtype=np.uint8)
    return counts


_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)
