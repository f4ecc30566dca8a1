"""Per-class confidence thresholds: F-beta on audit frames, never resting on a single example, rare classes shrunk.

Audit frames are drawn at production prevalence, so false positives weigh what they weigh in production. A class with
few labels has a threshold that is mostly chance: it is drawn toward the one threshold that is best for all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.bootstrap import Doubles, frame_weights
from edgeloop.boxes import Ints
from edgeloop.card import ThresholdCard
from edgeloop.matching import Bools, Matches, count_at
from edgeloop.measures import ClassThreshold, OperatingPoint, ThresholdReport

COMPARED = (0.25, 0.5)  # global thresholds that people use: Ultralytics' default and a round one
RESAMPLES = 200
CONFIDENCE = 95.0  # per cent, of the bootstrap interval


def f_beta_curve(hits: Bools, truths: float, beta: float, weights: npt.ArrayLike = 1.0) -> Doubles:
    """F-beta when the first 0, 1, …, N detections are shown: (N + 1,) in 0..1.

    Args:
        hits: (N,) whether each detection, highest score first, found a truth.
        truths: labelled boxes (weighted like the detections).
        beta: recall weighs beta times as much as precision (van Rijsbergen).
        weights: how often each detection counts.
    """
    counted = np.broadcast_to(np.asarray(weights, np.float64), hits.shape)
    found = np.concatenate([[0.0], np.cumsum(hits * counted)])
    shown = np.concatenate([[0.0], np.cumsum(counted)])
    below = beta**2 * truths + shown
    return np.divide((1 + beta**2) * found, below, out=np.zeros(len(found)), where=below > 0)


def best_threshold(
    scores: npt.ArrayLike, hits: Bools, truths: float, beta: float, weights: npt.ArrayLike = 1.0
) -> float | None:
    """The middle of the plateau around the highest F-beta; None where nothing was found.

    The plateau is every neighbouring cut whose F-beta lies within the effect of one more or one less example, so the
    threshold never sits at the edge of a single one. It costs at most that effect against the highest F-beta.

    Args:
        scores: (N,) falling, in 0..1.
        hits, truths, beta, weights: as in `f_beta_curve`.
    """
    falling = np.asarray(scores, np.float64)
    # Only cuts between different scores can be made by a threshold. Cut k shows the first k detections: it lies between
    # edge k and edge k + 1, the scores with 1 before them and 0 after.
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(falling)) + 1, [len(falling)]])
    edges = np.concatenate([[1.0], falling, [0.0]])
    curve = f_beta_curve(hits, truths, beta, weights)[cuts]
    peak = int(np.argmax(curve))
    if curve[peak] == 0:
        return None
    shown = np.broadcast_to(np.asarray(weights, np.float64), hits.shape)[: cuts[peak]].sum()
    effect = (1 + beta**2) / (beta**2 * truths + shown)
    worse = np.flatnonzero(curve < curve[peak] - effect)
    first = max(int(worse[worse < peak].max(initial=-1)) + 1, 1)  # a cut that shows nothing is no operating point
    last = int(worse[worse > peak].min(initial=len(curve))) - 1
    return float((edges[cuts[first]] + edges[cuts[last] + 1]) / 2)


def shrink(own: float, everyone: float, truths: float, card: ThresholdCard) -> float:
    """A class's threshold drawn toward the global one, which weighs as much as `card.shrink` labelled boxes."""
    if truths < card.minimum_truths:
        return everyone
    return (truths * own + card.shrink * everyone) / (truths + card.shrink)


@dataclass(frozen=True)
class Tuned:
    """Thresholds (C,), each class's own optimum (C,) with NaN where it has none, and the global optimum."""

    thresholds: Doubles
    own: Doubles
    everyone: float


def tune(matches: Matches, card: ThresholdCard, weights: Ints | None = None) -> Tuned | None:
    """Thresholds of all classes on matched detections; None where no detection found anything.

    Args:
        matches: on the tuning half.
        card: what to maximise, and how hard to shrink.
        weights: (F,) how often each frame counts; once when not given.
    """
    frames = np.ones(matches.frame_count, np.int64) if weights is None else weights
    truths = frames @ matches.truths
    everyone = _optimum(matches, frames, int(truths.sum()), card)
    if everyone is None:
        return None
    own = [_optimum(matches.of_class(class_id), frames, int(count), card) for class_id, count in enumerate(truths)]
    final = [
        everyone if best is None else shrink(best, everyone, int(count), card)
        for best, count in zip(own, truths, strict=True)
    ]
    return Tuned(np.array(final), np.array([np.nan if best is None else best for best in own]), everyone)


def _optimum(matches: Matches, frames: Ints, truths: int, card: ThresholdCard) -> float | None:
    return best_threshold(matches.scores, matches.hits[:, 0], truths, card.beta, frames[matches.frames])


def report_thresholds(
    artifact: Artifact, matches: Matches, groups: Sequence[str], digests: Sequence[str], card: ThresholdCard
) -> ThresholdReport:
    """Tune and state what the thresholds rest on. Without anything to tune on they are the default, with a warning.

    Args:
        artifact: whose detections were matched; its classes come first in `matches`.
        matches: on the tuning halves, pooled.
        groups: (F,) what is drawn together when frames are resampled for the intervals.
        digests: of the tuning halves.
        card: what to maximise.
    """
    tuned = tune(matches, card)
    if tuned is None:
        return _fall_back(artifact, matches, digests, card)
    draws = frame_weights(matches.frame_count, RESAMPLES, seed=0, groups=groups)
    again = [drawn.thresholds for weights in draws if (drawn := tune(matches, card, weights)) is not None]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(again or [tuned.thresholds], [tail, 100 - tail], axis=0)
    counts = matches.truths.sum(axis=0)
    classes = [
        ClassThreshold(
            name=name,
            threshold=float(tuned.thresholds[index]),
            own=None if np.isnan(tuned.own[index]) else float(tuned.own[index]),
            low=float(low[index]),
            high=float(high[index]),
            truths=int(counts[index]),
            basis=_basis(float(tuned.own[index]), int(counts[index]), card),
        )
        for index, name in enumerate(artifact.names)
    ]
    return _report(artifact, matches, digests, card, classes).model_copy(update={"global_threshold": tuned.everyone})


def _basis(own: float, truths: int, card: ThresholdCard) -> Literal["own", "shrunk", "global"]:
    if np.isnan(own) or truths < card.minimum_truths:
        return "global"
    return "shrunk" if card.shrink else "own"


def _fall_back(artifact: Artifact, matches: Matches, digests: Sequence[str], card: ThresholdCard) -> ThresholdReport:
    """The default for every class, and a warning that says why."""
    counts = matches.truths.sum(axis=0)
    default = DEFAULT_THRESHOLD
    classes = [
        ClassThreshold(
            name=name, threshold=default, own=None, low=0.0, high=1.0, truths=int(counts[index]), basis="default"
        )
        for index, name in enumerate(artifact.names)
    ]
    why = f"{matches.frame_count} tuning frames with {counts.sum()} labelled boxes, none of which the artifact found"
    warning = f"Thresholds were not tuned: {why}. Every class has the default {default}. Label more audit frames."
    return _report(artifact, matches, digests, card, classes).model_copy(update={"warning": warning})


def _report(
    artifact: Artifact,
    matches: Matches,
    digests: Sequence[str],
    card: ThresholdCard,
    classes: Sequence[ClassThreshold],
) -> ThresholdReport:
    thresholds = tuple(item.threshold for item in classes)
    compared = {"tuned": thresholds} | {f"global {value}": (value,) * len(thresholds) for value in COMPARED}
    return ThresholdReport(
        tuned=artifact.model_copy(update={"thresholds": thresholds}),
        audit_digests=tuple(digests),
        frames=matches.frame_count,
        truths=int(matches.truths.sum()),
        beta=card.beta,
        global_threshold=DEFAULT_THRESHOLD,
        classes=tuple(classes),
        comparison=tuple(operating_point(name, matches, values, card.beta) for name, values in compared.items()),
    )


def operating_point(name: str, matches: Matches, thresholds: Sequence[float], beta: float) -> OperatingPoint:
    """What thresholds give over all classes; classes beyond the given thresholds are never shown."""
    limits = [*thresholds, *[1.1] * (matches.class_count - len(thresholds))]
    counts = count_at(matches, limits)
    found, false, missed = (int(part.sum()) for part in (counts.found, counts.false, counts.missed))
    weighted = (1 + beta**2) * found + beta**2 * missed + false
    per_frame = 1000 / matches.frame_count if matches.frame_count else 0.0
    return OperatingPoint(
        name=name,
        precision=found / (found + false) if found + false else None,
        recall=found / (found + missed) if found + missed else None,
        f_beta=(1 + beta**2) * found / weighted if weighted else None,
        false_positives_per_1000_frames=false * per_frame,
        missed_per_1000_frames=missed * per_frame,
    )
