"""The share that moved is 0 for equal detections, 1 for nothing in common, and grows with what changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.agreement import moved_share
from edgeloop.boxes import Detections
from tests import scenes


def seen(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


ONE = seen((0, 0, 10, 10, 0.8, 0))


@given(st.integers(0, 1000))
def test_equal_detections_have_not_moved(seed: int) -> None:
    """A detector agrees with itself."""
    found = scenes.detect(scenes.frames_of_truths(5, seed), seed=seed)
    assert moved_share(zip(found, found, strict=True)) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 1000))
def test_it_is_a_share_and_has_no_direction(seed: int) -> None:
    """Between 0 and 1, and the same seen from either side."""
    truths = scenes.frames_of_truths(5, seed)
    first, second = scenes.detect(truths, seed=1), scenes.detect(truths, seed=2)
    there, back = (moved_share(zip(a, b, strict=True)) for a, b in ((first, second), (second, first)))
    assert 0 <= there <= 1
    assert there == pytest.approx(back)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (seen(), 1.0),  # lost
        (seen((0, 0, 10, 10, 0.8, 1)), 1.0),  # another class
        (seen((20, 20, 30, 30, 0.8, 0)), 1.0),  # somewhere else
        (seen((0, 0, 10, 10, 0.4, 0)), 0.5),  # half as sure
        (seen((0, 0, 10, 5, 0.8, 0)), 0.5),  # half of the box
    ],
)
def test_what_changes_counts(other: Detections, share: float) -> None:
    """A lost, renamed or displaced box counts whole, a less certain or smaller one by how much."""
    assert moved_share([(ONE, other)]) == pytest.approx(share)


def test_nothing_seen_has_not_moved() -> None:
    """Two detectors that see nothing agree."""
    assert moved_share([(seen(), seen())]) == 0
