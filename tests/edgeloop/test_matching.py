"""Matching is COCO's: same hits, same average precision, same counts."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.boxes import Detections
from edgeloop.matching import IOU_LIMITS, Truths, count_at, join, match, match_frame
from tests import scenes


def boxes(*corners: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(corners, np.float32).reshape(-1, 4)


def test_the_better_scored_detection_takes_the_truth() -> None:
    """Greedy by score: the second box on the same object is a false positive even when it fits better."""
    seen = Detections(boxes((0, 0, 10, 9), (0, 0, 10, 10)), np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64))
    hits, found = match_frame(seen, Truths(boxes((0, 0, 10, 10)), np.zeros(1, np.int64)))
    assert hits[:, 0].tolist() == [True, False]
    assert hits[:, 9].tolist() == [False, True]  # at IoU 0.95 the first one does not count and leaves the truth free
    assert found.all()


def test_a_detection_of_another_class_finds_nothing() -> None:
    """Classes are matched apart."""
    seen = Detections(boxes((0, 0, 10, 10)), np.array([0.9], np.float32), np.array([1]))
    hits, found = match_frame(seen, Truths(boxes((0, 0, 10, 10)), np.array([0])))
    assert not hits.any()
    assert not found.any()


@pytest.mark.parametrize("limit", range(len(IOU_LIMITS)))
def test_an_overlap_equal_to_the_limit_counts(limit: int) -> None:
    """COCO asks for IoU at or above the limit: 13 of 20 pixels meets 0.65, and the next limit is not met."""
    width = round(IOU_LIMITS[limit] * 20)
    seen = Detections(boxes((0, 0, width, 1)), np.array([0.9], np.float32), np.array([0]))
    hits, _ = match_frame(seen, Truths(boxes((0, 0, 20, 1)), np.array([0])))
    assert hits[0].tolist() == [index <= limit for index in range(len(IOU_LIMITS))]


def test_frames_without_detections_or_truths_are_counted() -> None:
    """Empty frames stay frames: they are what false positives per 1,000 frames are stated on."""
    truths = [Truths(boxes(), np.zeros(0, np.int64)), Truths(boxes((0, 0, 5, 5)), np.array([1]))]
    matches = match([Detections.empty(), Detections.empty()], truths, 2)
    assert (matches.frame_count, matches.class_count, len(matches.scores)) == (2, 2, 0)
    assert count_at(matches, [0.5, 0.5]).missed.tolist() == [0, 1]


def test_hiding_low_scores_equals_matching_without_them() -> None:
    """Counts at a threshold are those of a detector that never showed what is below it."""
    truths = scenes.frames_of_truths(60)
    seen = scenes.detect(truths)
    thresholds = [0.3, 0.5, 0.2, 0.6]
    counts = count_at(match(seen, truths, 4), thresholds)
    shown = count_at(match([frame.above(thresholds) for frame in seen], truths, 4), [0.0] * 4)
    assert counts.found.tolist() == shown.found.tolist()
    assert counts.false.tolist() == shown.false.tolist()
    assert counts.missed.tolist() == shown.missed.tolist()


def test_joined_sets_count_as_both() -> None:
    """Pooling two audit sets loses no frame, truth or detection, and keeps scores falling."""
    first, second = scenes.matches(30), scenes.matches(20, truth_seed=5)
    pooled = join([first, second])
    assert pooled.frame_count == 50
    assert np.all(np.diff(pooled.scores) <= 0)
    for part, offset in ((first, 0), (second, 30)):
        mine = (pooled.frames >= offset) & (pooled.frames < offset + part.frame_count)
        assert pooled.scores[mine].tolist() == part.scores.tolist()
        assert pooled.hits[mine].tolist() == part.hits.tolist()
