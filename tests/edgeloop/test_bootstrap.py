"""The point estimate is COCO's, the interval covers, and pairing sees what two separate intervals cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.bootstrap import (
    average_precision,
    effective_counts,
    frame_weights,
    interval,
    mean_average_precision,
    mean_of_judged,
    paired_interval,
    relative_loss,
)
from edgeloop.boxes import Detections
from edgeloop.coco import coco_average_precision
from edgeloop.errors import BadInput
from edgeloop.matching import Truths, join, match
from tests import scenes


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), grid=st.sampled_from([0, 1, 8]), ties=st.booleans())
def test_average_precision_equals_faster_coco_eval(seed: int, grid: int, ties: bool) -> None:
    """Per class and IoU limit, also with boxes on a pixel grid (exact IoUs) and many equal scores."""
    truths = scenes.frames_of_truths(40, seed)
    seen = scenes.detect(truths, seed=seed)
    if grid:
        truths = [Truths(np.round(truth.boxes / grid) * grid, truth.classes) for truth in truths]
        seen = [
            Detections(_widened(np.round(frame.boxes / grid) * grid), frame.scores, frame.classes) for frame in seen
        ]
    if ties:
        seen = [Detections(frame.boxes, np.round(frame.scores, 1), frame.classes) for frame in seen]
    expected = coco_average_precision(seen, truths, 4)
    ours = average_precision(match(seen, truths, 4), np.ones((1, 40), np.int64), range(10))[0]
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def _widened(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)


def test_a_weight_of_two_is_the_frame_twice() -> None:
    """Resampling by weights equals evaluating on the resampled frames themselves."""
    truths = scenes.frames_of_truths(30)
    seen = scenes.detect(truths)
    weights = frame_weights(30, 5, seed=3)
    weighted = average_precision(match(seen, truths, 4), weights, range(10))
    for row, drawn in zip(weighted, weights, strict=True):
        again = np.repeat(np.arange(30), drawn)
        expected = coco_average_precision([seen[i] for i in again], [truths[i] for i in again], 4)
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_a_class_without_truth_has_no_precision() -> None:
    """NaN, not 0: mAP is over the classes that can be judged."""
    truths = [Truths(np.array([[0, 0, 9, 9]], np.float32), np.array([0]))]
    seen = [Detections(np.array([[0, 0, 9, 9]] * 2, np.float32), np.array([0.9, 0.8], np.float32), np.array([0, 1]))]
    matches = match(seen, truths, 2)
    ones = np.ones((1, 1), np.int64)
    assert np.isnan(average_precision(matches, ones)[0, 1, 0])
    assert mean_average_precision(matches, ones, "map50")[0] == pytest.approx(1.0)


def test_the_interval_covers_the_true_value() -> None:
    """On 25 independent audit sets a 90 % interval holds the value of a large set about as often as it says."""
    truth = mean_average_precision(scenes.matches(2000, truth_seed=99), np.ones((1, 2000), np.int64), "map50")[0]
    covered = 0
    for seed in range(25):
        matches = scenes.matches(100, truth_seed=seed, seed=1000 + seed)
        found = interval(matches, "map50", frame_weights(100, 200, seed), confidence=0.9)
        covered += found.low <= truth <= found.high
    assert 18 <= covered <= 25


def test_pairing_sees_a_small_difference() -> None:
    """Two detectors that differ on few frames: the paired interval is several times narrower than one alone."""
    weaker, stronger = scenes.matches(120, found=0.78), scenes.matches(120, found=0.8)
    draws = frame_weights(120, 300, seed=0)
    paired = paired_interval(stronger, weaker, "map50", draws=draws)
    alone = interval(stronger, "map50", draws)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_a_detector_does_not_differ_from_itself() -> None:
    """Difference and loss are exactly 0, with an interval of no width."""
    matches = scenes.matches(50)
    same = paired_interval(matches, matches, "map50")
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert paired_interval(matches, matches, "map50_95", relative_loss).high == 0.0


def test_alike_frames_are_drawn_together() -> None:
    """Five copies of every frame carry no more than one: grouped, the interval is as wide as without the copies."""
    one = scenes.matches(60)
    copies = join([one] * 5)
    groups = [str(index) for index in range(60)] * 5
    width = [
        found.high - found.low
        for found in (
            interval(one, "map50", frame_weights(60, 400, seed=0)),
            interval(copies, "map50", frame_weights(300, 400, seed=0, groups=groups)),
            interval(copies, "map50", frame_weights(300, 400, seed=0)),
        )
    ]
    assert width[1] == pytest.approx(width[0], rel=0.25)
    assert width[2] < 0.7 * width[0]


def test_weighted_boxes_say_as_much_as_so_many() -> None:
    """Alike they are counted; where one frame carries everything, it is that frame's boxes."""
    truths = np.array([[2, 0], [3, 0], [1, 0]])
    assert effective_counts(truths, np.ones(3, np.int64)).tolist() == [6, 0]
    assert effective_counts(truths, np.full(3, 0.1)).tolist() == [6, 0]
    assert effective_counts(truths, np.array([1e9, 1, 1]))[0] == pytest.approx(2, abs=1e-6)


def test_another_truth_is_refused() -> None:
    """Two detectors measured on different labels are not compared."""
    with pytest.raises(BadInput, match="different truths"):
        paired_interval(scenes.matches(30), scenes.matches(30, truth_seed=1), "map50")


def test_no_frames_are_refused() -> None:
    """An interval needs frames to draw."""
    with pytest.raises(BadInput, match="frames to resample"):
        frame_weights(0, 10, seed=0)


def test_a_lost_class_does_not_raise_the_mean() -> None:
    """A class that is never found pulls the mean down in every resample, also where it was not drawn."""
    nan = np.nan
    values = np.array([[0.8, 0.0, nan], [0.9, nan, nan], [0.7, 0.0, nan]])
    assert mean_of_judged(values).tolist() == pytest.approx([0.4, 0.45, 0.35])
