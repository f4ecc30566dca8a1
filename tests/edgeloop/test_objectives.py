"""Objectives against brute force over every threshold: best, cheapest, highest that keeps its promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.card import ThresholdCard
from edgeloop.objectives import cost_curve, f_beta_curve, optimum, recall_bound
from edgeloop.ranking import FLOOR, Labelled, Ranking
from tests import scenes
from tests.rankings import drawn_matches, ranked, ranking

Case = tuple[np.ndarray, np.ndarray, int]


def counts_at(threshold: float, case: Case) -> tuple[int, int, int]:
    """Found, false and missed, by counting."""
    scores, hits, truths = case
    shown = scores >= threshold
    return int((shown & hits).sum()), int((shown & ~hits).sum()), truths - int((shown & hits).sum())


def f_beta_at(threshold: float, case: Case, beta: float) -> float:
    """F-beta from its definition."""
    found, false, missed = counts_at(threshold, case)
    return (1 + beta**2) * found / ((1 + beta**2) * found + beta**2 * missed + false)


def cost_at(threshold: float, case: Case, card: ThresholdCard) -> float:
    _, false, missed = counts_at(threshold, case)
    return card.cost_false * false + card.cost_miss * missed


def chosen(case: Case, card: ThresholdCard) -> float:
    found = optimum(ranking(*case), card)
    assert found is not None
    return found.threshold


@settings(max_examples=150, deadline=None)
@given(case=ranked(), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_f_beta_is_within_one_example_of_the_best_cut(case: Case, beta: float) -> None:
    """Against brute force over every possible threshold: at most the effect of one example is given up."""
    by_cut = {float(score): f_beta_at(score, case, beta) for score in case[0]}
    best = max(by_cut, key=lambda score: by_cut[score])
    effect = (1 + beta**2) / (beta**2 * case[2] + (case[0] >= best).sum())
    assert f_beta_at(chosen(case, ThresholdCard(beta=beta)), case, beta) >= by_cut[best] - effect - 1e-9


@settings(max_examples=100, deadline=None)
@given(case=ranked(), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_curve_is_f_beta_by_counting(case: Case, beta: float) -> None:
    """Point k of the curve is F-beta of the k highest scores."""
    distinct = (np.linspace(0.9, 0.1, len(case[1])), *case[1:])
    curve = f_beta_curve(ranking(*distinct), beta)
    np.testing.assert_allclose(curve, [0.0, *(f_beta_at(score, distinct, beta) for score in distinct[0])])


@settings(max_examples=150, deadline=None)
@given(case=ranked(), costs=st.tuples(st.sampled_from([0.5, 1.0]), st.sampled_from([1.0, 5.0])))
def test_cost_is_within_one_example_of_the_least(case: Case, costs: tuple[float, float]) -> None:
    """Against brute force, showing nothing included: at most what the dearer example costs is given up."""
    card = ThresholdCard(objective="cost", cost_false=costs[0], cost_miss=costs[1])
    least = min(cost_at(threshold, case, card) for threshold in (*case[0], 1.1))
    assert cost_at(chosen(case, card), case, card) <= least + max(costs) + 1e-9


def test_the_middle_of_the_plateau_costs_less_on_unseen_data_than_the_exact_optimum() -> None:
    """Tuned on 60 frames where a miss costs five, judged on 20,000: the mean excess over the least cost is smaller."""
    card = ThresholdCard(objective="cost", cost_miss=5)
    unseen, excess = labelled(20_000, 99), []
    cost = cost_curve(unseen, card)
    for seed in range(40):
        small = labelled(60, seed)
        exact = small.between(int(np.argmin(cost_curve(small, card)[small.cuts])))
        middle = optimum(small, card)
        assert middle is not None
        shown = [np.searchsorted(-unseen.scores, -one, side="right") for one in (exact, middle.threshold)]
        excess.append(cost[shown] / cost.min() - 1)
    of_exact, of_middle = np.mean(excess, axis=0)
    assert of_middle < 0.8 * of_exact


def labelled(frames: int, seed: int) -> Ranking:
    matches = drawn_matches(frames, 0.5, 1.0, seed, missed=0.05)
    return Labelled(matches, [str(number) for number in range(frames)]).ranking([0])


def test_cost_curve_is_the_cost_by_counting() -> None:
    """Point k is what the k highest scores cost."""
    card = ThresholdCard(cost_false=2, cost_miss=7)
    case = (np.array([0.9, 0.7, 0.5]), np.array([True, False, True]), 4)
    expected = [cost_at(threshold, case, card) for threshold in (1.1, 0.9, 0.7, 0.5)]
    np.testing.assert_allclose(cost_curve(ranking(*case), card), expected)


@settings(max_examples=150, deadline=None)
@given(case=ranked(), least=st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_recall_is_kept_by_the_highest_threshold_that_does(case: Case, least: float) -> None:
    """It finds that share; the next higher cut does not. Out of reach, all that is ever found, and it says so."""
    found = optimum(ranking(*case), ThresholdCard(objective="recall", minimum_recall=least))
    assert found is not None
    recalls = {float(score): counts_at(score, case)[0] / case[2] for score in case[0]}
    wanted = min(least, max(recalls.values()))
    assert counts_at(found.threshold, case)[0] / case[2] >= wanted - 1e-9
    highest = max(score for score, recall in recalls.items() if recall >= wanted - 1e-9)
    assert found.threshold <= highest
    assert not np.any((case[0] > found.threshold) & (case[0] < highest))
    assert ("out of reach" in found.note) == (wanted < least)


def test_what_a_device_never_sees_keeps_no_recall() -> None:
    """Detections below the floor of the device count as missed, and no threshold lies below it."""
    matches = scenes.matches(60)
    low = matches.scores < 0.3
    faint = np.where(low, matches.scores * 0.1, matches.scores).astype(np.float32)
    order = np.argsort(-faint, kind="stable")
    moved = matches.select(np.ones(len(faint), bool))
    moved = type(moved)(moved.frames[order], moved.classes[order], faint[order], moved.hits[order], moved.truths)
    everything = Labelled(moved, [str(index) for index in range(60)]).ranking(range(4))
    assert everything.scores.min() > FLOOR
    found = optimum(everything, ThresholdCard(objective="recall", minimum_recall=1.0))
    assert found is not None
    assert found.threshold >= FLOOR
    assert "out of reach" in found.note


def test_showing_nothing_is_said() -> None:
    """A class whose every answer costs more than it saves is shown as rarely as can be, with a remark."""
    scores, hits = np.linspace(0.9, 0.2, 40), np.array([False] * 39 + [True])
    found = optimum(ranking(scores, hits, 1), ThresholdCard(objective="cost", cost_false=10, cost_miss=1))
    assert found is not None
    assert found.threshold > 0.88
    assert found.note == "showing nothing of it would cost least"


@pytest.mark.parametrize("objective", ["f-beta", "recall", "cost", "risk"])
def test_nothing_found_gives_no_threshold(objective: str) -> None:
    """Where every detection is a ghost, or there is none, there is nothing to place a threshold by."""
    card = ThresholdCard.from_document({"objective": objective}, "test")
    assert optimum(ranking(np.array([0.9, 0.5]), np.array([False, False]), 3), card) is None
    assert optimum(ranking(np.zeros(0), np.zeros(0, bool), 3), card) is None


def test_recall_bound_holds_for_a_threshold_put_at_an_order_statistic() -> None:
    """The true recall at the highest threshold that finds 90 % of 60 boxes lies above the bound in 95 % of draws."""
    rng = np.random.default_rng(0)
    labels, draws = 60, 4000
    scores = np.sort(rng.random((draws, labels)))[:, ::-1]
    found = 54
    true_recall = 1 - scores[:, found - 1]  # uniform scores: the chance to lie above the threshold
    bound = recall_bound(found, labels, 0.95)
    assert 0.94 < (true_recall >= bound).mean() < 0.96
    assert recall_bound(0, 10, 0.95) == 0.0
    assert recall_bound(10, 10, 0.95) == pytest.approx(0.05 ** (1 / 10))


def test_weights_scale_nothing() -> None:
    """Frames that all stand for 1,000 give the thresholds of frames that stand for 1, by every objective."""
    matches = scenes.matches(80)
    groups = [str(index) for index in range(80)]
    for objective in ("f-beta", "recall", "cost", "risk"):
        card = ThresholdCard.from_document({"objective": objective, "maximum_risk": 0.4}, "test")
        plain, heavy = (Labelled(matches, groups, (), weights).ranking([0]) for weights in ((), (1000.0,) * 80))
        assert optimum(plain, card) == optimum(heavy, card)
        assert heavy.effective_labels == pytest.approx(plain.effective_labels)
