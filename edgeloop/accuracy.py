"""What detections are worth against labels: average precision, rates and calibration, by class, camera and size.

Average precision of the whole set comes from faster-coco-eval where every frame weighs the same. Intervals, parts of
the set and weighted numbers come from matches that were made once (edgeloop.bootstrap); tests hold both to the same
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import (
    Doubles,
    Weights,
    average_precision,
    frame_weights,
    known_interval,
    mean_of_judged,
    with_plain,
)
from edgeloop.boxes import Detections
from edgeloop.calibration_error import calibration, class_errors, relative_boxes
from edgeloop.card import EvaluationCard
from edgeloop.coco import coco_average_precision
from edgeloop.errors import BadInput
from edgeloop.matching import IOU_LIMITS, Matches, Truths, match, rank
from edgeloop.measures import ClassScore, EvaluationReport, Interval, Part
from edgeloop.predictions import renumber
from edgeloop.rates import Totals, totals
from edgeloop.sizes import match_by_size

SEED = 0
EVERY_LIMIT = range(len(IOU_LIMITS))


@dataclass(frozen=True)
class Run:
    """Where the detections are kept, and what made them."""

    predictions: Path
    runtime: str


def scored_names(artifact: Artifact, audit: AuditFrames) -> tuple[str, ...]:
    """The classes that are scored: those of the audit set, then those that only the artifact knows.

    Raises:
        BadInput: the two have no class in common.
    """
    if not set(artifact.names) & set(audit.names):
        raise BadInput(
            f"expected an artifact that knows a class of the audit set {audit.name} ({', '.join(audit.names)}); "
            f"came one for {', '.join(artifact.names)}."
        )
    return (*audit.names, *(name for name in artifact.names if name not in audit.names))


def score(
    artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections], run: Run, card: EvaluationCard
) -> EvaluationReport:
    """Judge detections (class ids of the artifact) by the labels; rates are at the artifact's thresholds and IoU 0.5.

    A class without a label has no average precision, and mAP is over the classes that have one.

    Raises:
        BadInput: no class in common, or the card names a critical class that nobody knows.
    """
    marked = Marked.of(artifact, audit, detections, card)
    critical = critical_ids(card, marked.names, audit)
    measured = marked.measured | {"critical_miss_rate": 1 - marked.totals.recall(critical)}
    effective = float(sum(audit.weights) ** 2 / sum(one**2 for one in audit.weights)) if audit.weights else None
    return EvaluationReport(
        artifact_id=artifact.id,
        precision=artifact.precision,
        audit=audit.name,
        audit_digest=audit.digest,
        runtime=run.runtime,
        predictions=run.predictions,
        frames=len(audit.frames),
        map50=marked.value_of("map50"),
        map50_95=marked.value_of("map50_95"),
        classes=_classes(marked),
        false_positives_per_1000_frames=float(marked.totals.false_per_1000()[0]),
        missed_per_1000_frames=float(marked.totals.missed_per_1000()[0]),
        intervals=marked.intervals(measured),
        cameras=_cameras(marked),
        sizes=_sizes(marked),
        critical=card.critical,
        critical_miss_rate=_number(measured["critical_miss_rate"][0]),
        calibration=calibration(marked.matches, marked.boxes, marked.weights, card.confidence),
        effective_frames=effective,
        resamples=card.resamples,
    )


@dataclass(frozen=True)
class Marked:
    """Detections and labels of a set over one list of classes, matched, with the weights of its frames.

    Attributes:
        names: the classes; thresholds: of each, 1 for one that the artifact lacks, which is never shown.
        weights: (1 + B, F): what each frame weighs, then the same in each resample.
    """

    audit: AuditFrames
    card: EvaluationCard
    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    seen: list[Detections]
    truths: list[Truths]
    weights: Weights

    @classmethod
    def of(
        cls, artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections], card: EvaluationCard
    ) -> Marked:
        """The detections carry class ids of the artifact."""
        names = scored_names(artifact, audit)
        seen = renumber(detections, artifact.names, names)
        weights = resampled(audit, card)
        return cls(audit, card, names, artifact.thresholds_of(names), seen, audit.truths(names), weights)

    @cached_property
    def matches(self) -> Matches:
        return match(self.seen, self.truths, len(self.names))

    @cached_property
    def boxes(self) -> np.ndarray:
        sizes = [(frame.frame.width, frame.frame.height) for frame in self.audit.frames]
        return relative_boxes(rank(self.seen).detections.boxes, self.matches.frames, sizes)

    @cached_property
    def precisions(self) -> Doubles:
        """Average precision (1 + B, C, 10)."""
        found = average_precision(self.matches, self.weights, EVERY_LIMIT)
        if not self.audit.weights:
            found[0] = coco_average_precision(self.seen, self.truths, len(self.names))
        return found

    @cached_property
    def totals(self) -> Totals:
        return totals(self.matches, self.thresholds, self.weights)

    @cached_property
    def measured(self) -> dict[str, Doubles]:
        """What is stated of the whole set, each (1 + B,)."""
        return {
            "map50": mean_of_judged(self.precisions[:, :, 0]),
            "map50_95": mean_of_judged(self.precisions.mean(axis=2)),
            "false_positives_per_1000_frames": self.totals.false_per_1000(),
            "missed_per_1000_frames": self.totals.missed_per_1000(),
        }

    def value_of(self, name: str) -> float:
        return float(self.measured[name][0])

    def intervals(self, measured: dict[str, Doubles]) -> dict[str, Interval]:
        """Those that there is anything to say about; none without resamples."""
        if not self.card.resamples:
            return {}
        found = {name: known_interval(values, self.card.confidence) for name, values in measured.items()}
        return {name: interval for name, interval in found.items() if interval is not None}


def resampled(audit: AuditFrames, card: EvaluationCard) -> Weights:
    """The weights of the frames (1 + B, F): as they are, then in each resample of whole groups."""
    count, none = len(audit.frames), np.zeros((0, len(audit.frames)), np.int64)
    draws = frame_weights(count, card.resamples, SEED, audit.groups) if card.resamples else none
    return with_plain(draws, audit.weights)


def critical_ids(card: EvaluationCard, names: Sequence[str], audit: AuditFrames) -> list[int]:
    """The ids, in `names`, of the classes that the card calls critical.

    Raises:
        BadInput: nobody knows one of them.
    """
    unknown = [name for name in card.critical if name not in names]
    if unknown:
        raise BadInput(
            f"expected critical classes out of {', '.join(names)}; came {', '.join(unknown)}, which neither the "
            f"artifact nor {audit.name} knows. Correct the names (`evaluation: critical:` in a card)."
        )
    return [list(names).index(name) for name in card.critical]


def _classes(marked: Marked) -> tuple[ClassScore, ...]:
    errors = class_errors(marked.matches, marked.weights)
    return tuple(_class_score(marked, index, errors[index]) for index in range(len(marked.names)))


def _class_score(marked: Marked, index: int, error: float | None) -> ClassScore:
    found = marked.totals
    measured = {
        "ap50": marked.precisions[:, index, 0],
        "ap50_95": marked.precisions[:, index].mean(axis=1),
        "precision": found.precision([index]),
        "recall": found.recall([index]),
        "false_positives_per_1000_frames": found.false_per_1000([index]),
    }
    return ClassScore(
        name=marked.names[index],
        truths=int(marked.matches.truths[:, index].sum()),
        threshold=min(marked.thresholds[index], 1.0),
        calibration_error=error,
        intervals=marked.intervals(measured),
        **{name: _number(values[0]) for name, values in measured.items()},
    )


def _cameras(marked: Marked) -> tuple[Part, ...]:
    """A part for each camera, where there are several."""
    cameras = np.array([frame.frame.camera for frame in marked.audit.frames], np.str_)
    names = np.unique(cameras).tolist()
    if len(names) < 2:
        return ()
    places = {name: np.flatnonzero(cameras == name) for name in names}
    return tuple(
        _part(marked, marked.matches.on(place), marked.weights[:, place], kind="camera", name=name)
        for name, place in places.items()
    )


def _sizes(marked: Marked) -> tuple[Part, ...]:
    areas = [frame.frame.width * frame.frame.height for frame in marked.audit.frames]
    by_size = match_by_size(marked.seen, marked.truths, areas, len(marked.names))
    return tuple(
        _part(marked, matches, marked.weights, kind=one.scale, name=one.name) for one, matches in by_size.items()
    )


def _part(marked: Marked, matches: Matches, weights: Weights, **about: str) -> Part:
    measured = measure(matches, marked.thresholds, weights)
    stated = {name: known_interval(values, marked.card.confidence) for name, values in measured.items()}
    counts = {"frames": matches.frame_count, "truths": int(matches.truths.sum())}
    return Part.model_validate({**about, **counts, **stated})


def measure(matches: Matches, thresholds: Sequence[float], weights: Weights) -> dict[str, Doubles]:
    """What is stated of a part of a set or of a condition, each (B,), by name of the field."""
    precisions = average_precision(matches, weights, EVERY_LIMIT)
    found = totals(matches, thresholds, weights)
    return {
        "map50": mean_of_judged(precisions[:, :, 0]),
        "map50_95": mean_of_judged(precisions.mean(axis=2)),
        "recall": found.recall(),
        "false_positives_per_1000_frames": found.false_per_1000(),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
