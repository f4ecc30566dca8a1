"""How much of its accuracy an artifact keeps when a line makes its pictures worse: mPC and rPC, with intervals.

mPC is the mean performance under corruption: mAP50-95 over all corruptions and severities; rPC is its share of the
performance on clean frames (Michaelis et al., 2019). All conditions are scored on the same frames and the same
resamples, so the interval of a share is that of a paired comparison.

It costs as many passes over the frames as there are conditions, 50 for the whole suite. Frames stream: one picture and
the detections of one condition are in memory. What a condition gave is kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeloop.accuracy import measure, resampled, scored_names
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import Doubles, Weights, known_interval
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile, EvaluationCard, RobustnessSettings
from edgeloop.corruptions import SUITE, Corruption, Source, corrupt, move_labels
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import Runtime
from edgeloop.evaluation import FLOOR, match_audit, open_for, read_image, require_truths
from edgeloop.measures import Condition, CorruptionScore, RobustnessReport
from edgeloop.predictions import load_predictions, save_predictions
from edgeloop.progress import bar
from edgeloop.rates import share


@dataclass(frozen=True)
class Trial:
    """What runs on what: one artifact in one runtime on frames; detections are kept below `out`."""

    artifact: Artifact
    runtime: Runtime
    audit: AuditFrames
    out: Path


def robustness(trial: Trial, settings: RobustnessSettings, card: EvaluationCard) -> RobustnessReport:
    """Run the suite on the trial's frames and score it.

    Raises:
        BadInput: no labels, no class in common, or an image that cannot be read.
    """
    trial = replace(trial, audit=subset(trial.audit, settings.frames))
    require_truths(trial.audit)
    weights = resampled(trial.audit, card)
    clean = _measure(trial, _see(trial, None, 0, settings.seed), weights)
    measured = {
        (corruption, severity): _condition(trial, corruption, severity, settings.seed, weights)
        for corruption in settings.corruptions
        for severity in settings.severities
    }
    return _report(trial, settings, clean["map50_95"], measured, card.confidence)


def run_suite(
    artifact: Artifact, audit: AuditFrames, profile: DeviceProfile, out: Path, card: EvaluationCard
) -> RobustnessReport:
    """Run the card's part of the suite, all of it where it says nothing, and save the report below `out`.

    Raises:
        BadInput: see `robustness`.
    """
    runtime = open_for(artifact, profile)
    try:
        report = robustness(Trial(artifact, runtime, audit, out), card.robustness or RobustnessSettings(), card)
    finally:
        runtime.close()
    report.save(out / f"{artifact.id}-{audit.name}-{audit.digest[:8]}-robustness.json")
    return report


def subset(audit: AuditFrames, count: int | None) -> AuditFrames:
    """At most `count` of the frames, the same ones every time; a random draw keeps the set's prevalence."""
    if count is None or count >= len(audit.frames):
        return audit
    order = [hashlib.sha256(f"edgeloop robustness {one}".encode()).digest() for one in audit.ids]
    return audit.at(sorted(sorted(range(len(order)), key=order.__getitem__)[:count]))


def _condition(
    trial: Trial, corruption: Corruption, severity: int, seed: int, weights: Weights
) -> Mapping[str, Doubles]:
    labels = tuple(
        move_labels(frame, corruption, severity, Source(seed, frame.frame.frame_id, frame.frame.camera))
        for frame in trial.audit.frames
    )
    moved = replace(trial, audit=replace(trial.audit, frames=labels))
    return _measure(moved, _see(moved, corruption, severity, seed), weights)


def _see(trial: Trial, corruption: Corruption | None, severity: int, seed: int) -> list[Detections]:
    """The detections of each frame; those of an earlier run where they are of the same pictures."""
    named = f"{corruption}-{severity}-seed{seed}-suite{SUITE}" if corruption else "clean"
    start = f"{trial.artifact.id}-{trial.audit.name}-{trial.audit.digest[:8]}"
    path = trial.out / "robustness" / f"{start}-{trial.runtime.name}-{named}.parquet"
    if path.is_file():
        return load_predictions(path, trial.artifact.id, trial.audit)
    detector = Detector(trial.artifact, trial.runtime, FLOOR, statistics="never")
    seen = []
    for frame in bar(trial.audit.frames, f"{corruption or 'clean'} {severity or ''}", len(trial.audit.frames)):
        image = read_image(frame.frame.image)
        if corruption:
            source = Source(seed, frame.frame.frame_id, frame.frame.camera)
            image = corrupt(image, corruption, severity, source)
        seen.append(detector.detect(image).detections)
    save_predictions(path, trial.artifact, trial.audit, seen)
    return seen


def _measure(trial: Trial, seen: list[Detections], weights: Weights) -> Mapping[str, Doubles]:
    """What is stated of a condition, (1 + B,) each."""
    names = scored_names(trial.artifact, trial.audit)
    matches = match_audit(trial.artifact, trial.audit, seen, names)
    return measure(matches, trial.artifact.thresholds_of(names), weights)


def _report(
    trial: Trial,
    settings: RobustnessSettings,
    clean: Doubles,
    measured: Mapping[tuple[Corruption, int], Mapping[str, Doubles]],
    confidence: float,
) -> RobustnessReport:
    means = {
        corruption: np.mean([measured[corruption, severity]["map50_95"] for severity in settings.severities], axis=0)
        for corruption in settings.corruptions
    }
    everything = np.mean(list(means.values()), axis=0)
    conditions = [
        Condition.model_validate(
            {"corruption": corruption, "severity": severity}
            | {name: known_interval(values, confidence) for name, values in found.items()}
        )
        for (corruption, severity), found in measured.items()
    ]
    return RobustnessReport(
        artifact_id=trial.artifact.id,
        audit=trial.audit.name,
        audit_digest=trial.audit.digest,
        runtime=trial.runtime.name,
        frames=len(trial.audit.frames),
        settings=settings,
        clean=known_interval(clean, confidence),
        mpc=known_interval(everything, confidence),
        rpc=known_interval(share(everything, clean), confidence),
        corruptions=tuple(
            CorruptionScore(
                corruption=corruption,
                mean=known_interval(mean, confidence),
                kept=known_interval(share(mean, clean), confidence),
            )
            for corruption, mean in means.items()
        ),
        conditions=tuple(conditions),
    )
