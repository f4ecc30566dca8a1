"""How often production shows each class, from what a detector says there without labels: EM on calibrated scores.

Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural Computation
2002. For detections, one class at a time, over the candidates above the device's floor:

    a candidate is right (it finds a label of its own at IoU 0.5) or wrong;
    assumed: right ones score in production as they do on the labelled frames, and so do wrong ones, and as many objects
        as here never become a candidate; only how often each kind comes differs;
    calibrated here: q(s), the chance that a candidate of score s is right (beta calibration, Kull, Silva Filho, Flach,
        AISTATS 2017; with Platt's targets, so that few examples never make a chance of 0 or 1);
    estimated there: the share p of right candidates, by EM from the share here, to the maximum of the likelihood.

With the candidates a frame has here and there this says how many right and wrong ones production has for each one here.
Thresholds are then chosen with every hit and every label counting the one, every false positive the other. What is
conditional on an object, recall and the controlled risk, does not change.

Where the assumption fails (a new kind of dirt scores higher than the old false positives) the estimate is wrong, and
nothing here can tell: an audit draw of production with labels is better than any correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeloop.bootstrap import Doubles, percentile_interval
from edgeloop.boxes import Ints
from edgeloop.edge.detector import LOG_FLOOR
from edgeloop.matching import Bools
from edgeloop.measures import ClassPrior
from edgeloop.ranking import Labelled, Ranking

MINIMUM = 5  # right and wrong labelled candidates a class needs
BINS = 1000  # of score: fine enough for any threshold, and EM costs the same on any volume
ROUNDS, STEPS, TOLERANCE = 2000, 100, 1e-7  # of EM, and of Newton's method
RIDGE = 1e-6
SMALLEST = 1e-4  # of an estimated share: EM never arrives at 0
CONFIDENCE, RESAMPLES = 0.95, 200


@dataclass(frozen=True)
class Production:
    """What an artifact says on unlabelled frames.

    Attributes:
        names: of the artifact's classes.
        frames: how many there are; without a candidate too, where the source tells.
        scores: of the candidates above the floor, one array a class.
    """

    names: tuple[str, ...]
    frames: int
    scores: tuple[Doubles, ...]

    @classmethod
    def of(cls, names: Sequence[str], frames: int, classes: npt.ArrayLike, scores: npt.ArrayLike) -> Production:
        """From the class ids (N,) and scores (N,) of all detections on so many frames."""
        ids, values = np.asarray(classes), np.asarray(scores, np.float64)
        above = values > LOG_FLOOR
        return cls(tuple(names), frames, tuple(values[above & (ids == index)] for index in range(len(names))))


@dataclass(frozen=True)
class BetaCalibration:
    """q(s) = sigmoid(a ln s - b ln(1 - s) + c), rising: a and b are never negative."""

    a: float
    b: float
    c: float

    @classmethod
    def fit(cls, scores: npt.ArrayLike, right: Bools, weights: npt.ArrayLike) -> BetaCalibration:
        """The maximum of the likelihood with Platt's targets, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2).

        What would fall is left out and fitted again, as its authors do.
        """
        counted = np.asarray(weights, np.float64)
        positive, negative = counted[right].sum(), counted[~right].sum()
        target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
        kept, design = [0, 1, 2], _design(scores)
        while True:
            at = np.zeros(3)
            at[kept] = _logistic(design[:, kept], target, counted)
            falling = [column for column in kept if column < 2 and at[column] < 0]
            if not falling:
                return cls(*map(float, at))
            kept.remove(min(falling, key=lambda column: at[column]))

    def __call__(self, scores: npt.ArrayLike) -> Doubles:
        return _sigmoid(_design(scores) @ np.array([self.a, self.b, self.c]))


def _design(scores: npt.ArrayLike) -> Doubles:
    inside = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.stack([np.log(inside), -np.log1p(-inside), np.ones(len(inside))], axis=1)


def _logistic(design: Doubles, target: Doubles, weights: Doubles) -> Doubles:
    """The coefficients of the most likely logistic regression, by Newton's method; the ridge only keeps it solvable."""
    at = np.zeros(design.shape[1])
    for _ in range(STEPS):
        said = _sigmoid(design @ at)
        slope = design.T @ (weights * (said - target)) + RIDGE * at
        curve = (design.T * (weights * said * (1 - said))) @ design + RIDGE * np.eye(len(at))
        step = np.linalg.solve(curve, slope)
        step *= min(1.0, 4 / max(float(np.abs(step).max()), RIDGE))  # far from the optimum a full step overshoots
        at = at - step
        if np.abs(step).max() < TOLERANCE:
            break
    return at


def _sigmoid(values: Doubles) -> Doubles:
    result: Doubles = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return result


def shifted_share(chances: Doubles, counts: npt.ArrayLike, share: float) -> float:
    """The share of right ones in production (Saerens et al., equations 2.9).

    Args:
        chances: (K,) of being right, calibrated where `share` of them are.
        counts: (K,) how many production candidates have each chance.
        share: of right ones on the labelled frames, 0..1 exclusive.
    """
    weights = np.asarray(counts, np.float64) / np.sum(counts)
    now = share
    for _ in range(ROUNDS):
        right, wrong = now / share * chances, (1 - now) / (1 - share) * (1 - chances)
        before, now = now, float(np.clip(weights @ (right / (right + wrong)), SMALLEST, 1 - SMALLEST))
        if abs(now - before) < TOLERANCE:
            break
    return now


@dataclass(frozen=True)
class PriorShift:
    """What labelled detections stand for in production.

    Attributes:
        right: (C,) of detections that found a truth, and of the truths themselves.
        wrong: (C,) of the others.
        classes: the estimates of the artifact's classes; one that could not be made leaves both at 1.
    """

    right: Doubles
    wrong: Doubles
    classes: tuple[ClassPrior, ...]


def estimate_shift(labelled: Labelled, production: Production, resamples: int = RESAMPLES) -> PriorShift:
    """What has changed from labelled frames to unlabelled production frames, for each class.

    A class that cannot be estimated keeps what it has here, and says why.

    Args:
        labelled: its frame weights count as they are, an earlier shift does not.
        production: what the same artifact says; its classes come first in the matches of `labelled`.
        resamples: of groups of labelled frames and of production candidates, for the intervals.
    """
    plain = replace(labelled, shift=None)
    found = [_class_prior(plain, index, production, resamples) for index in range(len(production.names))]
    beyond = np.ones(labelled.matches.class_count - len(found))
    right, wrong = (np.array([getattr(one, key) for one in found]) for key in ("right_ratio", "wrong_ratio"))
    return PriorShift(np.concatenate([right, beyond]), np.concatenate([wrong, beyond]), tuple(found))


def _class_prior(labelled: Labelled, index: int, production: Production, resamples: int) -> ClassPrior:
    ranking, scores = labelled.ranking([index]), production.scores[index]
    right = int(ranking.hits.sum())
    wrong = len(ranking.hits) - right
    about = {"name": production.names[index], "right": right, "wrong": wrong, "candidates": len(scores)}
    if min(right, wrong, len(scores)) < MINIMUM:
        reason = f"not estimated: fewer than {MINIMUM} right, wrong or production candidates"
        return ClassPrior.model_validate({**about, "note": reason})
    counts = np.bincount(np.minimum((scores * BINS).astype(np.int64), BINS - 1), minlength=BINS)
    share, there = _shares(ranking, counts)
    random = np.random.default_rng(0)
    again = [
        _shares(drawn, random.multinomial(len(scores), counts / len(scores)))[1]
        for drawn in map(ranking.drawn, labelled.draws(resamples))
        if _has_both(drawn)
    ]
    here = float(ranking.counted.sum()) / labelled.matches.frame_count  # candidates a frame; weights have mean 1
    more = len(scores) / production.frames / here
    return ClassPrior.model_validate(
        {
            **about,
            "labelled": share,
            "production": percentile_interval(np.array([there, *again]), CONFIDENCE),
            "right_ratio": more * there / share,
            "wrong_ratio": more * (1 - there) / (1 - share),
        }
    )


def _shares(ranking: Ranking, counts: Ints) -> tuple[float, float]:
    """The share of right candidates here, as the calibration has it, and in production."""
    weights = ranking.counted
    calibrated = BetaCalibration.fit(ranking.scores, ranking.hits, weights)
    share = float(np.average(calibrated(ranking.scores), weights=weights))
    kept = counts > 0
    centres = (np.flatnonzero(kept) + 0.5) / BINS
    return share, shifted_share(calibrated(centres), counts[kept], share)


def _has_both(ranking: Ranking) -> bool:
    drawn = ranking.counted > 0
    return bool(ranking.hits[drawn].any() and not ranking.hits[drawn].all())
