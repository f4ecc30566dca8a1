"""Thresholds: each class by its rule, rare ones near the global value, promises kept, and what all of it rests on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.boxes import Detections
from edgeloop.card import ThresholdCard
from edgeloop.errors import BadInput
from edgeloop.matching import Matches, count_at, match
from edgeloop.measures import ThresholdReport
from edgeloop.operating_points import operating_point, savings
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds
from edgeloop.thresholds import shrink, tune
from tests import scenes

ARTIFACT = Artifact(
    path=Path("m.onnx"),
    sha256="a" * 64,
    precision="int8",
    imgsz=192,
    names=("a", "b", "c", "d"),
    thresholds=(0.25,) * 4,
)
NAMES = ARTIFACT.names
FIRST_RELEASE = (0.5587608635081032, 0.6281461638888133, 0.6542562752553861, 0.6368301510810852)


def labelled(matches: Matches, weights: tuple[float, ...] = ()) -> Labelled:
    """Every frame on its own."""
    return Labelled(matches, [str(number) for number in range(matches.frame_count)], ["d"], weights)


def test_the_default_card_gives_what_it_always_gave() -> None:
    """F1 thresholds of a fixed scene, to the digits that the first release gave them."""
    tuned = tune(labelled(scenes.matches(200)), ThresholdCard(), NAMES)
    assert tuned is not None
    np.testing.assert_allclose(tuned.thresholds, FIRST_RELEASE, atol=1e-6)


def test_shrinkage_is_a_weighted_mean_and_full_below_the_minimum() -> None:
    """20 boxes against a pseudo-count of 20 is half way; fewer boxes than the minimum is the global threshold."""
    card = ThresholdCard(minimum_truths=5, shrink=20)
    assert shrink(0.8, 0.4, 20, card) == pytest.approx(0.6)
    assert shrink(0.8, 0.4, 4, card) == 0.4
    assert shrink(0.8, 0.4, 2000, card) == pytest.approx(0.8, abs=0.005)
    assert shrink(0.8, 0.4, 20, ThresholdCard(shrink=0)) == 0.8


@pytest.mark.parametrize("objective", ["recall", "risk"])
def test_a_promise_is_only_drawn_down(objective: str) -> None:
    """A higher global threshold does not raise one that keeps a recall or a risk, however few its labels."""
    card = ThresholdCard.from_document({"objective": objective}, "test")
    for labels in (2, 20):
        assert shrink(0.3, 0.6, labels, card) == 0.3
        assert shrink(0.6, 0.3, labels, card) < 0.6


def test_recall_is_kept_for_every_class_after_shrinking() -> None:
    """Each class finds what its rule asks for on the tuning frames; the report bounds it from below."""
    matches = scenes.matches(200)
    card = ThresholdCard.from_document({"objective": "recall", "minimum_recall": 0.7}, "test")
    report = report_thresholds(ARTIFACT, labelled(matches), card)
    for one in report.classes:
        assert one.recall is not None
        assert one.recall_bound is not None
        assert one.recall_bound < one.recall.value
        assert one.recall.value >= 0.7 or any(one.name in text and "out of reach" in text for text in report.remarks)
    assert sum(one.recall.value >= 0.7 for one in report.classes if one.recall) >= 3


def test_a_class_is_drawn_toward_its_own_rule() -> None:
    """A rare class with dear misses shrinks to what its costs give for all classes, not to the others' compromise."""
    document = {"objective": "cost", "cost_miss": 1, "minimum_truths": 1000, "classes": {"d": {"cost_miss": 20}}}
    matches = scenes.matches(200)
    report = report_thresholds(ARTIFACT, labelled(matches), ThresholdCard.from_document(document, "test"))
    dear = tune(labelled(matches), ThresholdCard.from_document({"objective": "cost", "cost_miss": 20}, "test"), NAMES)
    assert dear is not None
    assert report.classes[3].threshold == dear.everyone[3].threshold < report.classes[0].threshold
    assert [one.basis for one in report.classes] == ["global"] * 4


def test_a_class_asks_for_something_else() -> None:
    """One class by recall among F-beta: the report says which, and the others stay what they were."""
    card = ThresholdCard.from_document({"classes": {"d": {"objective": "recall", "minimum_recall": 0.5}}}, "test")
    matches = scenes.matches(200)
    report = report_thresholds(ARTIFACT, labelled(matches), card)
    plain = report_thresholds(ARTIFACT, labelled(matches), ThresholdCard())
    assert [one.objective for one in report.classes] == ["f-beta", "f-beta", "f-beta", "recall"]
    assert report.tuned.thresholds[:3] == plain.tuned.thresholds[:3]
    assert report.classes[3].recall is not None
    assert report.classes[3].recall.value >= 0.5


def test_an_unknown_class_is_refused() -> None:
    """A misspelt class is an error, not a rule that nobody follows."""
    card = ThresholdCard.from_document({"classes": {"dd": {"cost_miss": 5}}}, "test")
    with pytest.raises(BadInput, match="name the class 'dd'; expected classes of the artifact: a, b, c, d"):
        report_thresholds(ARTIFACT, labelled(scenes.matches(20)), card)


def test_cost_thresholds_cost_less_where_they_were_tuned_and_elsewhere() -> None:
    """Against global 0.25 and 0.5, on the tuning frames and on others; the saving is what counting gives."""
    card = ThresholdCard.from_document({"objective": "cost", "cost_false": 4, "cost_miss": 1}, "test")
    tuning, held_out = scenes.matches(300), scenes.matches(300, truth_seed=9, seed=8)
    report = report_thresholds(ARTIFACT, labelled(tuning), card, labelled(held_out))
    rows = {(one.on, one.name): one for one in report.comparison}
    assert len(rows) == 6
    for on in ("tuning", "held-out"):
        cost = rows[on, "tuned"].cost_per_1000_frames
        assert cost < min(rows[on, f"global {value}"].cost_per_1000_frames for value in (0.25, 0.5))
    ours, theirs = (rows["held-out", name].cost_per_1000_frames for name in ("tuned", "global 0.5"))
    assert report.savings["global 0.5"].value == pytest.approx(1 - ours / theirs)
    assert report.saving == report.savings["global 0.5"]
    assert report.saving.low < report.saving.value < report.saving.high
    counts = count_at(held_out, report.tuned.thresholds)
    assert ours == pytest.approx((4 * counts.false.sum() + counts.missed.sum()) / 0.3)


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
    assert sum(tuned.false_by_class.values()) == pytest.approx(tuned.false_positives_per_1000_frames)


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
    assert report.rarest == "d"


def test_a_class_without_labels_is_named() -> None:
    """It has the global threshold, promises nothing and has no recall; missing from the held-out frames is said too."""
    matches = scenes.matches(60)
    bare = replace(matches.select(matches.classes != 3), truths=matches.truths * [1, 1, 1, 0])
    card = ThresholdCard.from_document({"classes": {"d": {"objective": "recall"}}}, "test")
    report = report_thresholds(ARTIFACT, labelled(bare), card, labelled(bare))
    blind = report.classes[3]
    assert (blind.basis, blind.own, blind.recall, blind.recall_bound) == ("global", None, None, None)
    assert "d: no labelled box to tune on, it has the global threshold, and no recall is promised." in report.remarks
    assert "No labelled box of d on the held-out frames: not judged there." in report.remarks
    assert report.comparison[0].recalls["d"] is None
    assert report.rarest == "c"


def test_a_weight_of_two_is_the_frame_twice() -> None:
    """The bootstrap's weighted tuning equals tuning on the repeated frames, by every objective."""
    truths = scenes.frames_of_truths(30)
    seen = scenes.detect(truths)
    draws = np.array([2, 0, 1] * 10)
    again = np.repeat(np.arange(30), draws)
    repeated = labelled(match([seen[i] for i in again], [truths[i] for i in again], 4))
    for objective in ("f-beta", "recall", "cost", "risk"):
        card = ThresholdCard.from_document({"objective": objective, "maximum_risk": 0.4}, "test")
        drawn = tune(labelled(match(seen, truths, 4)), card, NAMES, draws)
        plain = tune(repeated, card, NAMES)
        assert drawn is not None
        assert plain is not None
        np.testing.assert_allclose(drawn.thresholds, plain.thresholds, atol=1e-6)


def test_heavy_frames_are_not_many_labels() -> None:
    """Frames that stand for thousands shrink a rare class as much as they would if they stood for one."""
    matches = scenes.matches(60)
    plain, heavy = (tune(labelled(matches, weights), ThresholdCard(), NAMES) for weights in ((), (5000.0,) * 60))
    assert plain is not None
    assert heavy is not None
    np.testing.assert_allclose(plain.thresholds, heavy.thresholds)
    np.testing.assert_allclose(heavy.labels, matches.truths.sum(axis=0))


def test_weights_move_thresholds_and_rates() -> None:
    """Where the frames with ghosts weigh little, false positives cost little, and the threshold falls."""
    matches = scenes.matches(100)
    ghosts = np.bincount(matches.frames[(matches.scores > 0.3) & ~matches.hits[:, 0]], minlength=100) > 0
    weights = tuple(np.where(ghosts, 0.05, 1.0).tolist())
    card = ThresholdCard(objective="cost", cost_miss=1)
    plain, weighted = (report_thresholds(ARTIFACT, labelled(matches, one), card) for one in ((), weights))
    assert weighted.tuned.thresholds[0] < plain.tuned.thresholds[0]
    assert weighted.effective_frames == pytest.approx(sum(weights) ** 2 / sum(one**2 for one in weights))
    limits = weighted.tuned.thresholds
    shown = (matches.scores >= np.float32(limits)[matches.classes]) & ~matches.hits[:, 0]
    expected = 1000 * np.array(weights)[matches.frames[shown]].sum() / sum(weights)
    assert weighted.comparison[0].false_positives_per_1000_frames == pytest.approx(expected)


def test_labels_that_the_artifact_does_not_know_cost_and_change_no_threshold() -> None:
    """A class of the set beyond the artifact's is missed at the card's price by every row."""
    matches = scenes.matches(60)
    known = replace(matches.select(matches.classes < 3), truths=matches.truths[:, :3])
    beyond = matches.select(matches.classes < 3)
    artifact = ARTIFACT.model_copy(update={"names": NAMES[:3], "thresholds": (0.25,) * 3})
    card = ThresholdCard(objective="cost")
    small, large = (report_thresholds(artifact, labelled(one), card) for one in (known, beyond))
    assert small.tuned.thresholds == large.tuned.thresholds
    more = large.comparison[0].cost_per_1000_frames - small.comparison[0].cost_per_1000_frames
    assert more == pytest.approx(5 * matches.truths[:, 3].sum() * 1000 / 60)


def test_records_of_older_releases_read_back() -> None:
    """A report without the new fields loads, and a new one comes back as it was."""
    report = report_thresholds(ARTIFACT, labelled(scenes.matches(60)), ThresholdCard(objective="risk"))
    document = json.loads(report.to_json())
    assert ThresholdReport.from_document(document, "new") == report
    old = {key: document[key] for key in ("tuned", "audit_digests", "frames", "truths", "beta", "global_threshold")}
    old["classes"] = [{key: one[key] for key in ("name", "threshold", "own", "low", "high", "truths", "basis")}
                      for one in document["classes"]]  # fmt: skip
    old["comparison"] = []
    assert ThresholdReport.from_document(old, "old").card is None


@pytest.mark.parametrize("frames", [0, 5])
def test_nothing_to_tune_on_falls_back_loudly(frames: int) -> None:
    """No frames, or frames without labels: the default for every class and a warning that says so."""
    nothing = np.zeros((0, 4), np.float32)
    truths = [scenes.Truths(nothing, np.zeros(0, np.int64))] * frames
    matches = match([Detections.empty()] * frames, truths, 4)
    for objective in ("f-beta", "recall", "cost", "risk"):
        card = ThresholdCard.from_document({"objective": objective}, "test")
        report = report_thresholds(ARTIFACT, labelled(matches), card)
        assert report.tuned.thresholds == (DEFAULT_THRESHOLD,) * 4
        assert {item.basis for item in report.classes} == {"default"}
        assert report.warning is not None
        assert f"{frames} tuning frames with 0 labelled boxes" in report.warning


def test_no_frames_save_nothing() -> None:
    """An empty held-out side has no rates and no saving, not a division by zero."""
    empty = labelled(match([], [], 4))
    point = operating_point("tuned", "held-out", empty, (0.5,) * 4, (NAMES, ThresholdCard()))
    assert (point.precision, point.recall, point.cost_per_1000_frames) == (None, None, 0)
    assert savings(empty, (0.5,) * 4, (NAMES, ThresholdCard())) == {}
