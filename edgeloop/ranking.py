"""The detections of one class, or of all, in the order a threshold shows them, with what each stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.bootstrap import Doubles, Weights, frame_weights
from edgeloop.boxes import Ints
from edgeloop.edge.detector import LOG_FLOOR
from edgeloop.matching import Bools, Matches

if TYPE_CHECKING:
    from edgeloop.prior_shift import PriorShift

FLOOR = LOG_FLOOR  # a device never sees what lies below: a threshold there would promise what it cannot show


@dataclass(frozen=True)
class Labelled:
    """Labelled frames that an artifact has seen.

    Attributes:
        matches: what it found on them; the artifact's classes come first.
        groups: (F,) what is drawn together when frames are resampled, and what a unit of a guarantee is.
        digests: of the frames and their labels.
        weights: (F,) what each frame stands for in production, up to a common factor; empty: all the same.
        shift: what has changed in production since; None: nothing.
    """

    matches: Matches
    groups: Sequence[str]
    digests: Sequence[str] = ()
    weights: Sequence[float] = ()
    shift: PriorShift | None = None

    @cached_property
    def frame_weights(self) -> Doubles:
        """(F,) what each frame counts, with mean 1, so that sums of weights can be read as numbers of examples."""
        raw = np.asarray(self.weights, np.float64) if len(self.weights) else np.ones(self.matches.frame_count)
        weights: Doubles = raw / raw.mean() if len(raw) else raw
        return weights

    @cached_property
    def units(self) -> Ints:
        """(F,) the group of each frame, numbered from 0."""
        numbers = np.unique(np.asarray(self.groups, np.str_), return_inverse=True)[1]
        return numbers.reshape(-1).astype(np.int64)

    def draws(self, resamples: int) -> Ints:
        """(resamples, F): how often each frame is drawn, whole groups together; no rows where there are no frames."""
        count = self.matches.frame_count
        if not count or not resamples:
            return np.ones((0, count), np.int64)
        return frame_weights(count, resamples, seed=0, groups=self.groups)

    def ratios(self, class_count: int) -> tuple[Doubles, Doubles]:
        """(C,) each: what a right and a wrong detection of each class stands for in production."""
        if self.shift is None:
            return np.ones(class_count), np.ones(class_count)
        return self.shift.right[:class_count], self.shift.wrong[:class_count]

    def ranking(self, classes: Sequence[int]) -> Ranking:
        """The detections of these classes together, in the order a threshold shows them."""
        kept = self.matches.scores > np.float32(FLOOR)
        kept &= np.isin(self.matches.classes, classes)
        seen, labels = self.matches.select(kept), self.matches.truths[:, list(classes)]
        right, wrong = self.ratios(self.matches.class_count)
        hits = seen.hits[:, 0]
        return Ranking(
            scores=seen.scores.astype(np.float64),
            hits=hits,
            frames=seen.frames,
            ratios=np.where(hits, right[seen.classes], wrong[seen.classes]),
            labels=labels.sum(axis=1),
            expected=labels @ right[list(classes)],
            weights=self.frame_weights,
            units=self.units,
            draws=np.ones(self.matches.frame_count, np.int64),
        )


@dataclass(frozen=True)
class Ranking:
    """N detections on F frames, highest score first.

    Attributes:
        scores: (N,) float64, falling, all above `FLOOR`.
        hits: (N,) whether each found a truth at IoU 0.5.
        frames: (N,) the frame of each.
        ratios: (N,) how many such detections production has for each one here.
        labels: (F,) labelled boxes; expected: (F,) the same at production prevalence.
        weights: (F,) how many production frames each stands for, with mean 1.
        units: (F,) the group of each frame, numbered from 0.
        draws: (F,) how often each frame was drawn, for a resample.
    """

    scores: Doubles
    hits: Bools
    frames: Ints
    ratios: Doubles
    labels: Ints
    expected: Doubles
    weights: Doubles
    units: Ints
    draws: Weights

    def drawn(self, draws: Weights) -> Ranking:
        """The same in a resample of the frames: detections of frames that are not drawn are no edges either."""
        kept = draws[self.frames] > 0
        columns = {name: getattr(self, name)[kept] for name in ("scores", "hits", "frames", "ratios")}
        return replace(self, draws=draws, **columns)

    @cached_property
    def counted(self) -> Doubles:
        """What each detection counts, (N,)."""
        counted: Doubles = (self.weights * self.draws)[self.frames] * self.ratios
        return counted

    @cached_property
    def truths(self) -> float:
        """Labelled boxes at production prevalence."""
        return float((self.weights * self.draws) @ self.expected)

    @cached_property
    def found(self) -> Doubles:
        """Truths found when the first 0, 1, …, N detections are shown, (N + 1,)."""
        return _sums(self.hits * self.counted)

    @cached_property
    def shown(self) -> Doubles:
        """What is shown then, (N + 1,)."""
        return _sums(self.counted)

    @cached_property
    def cuts(self) -> Ints:
        """How many detections each threshold that makes a difference shows, rising: only between different scores."""
        cuts: Ints = np.concatenate([[0], np.flatnonzero(np.diff(self.scores)) + 1, [len(self.scores)]])
        return cuts.astype(np.int64)

    @property
    def effective_labels(self) -> float:
        """As many equally weighted labelled boxes say as much (Kish)."""
        weighed = self.draws @ (self.weights * self.labels)
        squares = self.draws @ (self.weights**2 * self.labels)
        return float(weighed**2 / squares) if squares else 0.0

    @property
    def example(self) -> float:
        """What one example counts: the mean over the hits, as if none was drawn twice."""
        counted = (self.weights[self.frames] * self.ratios)[self.hits]
        return float(counted.mean()) if len(counted) else 1.0

    def between(self, first: int, last: int | None = None) -> float:
        """The middle between the highest threshold that makes the first cut and the lowest that makes the last.

        Cut k shows the first k detections: its threshold lies between edge k and edge k + 1, the scores with 1 before
        them and the floor after. `first`, `last`: indices into `cuts`.
        """
        edges = np.concatenate([[1.0], self.scores, [FLOOR]])
        upper, lower = self.cuts[first], self.cuts[first if last is None else last]
        return float((edges[upper] + edges[lower + 1]) / 2)


def _sums(values: Doubles) -> Doubles:
    return np.concatenate([[0.0], np.cumsum(values)])
