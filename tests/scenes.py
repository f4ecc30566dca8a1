"""Random labelled frames with a detector that finds some of what is there: real arrays for tests."""

from __future__ import annotations

import numpy as np

from edgeloop.boxes import Detections
from edgeloop.matching import Matches, Truths, match

SHARES = (0.5, 0.3, 0.17, 0.03)  # of the labelled boxes by class: the last one is rare
SIDE = 192.0


def frames_of_truths(count: int, seed: int = 0, shares: tuple[float, ...] = SHARES) -> list[Truths]:
    """`count` frames with 0 to 3 boxes each."""
    rng = np.random.default_rng(seed)
    return [_truths(rng, int(rng.integers(0, 4)), shares) for _ in range(count)]


def _truths(rng: np.random.Generator, boxes: int, shares: tuple[float, ...]) -> Truths:
    corner, size = rng.uniform(0, SIDE - 40, (boxes, 2)), rng.uniform(10, 40, (boxes, 2))
    xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return Truths(xyxy, rng.choice(len(shares), boxes, p=shares).astype(np.int64))


def detect(
    truths: list[Truths], jitter: float = 3.0, found: float = 0.8, noise: int = 8, seed: int = 1
) -> list[Detections]:
    """A detector that sees a box with probability `found`, up to thrice and `jitter` pixels off, and ghosts beside it.

    What it does on a frame depends on `seed` and the frame: one with a lower `found` sees a part of the same boxes.
    """
    return [
        _seen(np.random.default_rng([seed, index]), truth, jitter, found, noise) for index, truth in enumerate(truths)
    ]


def _seen(rng: np.random.Generator, truth: Truths, jitter: float, found: float, noise: int) -> Detections:
    boxes = len(truth.classes)
    shown = (np.arange(3) < rng.integers(1, 4, (boxes, 1))) & (rng.random((boxes, 1)) < found)
    copies = (truth.boxes[:, None, :] + rng.normal(0, jitter, (boxes, 3, 4)))[shown]
    certainty = rng.beta(5, 3, (boxes, 3))[shown]
    classes = np.repeat(truth.classes, shown.sum(axis=1))
    corner = rng.uniform(0, SIDE - 40, (noise, 2))
    ghosts = np.concatenate([corner, corner + rng.uniform(10, 40, (noise, 2))], axis=1)
    corners = np.concatenate([copies, ghosts]).astype(np.float32)
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
    scores = np.concatenate([certainty, rng.beta(1.2, 6, noise)]).astype(np.float32)
    kinds = np.concatenate([classes, rng.integers(0, len(SHARES), noise)]).astype(np.int64)
    order = np.argsort(-scores, kind="stable")
    return Detections(corners, scores, kinds).select(order)


def matches(count: int = 120, truth_seed: int = 0, **detector: float) -> Matches:
    """Matches of such a detector; the same `truth_seed` gives the same frames."""
    truths = frames_of_truths(count, truth_seed)
    return match(detect(truths, **detector), truths, len(SHARES))  # type: ignore[arg-type]
