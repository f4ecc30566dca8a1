"""Rankings of detections from plain arrays, and matches whose scores are drawn from known distributions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from edgeloop.matching import IOU_LIMITS, Matches
from edgeloop.ranking import Ranking


def ranking(scores: np.ndarray, hits: np.ndarray, truths: int, frames: np.ndarray | None = None) -> Ranking:
    """One class; all on one frame unless said otherwise, each of whose frames has equally many truths."""
    on = np.zeros(len(scores), np.int64) if frames is None else frames
    count = int(on.max(initial=0)) + 1
    labels = np.full(count, truths)
    ones = np.ones(count)
    return Ranking(
        scores=np.asarray(scores, np.float64), hits=np.asarray(hits, bool), frames=on, ratios=np.ones(len(scores)),
        labels=labels, expected=labels.astype(np.float64), weights=ones, units=np.arange(count),
        draws=np.ones(count, np.int64),
    )  # fmt: skip


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores (falling, with ties, above the device's floor), hits and a count of truths that allows them."""
    hits = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=40)))
    hits[draw(st.integers(0, len(hits) - 1))] = True
    scores = np.sort(np.array(draw(st.lists(st.integers(4, 50), min_size=len(hits), max_size=len(hits)))))[::-1] / 50
    return scores, hits, int(hits.sum()) + draw(st.integers(0, 10))


def drawn_matches(frames: int, right: float, wrong: float, seed: int, missed: float = 0.0, classes: int = 1) -> Matches:
    """Frames with Poisson many right candidates, wrong ones and truths that no candidate finds, of each class alike.

    Right scores are Beta(5, 2), wrong ones Beta(1.5, 5): neither is ever certain.
    """
    rng = np.random.default_rng(seed)
    parts = []
    truths = np.zeros((frames, classes), np.int64)
    for class_id in range(classes):
        counts = [rng.poisson(rate, frames) for rate in (right, wrong, missed)]
        truths[:, class_id] = counts[0] + counts[2]
        for count, hit, shape in ((counts[0], True, (5, 2)), (counts[1], False, (1.5, 5))):
            on = np.repeat(np.arange(frames), count)
            scores = rng.beta(*shape, len(on))
            parts.append((on, np.full(len(on), class_id), scores, np.full(len(on), hit)))
    on, ids, scores, hits = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(-scores)
    return Matches(
        frames=on[order], classes=ids[order], scores=scores[order].astype(np.float32),
        hits=np.repeat(hits[order, None], len(IOU_LIMITS), axis=1), truths=truths,
    )  # fmt: skip
