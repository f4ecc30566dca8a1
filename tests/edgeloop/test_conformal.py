"""Conformal risk control: the bound is the paper's, and the guarantee holds in simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeloop.card import ThresholdCard
from edgeloop.conformal import controlled_cut, groups_needed, holders, risk_bound
from edgeloop.objectives import optimum
from edgeloop.ranking import Ranking
from tests.rankings import ranking


def groups(rng: np.random.Generator, count: int, hardness: float = 1.0) -> Ranking:
    """`count` groups of 4 boxes each, all found with scores that depend on how hard the group is."""
    level = rng.beta(4, 2 * hardness, count)
    scores = np.clip(np.repeat(level, 4) + rng.normal(0, 0.1, 4 * count), 0.06, 0.99)
    order = np.argsort(-scores)
    return ranking(scores[order], np.ones(4 * count, bool), 4, np.repeat(np.arange(count), 4)[order])


def loss(of: Ranking, threshold: float) -> float:
    """The share of the boxes of the last group that is missed, by counting."""
    mine = of.scores[of.units[of.frames] == of.units.max()]
    return float((mine < threshold).mean())


def test_the_guarantee_holds_on_a_new_group() -> None:
    """Over 1,500 draws of 30 groups and a new one, the mean share missed is at most the limit, and near it."""
    rng = np.random.default_rng(0)
    limit, losses = 0.2, []
    for _ in range(1500):
        everything = groups(rng, 31)
        kept = everything.frames < 30
        cut = controlled_cut(part := replace(
            everything, scores=everything.scores[kept], hits=everything.hits[kept], frames=everything.frames[kept],
            ratios=everything.ratios[kept], labels=np.where(np.arange(31) < 30, 4, 0),
        ), limit)  # fmt: skip
        assert cut is not None
        losses.append(loss(everything, part.between(cut)))
    deviation = np.std(losses) / np.sqrt(len(losses))
    assert np.mean(losses) <= limit + 3 * deviation
    assert np.mean(losses) >= limit - 0.07  # it is not merely shy: 1 / (n + 1) is 0.03


def test_without_the_correction_it_would_not_hold() -> None:
    """The threshold at which the plain mean is the limit misses more than it on a new group: the test can fail."""
    rng = np.random.default_rng(1)
    limit, losses = 0.1, []
    for _ in range(1500):
        everything = groups(rng, 10)
        seen = np.sort(everything.scores[everything.frames < 9])
        losses.append(loss(everything, seen[int(limit * len(seen))]))  # one in ten of them lies below
    assert np.mean(losses) > limit + 3 * np.std(losses) / np.sqrt(len(losses))


def test_the_bound_is_by_hand() -> None:
    """Three groups of two boxes, the third never found: (sum of losses + 1) / (groups + 1) after each detection."""
    found = ranking(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 0, 1], bool), 2, np.array([0, 1, 2, 0]))
    np.testing.assert_allclose(risk_bound(found), [4 / 4, 3.5 / 4, 3 / 4, 3 / 4, 2.5 / 4])


def test_groups_without_the_class_say_nothing() -> None:
    """Frames that hold no box dilute nothing, and a group is one unit however many frames it has."""
    base = ranking(np.array([0.9, 0.8]), np.array([True, True]), 1, np.array([0, 1]))
    more = replace(base, labels=np.array([1, 1, 0, 0]), expected=np.array([1.0, 1, 0, 0]), weights=np.ones(4),
                   units=np.arange(4), draws=np.ones(4, np.int64))  # fmt: skip
    np.testing.assert_allclose(risk_bound(more), risk_bound(base))
    together = replace(base, units=np.array([0, 0]))
    assert holders(together) == 1
    np.testing.assert_allclose(risk_bound(together), [1, 0.75, 0.5])


def test_a_group_drawn_twice_counts_twice() -> None:
    """A resample's weight is the group twice over."""
    base = ranking(np.array([0.9, 0.8, 0.7]), np.ones(3, bool), 1, np.array([0, 1, 2]))
    np.testing.assert_allclose(risk_bound(base.drawn(np.array([2, 1, 0]))), [1, 2 / 4, 1 / 4])
    assert holders(base.drawn(np.array([2, 1, 0]))) == 3


def test_weights_only_make_it_more_careful() -> None:
    """The next group is taken to weigh as much as the heaviest, so unequal weights never promise more."""
    base = ranking(np.array([0.9, 0.8, 0.7]), np.ones(3, bool), 1, np.array([0, 1, 2]))
    heavy = replace(base, weights=np.array([2.0, 0.5, 0.5]))
    np.testing.assert_allclose(risk_bound(heavy), [1, 3 / 5, 2.5 / 5, 2 / 5])
    assert risk_bound(heavy)[-1] > risk_bound(base)[-1]


@pytest.mark.parametrize(("limit", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99)])
def test_how_many_groups_a_limit_needs(limit: float, needed: int) -> None:
    """One group fewer is not enough even where everything is found, so many are."""
    assert groups_needed(limit) == needed
    for count, kept in ((needed, True), (needed - 1, False)):
        if count:
            perfect = ranking(np.linspace(0.9, 0.5, count), np.ones(count, bool), 1, np.arange(count))
            assert (controlled_cut(perfect, limit) is not None) == kept


def test_a_promise_that_cannot_be_made_is_not() -> None:
    """Too few groups, or too much missed at any threshold: a recall instead, no guarantee, and the reason."""
    card = ThresholdCard(objective="risk", maximum_risk=0.1)
    few = optimum(ranking(np.linspace(0.9, 0.5, 5), np.ones(5, bool), 1, np.arange(5)), card)
    assert few is not None
    assert not few.guarantee
    assert "5 groups of frames hold it, 9 are needed" in few.note
    blind = ranking(np.linspace(0.9, 0.5, 30), np.arange(30) < 20, 1, np.arange(30))
    missing = optimum(blind, card)
    assert missing is not None
    assert "too much is missed" in missing.note
    assert missing.threshold == blind.between(20)  # all that it ever finds, and no false positive more
    good = optimum(ranking(np.linspace(0.9, 0.5, 30), np.ones(30, bool), 1, np.arange(30)), card)
    assert good is not None
    assert "at most 0.1 are missed in expectation" in good.guarantee
    assert "30 such groups" in good.guarantee
