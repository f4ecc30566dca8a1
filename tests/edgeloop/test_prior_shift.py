"""Prior shift: a known one is recovered from unlabelled scores, and thresholds that know it cost less."""

from __future__ import annotations

from dataclasses import replace
from math import gamma

import numpy as np
import pytest

from edgeloop.card import ThresholdCard
from edgeloop.matching import Matches
from edgeloop.operating_points import operating_point
from edgeloop.prior_shift import BetaCalibration, Production, estimate_shift, shifted_share
from edgeloop.ranking import FLOOR, Labelled
from edgeloop.thresholds import tune
from tests.rankings import drawn_matches

NAMES = ("a",)


def labelled(matches: Matches) -> Labelled:
    return Labelled(matches, [str(number) for number in range(matches.frame_count)])


def production(matches: Matches) -> Production:
    """The same without labels."""
    return Production.of(NAMES, matches.frame_count, matches.classes, matches.scores)


def ratios(there: Matches, here: Matches) -> tuple[float, float]:
    """What really changed: right and wrong candidates a frame above the floor, there over here."""
    counts = [
        [(one.hits[one.scores > FLOOR, 0] == kind).sum() / one.frame_count for kind in (True, False)]
        for one in (there, here)
    ]
    return counts[0][0] / counts[1][0], counts[0][1] / counts[1][1]


@pytest.mark.parametrize(("right", "wrong"), [(0.2, 1.0), (1.0, 0.25), (3.0, 1.0), (0.1, 3.0)])
def test_a_known_shift_is_recovered(right: float, wrong: float) -> None:
    """Right and wrong candidates a frame, from scores alone, within a fifth of what was drawn."""
    here, there = drawn_matches(400, 1.0, 1.0, seed=1), drawn_matches(1500, right, wrong, seed=2)
    shift = estimate_shift(labelled(here), production(there), resamples=30)
    true_right, true_wrong = ratios(there, here)
    assert shift.right[0] == pytest.approx(true_right, rel=0.2)
    assert shift.wrong[0] == pytest.approx(true_wrong, rel=0.2)
    found = shift.classes[0]
    assert found.production is not None
    share = there.hits[there.scores > FLOOR, 0].mean()
    assert found.production.low - 0.02 < share < found.production.high + 0.02
    assert found.production.high - found.production.low < 0.2


def test_no_shift_is_no_shift() -> None:
    """The labelled frames themselves as production: nothing changes, within what rounding scores costs."""
    here = drawn_matches(400, 1.0, 1.0, seed=1)
    shift = estimate_shift(labelled(here), production(here), resamples=0)
    assert shift.right[0] == pytest.approx(1, abs=0.01)
    assert shift.wrong[0] == pytest.approx(1, abs=0.01)


def test_weighted_labels_are_the_prevalence_here() -> None:
    """Frames that stand for others carry their weight into what production is compared with."""
    here, there = drawn_matches(600, 1.0, 1.0, seed=3), drawn_matches(2000, 0.4, 1.0, seed=4)
    holds = here.truths[:, 0] > 0
    weights = np.where(holds, 0.3, 1.0)
    plain, weighted = (
        estimate_shift(replace(labelled(here), weights=one), production(there), resamples=0)
        for one in ((), tuple(weights.tolist()))
    )
    assert weighted.right[0] > plain.right[0] * 1.3  # objects are already rarer here


def test_thresholds_that_know_the_shift_cost_less() -> None:
    """Objects became ten times rarer: on production's own labels, tuning with the shift saves at least a tenth."""
    here, there = drawn_matches(400, 1.0, 1.0, seed=5), drawn_matches(4000, 0.1, 1.0, seed=6)
    card = ThresholdCard(objective="cost", cost_miss=3)
    knowing = replace(labelled(here), shift=estimate_shift(labelled(here), production(there), resamples=0))
    cost = {}
    for name, frames in (("plain", labelled(here)), ("shifted", knowing), ("labelled", labelled(there))):
        tuned = tune(frames, card, NAMES)
        assert tuned is not None
        point = operating_point(name, "held-out", labelled(there), tuned.thresholds.tolist(), (NAMES, card))
        cost[name] = point.cost_per_1000_frames
    assert cost["shifted"] < 0.9 * cost["plain"]
    assert cost["shifted"] < 1.05 * cost["labelled"]  # nearly as good as with production's labels


def test_rates_are_stated_at_the_prevalence_of_production() -> None:
    """False positives and misses on the labelled frames, corrected, are production's."""
    here, there = drawn_matches(3000, 1, 1, 7, missed=0.2), drawn_matches(3000, 0.3, 2, 8, missed=0.06)
    knowing = replace(labelled(here), shift=estimate_shift(labelled(here), production(there), resamples=0))
    rows = [
        operating_point("", "tuning", frames, (0.5,), (NAMES, ThresholdCard()))
        for frames in (knowing, labelled(there), labelled(here))
    ]
    for key in ("false_positives_per_1000_frames", "missed_per_1000_frames"):
        corrected, real, uncorrected = (getattr(row, key) for row in rows)
        assert corrected == pytest.approx(real, rel=0.25)
        assert abs(uncorrected / real - 1) > 0.4


def test_recall_does_not_move() -> None:
    """What holds given an object holds however often objects come."""
    here, there = drawn_matches(300, 1.0, 1.0, seed=9), drawn_matches(1000, 0.2, 1.0, seed=10)
    knowing = replace(labelled(here), shift=estimate_shift(labelled(here), production(there), resamples=0))
    for objective in ("recall", "risk"):
        card = ThresholdCard.from_document({"objective": objective, "minimum_recall": 0.8}, "test")
        plain, shifted = tune(labelled(here), card, NAMES), tune(knowing, card, NAMES)
        assert plain is not None
        assert shifted is not None
        np.testing.assert_allclose(plain.thresholds, shifted.thresholds)


def test_too_little_to_estimate_from_is_said() -> None:
    """Fewer than five right, wrong or production candidates: the class keeps what it has, with the reason."""
    here = drawn_matches(400, 1.0, 1.0, seed=1)
    none = Production.of(NAMES, 100, np.zeros(0, np.int64), np.zeros(0))
    shift = estimate_shift(labelled(here), none, resamples=0)
    assert (shift.right[0], shift.wrong[0]) == (1, 1)
    assert shift.classes[0].production is None
    assert "not estimated" in shift.classes[0].note


def test_calibration_is_the_true_chance() -> None:
    """Between two beta distributions the log odds are what beta calibration fits: chances within 0.03."""
    rng = np.random.default_rng(0)
    right = rng.random(20_000) < 0.3
    scores = np.where(right, rng.beta(5, 2, right.size), rng.beta(1.5, 5, right.size))
    fitted = BetaCalibration.fit(scores, right, np.ones(right.size))
    at = np.linspace(0.1, 0.95, 30)
    right_density, wrong_density = (
        gamma(a + b) / gamma(a) / gamma(b) * at ** (a - 1) * (1 - at) ** (b - 1) for a, b in ((5, 2), (1.5, 5))
    )
    chance = 0.3 * right_density / (0.3 * right_density + 0.7 * wrong_density)
    np.testing.assert_allclose(fitted(at), chance, atol=0.03)
    assert np.all(np.diff(fitted(np.linspace(0.01, 0.99, 50))) >= 0)


def test_separable_scores_are_not_certain() -> None:
    """Three right above three wrong: Platt's targets keep the chance away from 0 and 1."""
    fitted = BetaCalibration.fit([0.9, 0.8, 0.7, 0.2, 0.1, 0.06], np.array([1, 1, 1, 0, 0, 0], bool), np.ones(6))
    assert 0.01 < fitted([0.06])[0] < fitted([0.9])[0] < 0.99


def test_em_climbs_to_the_maximum_of_the_likelihood() -> None:
    """Against a search over all shares, of the mixture that EM is for."""
    rng = np.random.default_rng(0)
    chances, counts = rng.random(200), rng.integers(1, 9, 200)
    found = shifted_share(chances, counts, 0.5)
    shares = np.linspace(0.001, 0.999, 999)
    ratios_here = shares[:, None] / 0.5 * chances + (1 - shares[:, None]) / 0.5 * (1 - chances)
    best = shares[np.argmax(np.log(ratios_here) @ counts)]
    assert found == pytest.approx(best, abs=0.002)
