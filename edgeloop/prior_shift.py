"""When objects became rarer or more frequent since the labels: what a labelled detection stands for in production.

Assumed, and stated wherever it is used: a right detection has the scores that right detections had on the labelled
frames, and a wrong one those of wrong ones; only how many there are of each has changed (label shift). It does not hold
when the camera, the light or the parts look different; then label new frames.

Saerens, Latinne and Decaestecker 2002: with calibrated scores the share of right detections in production follows from
unlabelled detections by expectation and maximisation. Scores are calibrated by Platt's logistic fit, scale and bias,
with which this estimate is as good as any (Alexandari, Kundaje and Shrikumar 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Detections
from edgeloop.edge.detector import LOG_FLOOR
from edgeloop.matching import Bools, Matches

MINIMUM_EXAMPLES = 10  # right and wrong detections of a class each, below which nothing is estimated of it
STEPS, TOLERANCE = 1000, 1e-7
CERTAIN = 1e-6  # scores are kept this far from 0 and 1


@dataclass(frozen=True)
class PriorShift:
    """How many production detections a labelled detection of each class stands for, a frame.

    Attributes:
        right: (C,) of detections that found a truth, and of the truths themselves.
        wrong: (C,) of the others.
        estimated: (C,) whether there was enough to estimate it by; 1 and 1 where not.
    """

    right: Doubles
    wrong: Doubles
    estimated: Bools


def estimate_shift(matches: Matches, production: Sequence[Detections], weights: npt.ArrayLike = 1.0) -> PriorShift:
    """What has changed from labelled frames to unlabelled production frames, for each class.

    Args:
        matches: of F labelled frames.
        production: what the same artifact sees on each production frame; class ids as in `matches`.
        weights: (F,) what each labelled frame stands for.
    """
    frames = np.broadcast_to(np.asarray(weights, np.float64), (matches.frame_count,))
    right, wrong = np.ones(matches.class_count), np.ones(matches.class_count)
    estimated = np.zeros(matches.class_count, np.bool_)
    classes = np.concatenate([seen.classes for seen in production] or [np.zeros(0, np.int64)])
    scores = np.concatenate([seen.scores for seen in production] or [np.zeros(0, np.float32)])
    for class_id in range(matches.class_count):
        labelled = matches.of_class(class_id).select((matches.scores >= LOG_FLOOR)[matches.classes == class_id])
        hits, counted = labelled.hits[:, 0], frames[labelled.frames]
        now = scores[(classes == class_id) & (scores >= LOG_FLOOR)].astype(np.float64)
        if min(hits.sum(), (~hits).sum(), len(now)) < MINIMUM_EXAMPLES:
            continue
        before = float(counted[hits].sum() / counted.sum())
        posterior = fit_platt(labelled.scores, hits, counted)(now)
        share = shifted_share(before, posterior)
        rate = (len(now) / len(production)) / (counted.sum() / frames.sum())  # detections a frame, against before
        right[class_id], wrong[class_id] = rate * share / before, rate * (1 - share) / (1 - before)
        estimated[class_id] = True
    return PriorShift(right, wrong, estimated)


@dataclass(frozen=True)
class Platt:
    """P(right | score) = sigmoid(scale * logit(score) + bias)."""

    scale: float
    bias: float

    def __call__(self, scores: npt.ArrayLike) -> Doubles:
        """Calibrated scores, (N,) in 0..1."""
        return _sigmoid(self.scale * _logit(scores) + self.bias)


def fit_platt(scores: npt.ArrayLike, hits: Bools, weights: npt.ArrayLike = 1.0) -> Platt:
    """Platt 1999 on the logits of scores, by Newton's method; his targets keep separable data from a step function.

    Args:
        scores: (N,) in 0..1.
        hits: (N,) whether each was right; both kinds occur.
        weights: (N,) how often each counts.
    """
    x, counted = _logit(scores), np.broadcast_to(np.asarray(weights, np.float64), hits.shape)
    positive, negative = counted[hits].sum(), counted[~hits].sum()
    target = np.where(hits, (positive + 1) / (positive + 2), 1 / (negative + 2))
    inputs = np.stack([x, np.ones(len(x))])
    at = np.array([1.0, 0.0])
    for _ in range(STEPS):
        said = _sigmoid(at @ inputs)
        slope = inputs @ (counted * (said - target))
        curve = (inputs * (counted * said * (1 - said))) @ inputs.T + CERTAIN * np.eye(2)
        step = np.linalg.solve(curve, slope)
        step *= min(1.0, 4 / max(float(np.abs(step).max()), CERTAIN))  # far from the optimum a full step overshoots
        at = at - step
        if np.abs(step).max() < TOLERANCE:
            break
    return Platt(float(at[0]), float(at[1]))


def shifted_share(before: float, posteriors: Doubles) -> float:
    """The share of right detections among unlabelled ones whose posteriors were calibrated where it was `before`."""
    share = before
    for _ in range(STEPS):
        right, wrong = share / before * posteriors, (1 - share) / (1 - before) * (1 - posteriors)
        now = float((right / (right + wrong)).mean())
        if abs(now - share) < TOLERANCE:
            return now
        share = now
    return share


def _logit(scores: npt.ArrayLike) -> Doubles:
    kept = np.clip(np.asarray(scores, np.float64), CERTAIN, 1 - CERTAIN)
    odds: Doubles = np.log(kept / (1 - kept))
    return odds


def _sigmoid(values: Doubles) -> Doubles:
    squashed: Doubles = 0.5 * (1 + np.tanh(values / 2))
    return np.clip(squashed, CERTAIN, 1 - CERTAIN)
