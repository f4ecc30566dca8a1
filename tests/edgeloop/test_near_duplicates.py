"""Near duplicates: found by the hash, and found fast."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop import near_duplicates
from edgeloop.near_duplicates import (
    BITS,
    NEAR,
    clusters,
    pairs,
    pairs_between,
    partners,
    perceptual_hash,
    perceptual_hashes,
)

HASH = st.integers(0, 2**BITS - 1)


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16)).astype(np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


def apart(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return bin(one ^ other).count("1")


@st.composite
def crowds(draw: st.DrawFn) -> list[int]:
    """Hashes of which many are a few bits from another, and some equal."""
    seeds = draw(st.lists(HASH, min_size=1, max_size=6))
    flips = draw(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=9)), max_size=25))
    found = list(seeds)
    for index, bits in flips:
        value = seeds[index % len(seeds)]
        for bit in bits:
            value ^= 1 << bit
        found.append(value)
    return found


@given(crowds(), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_brute_force(hashes: list[int], distance: int) -> None:
    """Every pair within the distance, and no other."""
    expected = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(hashes[i] ^ hashes[j]).count("1") <= distance
    ]
    assert pairs(hashes, distance) == expected


@given(crowds(), crowds(), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_pairs_between_are_those_of_brute_force(new: list[int], known: list[int], distance: int) -> None:
    """Every pair of a new and a known hash within the distance, and no other."""
    expected = [
        (i, j) for i, one in enumerate(new) for j, other in enumerate(known) if bin(one ^ other).count("1") <= distance
    ]
    assert pairs_between(new, known, distance) == expected


@pytest.mark.parametrize("spread", [3, 5, 9])
def test_clusters_of_thousands_are_those_of_brute_force(spread: int) -> None:
    """Before fixed cameras, where each picture is near thousands of others, and with strangers between them."""
    random = np.random.default_rng(spread)
    scenes = [int(value) for value in random.integers(0, 2**63, 3)]
    hashes = [int(value) for value in random.integers(0, 2**63, 300)]
    for number in range(2000):
        flipped = sum(1 << int(bit) for bit in random.choice(64, random.integers(0, spread + 1), replace=False))
        hashes.append(scenes[number % 3] ^ flipped)
    assert clusters(hashes) == by_brute_force(hashes)


def test_clusters_among_thousands_of_strangers_are_those_of_their_pairs() -> None:
    """Where a fair draw shows that pairs are few, the rest is compared in one go; no pair is lost by it."""
    random = np.random.default_rng(0)
    hashes = [int(value) for value in random.integers(0, 2**63, 6000)]
    chosen = random.permutation(len(hashes))[:40]
    for one, other in zip(chosen[:20].tolist(), chosen[20:].tolist(), strict=True):
        flipped = sum(1 << int(bit) for bit in random.choice(64, random.integers(0, NEAR + 1), replace=False))
        hashes[other] = hashes[one] ^ flipped
    expected = sorted(sorted(pair) for pair in zip(chosen[:20].tolist(), chosen[20:].tolist(), strict=True))
    assert clusters(hashes) == expected == [list(pair) for pair in pairs(hashes)]


def test_clusters_of_many_scenes_never_make_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scene is a group of its own soon; how many hashes are drawn after it is bounded by what draws have found."""
    random, made = np.random.default_rng(0), list[int]()
    scenes = random.integers(0, 2**63, 24).tolist()
    bits = random.integers(0, 64, (300, 3)).tolist()
    hashes = [scene ^ (1 << a | 1 << b | 1 << c) for scene in scenes for a, b, c in bits]
    near = near_duplicates._near

    def noted(*arguments: Any, **rest: Any) -> Any:
        made.append(len(found := near(*arguments, **rest)))
        return found

    monkeypatch.setattr(near_duplicates, "_near", noted)
    assert len(clusters(hashes)) == len(scenes)
    assert max(made) < 2 * near_duplicates.MANY


def by_brute_force(hashes: list[int]) -> list[list[int]]:
    values = np.array(hashes, np.uint64)
    left, found = set(range(len(hashes))), []
    while left:
        reached, edge = set(), {min(left)}
        while edge:
            one = edge.pop()
            reached.add(one)
            bits = np.unpackbits((values ^ values[one]).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
            edge |= set(np.flatnonzero(bits <= NEAR).tolist()) - reached
        left -= reached
        found += [sorted(reached)] if len(reached) > 1 else []
    return found


@given(crowds())
@settings(max_examples=60, deadline=None)
def test_clusters_are_closed_under_pairs(hashes: list[int]) -> None:
    """Two hashes within the distance are in one cluster, clusters do not overlap, and none has a single member."""
    found = clusters(hashes)
    members = [index for group in found for index in group]
    assert len(members) == len(set(members))
    assert all(len(group) > 1 for group in found)
    place = {index: number for number, group in enumerate(found) for index in group}
    assert all(place[i] == place[j] for i, j in pairs(hashes))


@given(crowds(), crowds(), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_who_has_a_partner_is_as_by_brute_force(hashes: list[int], known: list[int], distance: int) -> None:
    """Each hash that has another within the distance gets one, never itself, and the bits are those between them."""
    every = [*hashes, *known]
    near = {
        i for i, one in enumerate(hashes) for j, other in enumerate(every) if i != j and apart(one, other) <= distance
    }
    found = partners(hashes, known, distance)
    assert set(found) == near
    assert all(i != j and apart(hashes[i], every[j]) == bits <= distance for i, (j, bits) in found.items())


@pytest.mark.timeout(60)
def test_partners_of_a_fixed_camera_are_found_at_once() -> None:
    """Fifty thousand pictures of one scene have a billion pairs; nobody makes them, wherever in the list they begin."""
    random = np.random.default_rng(0)
    strangers = [int(value) for value in random.integers(0, 2**63, 5_000)]
    scene = [1 << a | 1 << b | 1 << c for a, b, c in random.integers(0, 64, (50_000, 3)).tolist()]
    assert len(partners([*strangers, *scene])) == len(scene)


@pytest.mark.parametrize("seed", range(12))
def test_copies_are_near_and_others_are_not(seed: int) -> None:
    """Compressed hard, halved, or brighter: within the distance; another picture: beyond it."""
    original = picture(seed)
    compressed = cv2.imdecode(cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    halved = cv2.resize(original, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    brighter = np.clip(original.astype(np.float32) * 1.05 + 5, 0, 255).astype(np.uint8)
    for copy in (compressed, halved, brighter):
        assert apart(perceptual_hash(original), perceptual_hash(copy)) <= NEAR
    assert apart(perceptual_hash(original), perceptual_hash(picture(seed + 100))) > NEAR


def test_a_picture_has_one_hash_whatever_stands_beside_it() -> None:
    """Several are hashed at once, of any size, with flat ones between them."""
    flat = np.zeros((64, 48), np.uint8)
    several = [picture(1), flat, picture(2)[:200, :100], picture(1)]
    assert perceptual_hashes(several) == [perceptual_hash(one) for one in several]
    assert perceptual_hashes(several)[1] is None
    assert perceptual_hashes([]) == []


def test_the_hash_is_that_of_opencvs_cosine_transform() -> None:
    """The lowest 8 x 8 frequencies of the shrunk picture, each above or below their median."""
    for one in [*map(picture, range(50)), *symmetric_pictures()]:
        small = cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        low = cv2.dct(small)[:8, :8].ravel()
        above = low > np.sort(low[1:])[31]
        assert perceptual_hash(one) == int("".join("01"[bit] for bit in above.astype(int)), 2)


def symmetric_pictures() -> list[np.ndarray]:
    """Stripes, halves, a disc: many of their frequencies are exactly zero, which rounding must not make bits of."""
    across, down = np.meshgrid(np.arange(256), np.arange(256))
    disc = (across - 127.5) ** 2 + (down - 127.5) ** 2 < 80**2
    shapes = (across // 32 % 2, across >= 128, disc)
    return [np.where(shape, 200, 50).astype(np.uint8) for shape in shapes]


def test_a_darker_symmetric_picture_is_near() -> None:
    """As any other picture, though most of its frequencies are zero."""
    for one in symmetric_pictures():
        darker = (one * 0.9).astype(np.uint8)
        assert apart(perceptual_hash(one), perceptual_hash(darker)) <= NEAR


def test_a_flat_picture_has_no_hash() -> None:
    """A covered lens resembles every other covered lens only by chance: its bits would be noise."""
    noise = np.random.default_rng(0).integers(100, 103, (240, 320)).astype(np.uint8)
    assert perceptual_hash(noise) is None
    assert perceptual_hash(np.zeros((240, 320), np.uint8)) is None


def test_thousands_of_equal_hashes_are_one_cluster() -> None:
    """A camera that stands still costs no more than one that moves."""
    assert [len(group) for group in clusters([7] * 50_000 + [2**40, 2**63 - 1])] == [50_001]
