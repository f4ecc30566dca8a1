"""What `edgeloop thresholds` does: a user's own ONNX on a user's own labelled set, half to tune on, half to judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile, ThresholdCard
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import Runtime, installed
from edgeloop.evaluation import FLOOR, match_audit, open_for, predict, read_image, scored_names
from edgeloop.foreign import open_detector, refuse_checkpoint
from edgeloop.formats.paths import require_images
from edgeloop.measures import ThresholdReport
from edgeloop.prior_shift import estimate_shift
from edgeloop.progress import bar
from edgeloop.threshold_report import report_thresholds
from edgeloop.thresholds import Labelled


@dataclass(frozen=True)
class OwnThresholds:
    """What was tuned, and the frames it was tuned and judged on.

    Attributes:
        report: thresholds, what they rest on, and the comparison.
        labelled: what was tuned on.
        held_out: what nothing was tuned on; None where the set is too small to hold some of it out.
    """

    report: ThresholdReport
    labelled: Labelled
    held_out: Labelled | None


def tune_own(
    model: Path, audit: AuditFrames, runtime: DeviceProfile, card: ThresholdCard, production: Path | None = None
) -> OwnThresholds:
    """Tune on one half of the set and judge on the other; groups of frames stay together.

    A set of which one half has no labelled box is tuned on whole, and judged on what it was tuned on.

    Args:
        model: an ONNX detector, with edgeloop's record beside it or without.
        audit: labelled frames; their weights count.
        runtime: says which runtimes and how many threads.
        card: what the thresholds are for.
        production: a folder of unlabelled frames of today; estimates what has become rarer or more frequent since.

    Raises:
        BadInput: no detector, no class in common, a broken image, no image in `production`, or a class of the card that
            the detector does not know.
    """
    refuse_checkpoint(model)
    artifact = open_detector(model, audit.names, reduced=True)
    profile = runtime.model_copy(update={"runtimes": installed(runtime.runtimes)})
    names = tuple(dict.fromkeys((*artifact.names, *scored_names(artifact, audit))))
    engine = open_for(artifact, profile)
    try:
        tuning, judging = audit.half("tune"), audit.half("score")
        whole = not (tuning.boxes and judging.boxes)
        labelled = _seen(artifact, audit if whole else tuning, engine, names, production)
        held_out = None if whole else _seen(artifact, judging, engine, names)
    finally:
        engine.close()
    return OwnThresholds(report_thresholds(artifact, labelled, card, held_out), labelled, held_out)


def _seen(
    artifact: Artifact, frames: AuditFrames, engine: Runtime, names: tuple[str, ...], production: Path | None = None
) -> Labelled:
    matches = match_audit(artifact, frames, predict(artifact, frames, engine), names)
    labelled = Labelled(matches, frames.groups, [frames.digest], frames.weights)
    if production is None:
        return labelled
    shift = estimate_shift(matches, _watch(artifact, production, engine), labelled.frame_weights)
    return Labelled(matches, frames.groups, [frames.digest], frames.weights, shift)


def _watch(artifact: Artifact, folder: Path, engine: Runtime) -> list[Detections]:
    """What the artifact sees on every image below a folder."""
    images, detector = require_images(folder), Detector(artifact, engine, FLOOR)
    return [detector.detect(read_image(path)).detections for path in bar(images, "production frames", len(images))]


def threshold_settings(card: ThresholdCard, asked: Mapping[str, object]) -> ThresholdCard:
    """A card with what the command line asks in place of it; None leaves a key as it is.

    Raises:
        BadInput: a value does not fit.
    """
    changes = {key: value for key, value in asked.items() if value is not None}
    return ThresholdCard.from_document({**card.model_dump(), **changes}, "the options")
