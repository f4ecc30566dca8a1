"""Decoding against a naive reference, one anchor and one pair of boxes at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.boxes import Detections, iou_matrix
from edgeloop.edge.decode import FIRST_CANDIDATES, Decoder, suppress
from edgeloop.edge.frame import Geometry
from edgeloop.errors import BadInput

SQUARE = Geometry.of(64, 64, 64)


def random_output(seed: int, classes: int, anchors: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, side, (2, anchors))
    sizes = rng.uniform(4, side / 2, (2, anchors))
    scores = rng.uniform(0, 1, (classes, anchors)) ** 3
    return np.concatenate([centres, sizes, scores]).astype(np.float32)


def naive(raw: np.ndarray, floor: float, iou: float, multi_label: bool, limit: int = 300) -> list[tuple[int, int]]:
    """(anchor, class) of what greedy NMS within each class keeps, best first."""
    scores = raw[4:]
    pairs = [(a, c) for a in range(raw.shape[1]) for c in range(len(scores)) if scores[c, a] > floor]
    if not multi_label:
        pairs = [(a, c) for a, c in pairs if c == scores[:, a].argmax()]
    pairs.sort(key=lambda pair: -scores[pair[1], pair[0]])
    boxes = np.stack([raw[0] - raw[2] / 2, raw[1] - raw[3] / 2, raw[0] + raw[2] / 2, raw[1] + raw[3] / 2], axis=1)
    kept: list[tuple[int, int]] = []
    for anchor, cls in pairs:
        rivals = [a for a, c in kept if c == cls]
        if not rivals or iou_matrix(boxes[[anchor]], boxes[rivals]).max() <= iou:
            kept.append((anchor, cls))
    return kept[:limit]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000), classes=st.integers(1, 5), iou=st.sampled_from([0.3, 0.7]), multi_label=st.booleans()
)
def test_decode_equals_the_naive_reference(seed: int, classes: int, iou: float, multi_label: bool) -> None:
    """Same anchors, same classes, same order as decoding one anchor at a time."""
    raw = random_output(seed, classes, anchors=60)
    found = Decoder("anchor-free", classes, iou, 0.1, multi_label).decode(raw, SQUARE)
    expected = naive(raw, 0.1, iou, multi_label)
    assert found.classes.tolist() == [c for _, c in expected]
    assert found.scores.tolist() == [raw[4 + c, a] for a, c in expected]


@given(seed=st.integers(0, 10_000))
def test_thresholds_may_be_applied_later(seed: int) -> None:
    """Decoding at the floor and filtering equals decoding at the threshold, so a log serves any threshold."""
    raw = random_output(seed, 3, anchors=60)
    low = Decoder("anchor-free", 3, 0.5, 0.05).decode(raw, SQUARE).above([0.4] * 3)
    high = Decoder("anchor-free", 3, 0.5, 0.4).decode(raw, SQUARE)
    assert np.array_equal(low.boxes, high.boxes)
    assert np.array_equal(low.scores, high.scores)


def test_boxes_come_back_in_pixels_of_the_image() -> None:
    """A box of the square is moved by the padding, scaled and clipped to the image."""
    raw = np.array([[32, 32, 16, 8, 0.9], [0, 32, 40, 8, 0.8]], np.float32).T  # the second reaches over the left edge
    found = Decoder("anchor-free", 1).decode(raw, Geometry.of(128, 64, 64))  # half size, 16 rows of padding above
    assert found.boxes.tolist() == [[48, 24, 80, 40], [0, 24, 40, 40]]


def test_nothing_above_the_floor_is_no_detection() -> None:
    """An empty frame gives arrays of the right shape and type."""
    found = Decoder("anchor-free", 2).decode(np.zeros((6, 10), np.float32), SQUARE)
    assert (found.boxes.shape, found.scores.shape, found.classes.shape) == ((0, 4), (0,), (0,))
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)


def test_classes_do_not_suppress_each_other() -> None:
    """Two equal boxes of two classes both stay; two of one class become one."""
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    kept = suppress(boxes, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 0, 1]), 0.5, 300)
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize("overlapping", [False, True])
def test_limit_is_reached_beyond_the_first_candidates(overlapping: bool) -> None:
    """When the first candidates suppress each other, NMS goes on to the others and still returns the best."""
    count = FIRST_CANDIDATES * 3
    x = np.arange(count, dtype=np.float32) * 20
    if overlapping:
        x[: FIRST_CANDIDATES + 50] = 0
    boxes = np.stack([x, x * 0, x * 0 + 10, x * 0 + 10], axis=1)
    scores = np.linspace(1, 0.1, count, dtype=np.float32)
    kept = suppress(boxes, scores, np.zeros(count, np.int64), 0.5, 100)
    first = [0, *range(FIRST_CANDIDATES + 50, FIRST_CANDIDATES + 149)] if overlapping else list(range(100))
    assert kept.tolist() == first


def test_end_to_end_head_needs_no_suppression() -> None:
    """Rows above the floor come back as they are, best first, moved to the image."""
    raw = np.array([[16, 16, 32, 48, 0.3, 1], [16, 16, 32, 48, 0.9, 0], [0, 0, 0, 0, 0.01, 0]], np.float32)
    found = Decoder("end-to-end", 2).decode(raw, Geometry.of(128, 128, 64))
    assert isinstance(found, Detections)
    assert found.boxes.tolist() == [[32, 32, 64, 96]] * 2
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])
    assert found.classes.tolist() == [0, 1]


@pytest.mark.parametrize(("head", "shape"), [("anchor-free", (6, 10)), ("end-to-end", (300, 7)), ("end-to-end", (6,))])
def test_output_that_does_not_fit_the_record_is_refused(head: str, shape: tuple[int, ...]) -> None:
    """The number of classes and the head are checked against the file's output, not trusted."""
    decoder = Decoder(head, classes=3)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="does not belong to this file"):
        decoder.decode(np.zeros(shape, np.float32), SQUARE)
