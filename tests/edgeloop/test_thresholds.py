"""Thresholds: as good as the best cut, never at the edge of one example, rare classes near the global one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.boxes import Detections
from edgeloop.card import ThresholdCard
from edgeloop.matching import Matches, count_at, match
from edgeloop.objectives import best_threshold, f_beta_curve
from edgeloop.threshold_report import report_thresholds
from edgeloop.thresholds import Labelled, shrink, tune
from tests import scenes

ARTIFACT = Artifact(
    path=Path("m.onnx"),
    sha256="a" * 64,
    precision="int8",
    imgsz=192,
    names=("a", "b", "c", "d"),
    thresholds=(0.25,) * 4,
)


def labelled(matches: Matches) -> Labelled:
    """Every frame on its own."""
    return Labelled(matches, [str(number) for number in range(matches.frame_count)], ["d"])


def f_beta_at(threshold: float, scores: np.ndarray, hits: np.ndarray, truths: int, beta: float) -> float:
    """F-beta from its definition, by counting."""
    shown = scores >= threshold
    found, false = int((shown & hits).sum()), int((shown & ~hits).sum())
    return (1 + beta**2) * found / ((1 + beta**2) * found + beta**2 * (truths - found) + false)


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores (falling, with ties), hits and a count of truths that allows them."""
    hits = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=40)))
    hits[draw(st.integers(0, len(hits) - 1))] = True
    scores = np.sort(np.array(draw(st.lists(st.integers(1, 50), min_size=len(hits), max_size=len(hits)))))[::-1] / 50
    return scores, hits, int(hits.sum()) + draw(st.integers(0, 10))


@settings(max_examples=200, deadline=None)
@given(case=ranked(), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_threshold_is_within_one_example_of_the_best_cut(case: tuple[np.ndarray, np.ndarray, int], beta: float) -> None:
    """Against brute force over every possible threshold: at most the effect of one example is given up."""
    scores, hits, truths = case
    chosen = best_threshold(scores, hits, truths, beta)
    by_cut = {float(score): f_beta_at(score, scores, hits, truths, beta) for score in scores}
    best = max(by_cut, key=lambda score: by_cut[score])
    effect = (1 + beta**2) / (beta**2 * truths + (scores >= best).sum())
    assert chosen is not None
    assert f_beta_at(chosen, scores, hits, truths, beta) >= by_cut[best] - effect - 1e-9


@settings(max_examples=100, deadline=None)
@given(case=ranked(), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_curve_is_f_beta_by_counting(case: tuple[np.ndarray, np.ndarray, int], beta: float) -> None:
    """Point k of the curve is F-beta of the k highest scores."""
    _, hits, truths = case
    distinct = np.linspace(0.9, 0.1, len(hits))
    curve = f_beta_curve(hits, truths, beta)
    expected = [f_beta_at(score, distinct, hits, truths, beta) for score in distinct]
    np.testing.assert_allclose(curve, [0.0, *expected])


def test_threshold_lies_in_the_middle_of_the_gap() -> None:
    """Clean separation: the threshold keeps its distance from the weakest find and from the strongest ghost."""
    scores = np.array([0.9] * 20 + [0.8] + [0.3] + [0.2] * 30)
    hits = np.array([True] * 21 + [False] * 31)
    chosen = best_threshold(scores, hits, 21, 1.0)
    assert chosen is not None
    assert 0.3 < chosen <= 0.8


def test_one_example_does_not_carry_a_threshold() -> None:
    """One more find far down the ranking, at the exact optimum of F1, does not pull the threshold down to it."""
    scores = np.concatenate([np.linspace(0.9, 0.7, 30), [0.11, 0.1]])
    hits = np.array([True] * 30 + [False, True])
    chosen = best_threshold(scores, hits, 31, 1.0)
    curve = f_beta_curve(hits, 31, 1.0)
    assert int(np.argmax(curve)) in (30, 32)
    assert chosen is not None
    assert chosen > 0.3


def test_nothing_found_gives_no_threshold() -> None:
    """Where every detection is a ghost there is nothing to place a threshold by."""
    assert best_threshold(np.array([0.9, 0.5]), np.array([False, False]), 3, 1.0) is None
    assert best_threshold(np.zeros(0), np.zeros(0, bool), 3, 1.0) is None


def test_shrinkage_is_a_weighted_mean_and_full_below_the_minimum() -> None:
    """20 boxes against a pseudo-count of 20 is half way; fewer boxes than the minimum is the global threshold."""
    card = ThresholdCard(minimum_truths=5, shrink=20)
    assert shrink(0.8, 0.4, 20, card) == pytest.approx(0.6)
    assert shrink(0.8, 0.4, 4, card) == 0.4
    assert shrink(0.8, 0.4, 2000, card) == pytest.approx(0.8, abs=0.005)
    assert shrink(0.8, 0.4, 20, ThresholdCard(shrink=0)) == 0.8


def test_tuned_thresholds_beat_the_usual_global_ones() -> None:
    """On the frames they were tuned on, F1 over all classes is above that of 0.25 and of 0.5 for everybody."""
    matches = scenes.matches(200)
    report = report_thresholds(ARTIFACT, labelled(matches), ThresholdCard())
    tuned, quarter, half = report.comparison
    assert (tuned.name, quarter.name, half.name) == ("tuned", "global 0.25", "global 0.5")
    assert tuned.f_beta > max(quarter.f_beta, half.f_beta)
    counts = count_at(matches, report.tuned.thresholds)
    assert tuned.false_positives_per_1000_frames == pytest.approx(counts.false.sum() * 5)
    assert tuned.missed_per_1000_frames == pytest.approx(counts.missed.sum() * 5)


def test_report_says_what_each_threshold_rests_on() -> None:
    """Number of labels, interval around the threshold, and whether it is its own, shrunk or the global one."""
    matches = scenes.matches(60)
    truths = matches.truths.sum(axis=0)
    card = ThresholdCard(minimum_truths=int(truths[3]) + 1)
    report = report_thresholds(ARTIFACT, labelled(matches), card)
    assert [item.truths for item in report.classes] == truths.tolist()
    assert [item.basis for item in report.classes] == ["shrunk", "shrunk", "shrunk", "global"]
    assert report.classes[3].threshold == report.global_threshold
    assert all(item.low <= item.threshold <= item.high for item in report.classes)
    assert report.classes[0].high - report.classes[0].low > 0
    assert report.tuned.thresholds == tuple(item.threshold for item in report.classes)
    assert report.warning is None


def test_a_weight_of_two_is_the_frame_twice() -> None:
    """The bootstrap's weighted tuning equals tuning on the repeated frames."""
    truths = scenes.frames_of_truths(30)
    seen = scenes.detect(truths)
    weights = np.array([2, 0, 1] * 10)
    again = np.repeat(np.arange(30), weights)
    card = ThresholdCard()
    names = ARTIFACT.names
    weighted = tune(labelled(match(seen, truths, 4)), card, names, weights)
    repeated = tune(labelled(match([seen[i] for i in again], [truths[i] for i in again], 4)), card, names)
    assert weighted is not None
    assert repeated is not None
    np.testing.assert_allclose(weighted.thresholds, repeated.thresholds, atol=1e-6)


@pytest.mark.parametrize("frames", [0, 5])
def test_nothing_to_tune_on_falls_back_loudly(frames: int) -> None:
    """No frames, or frames without labels: the default for every class and a warning that says so."""
    nothing = np.zeros((0, 4), np.float32)
    truths = [scenes.Truths(nothing, np.zeros(0, np.int64))] * frames
    matches = match([Detections.empty()] * frames, truths, 4)
    report = report_thresholds(ARTIFACT, labelled(matches), ThresholdCard())
    assert report.tuned.thresholds == (DEFAULT_THRESHOLD,) * 4
    assert {item.basis for item in report.classes} == {"default"}
    assert report.warning is not None
    assert f"{frames} tuning frames with 0 labelled boxes" in report.warning
