"""Accuracy of one artifact file on an audit set, through the runtime and the frame path that ship it.

Detections are those of the device side: one class a box, its NMS, its letterbox. Ultralytics' own validation lets a
box answer for several classes and so reads a little higher; that is not what a device shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.accuracy import Run, critical_ids, score, scored_names
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile, EvaluationCard
from edgeloop.edge.detector import Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.runtime import RUNTIMES, Runtime, is_installed, open_runtime
from edgeloop.errors import BadInput
from edgeloop.matching import Matches, match
from edgeloop.measures import EvaluationReport
from edgeloop.predictions import predictions_path, renumber, save_predictions
from edgeloop.progress import bar

FLOOR = 0.001  # Ultralytics' own confidence floor when it validates


def evaluate(
    artifact: Artifact, audit: AuditFrames, profile: DeviceProfile, out: Path, card: EvaluationCard | None = None
) -> EvaluationReport:
    """Run the artifact on every frame, save what it saw below `out`, and score it.

    Args:
        artifact: its thresholds are those that precision, recall and rates are stated at.
        audit: usually the scoring half of an audit set.
        profile: says which runtimes and how many threads; where none of its runtimes is here, any that is runs.
        out: folder for the predictions, one Parquet file an artifact and set.
        card: what is stated; the defaults when None.

    Raises:
        BadInput: no frames, no labels, no class in common, a critical class that nobody knows, or an image that cannot
            be read.
    """
    asked = card or EvaluationCard()
    require_truths(audit)
    critical_ids(asked, scored_names(artifact, audit), audit)
    runtime = open_for(artifact, profile)
    detections = predict(artifact, audit, runtime)
    path = predictions_path(artifact, audit, out)
    save_predictions(path, artifact, audit, detections)
    return score(artifact, audit, detections, Run(path, runtime.name), asked)


def open_for(artifact: Artifact, profile: DeviceProfile) -> Runtime:
    """The fastest installed runtime of those the profile names, else of all."""
    named = [name for name in RUNTIMES if name in profile.runtimes and is_installed(name)]
    return open_runtime(artifact.path, threads=profile.threads, among=named or RUNTIMES)


def require_truths(audit: AuditFrames) -> None:
    """Refuse a set that cannot judge anything.

    Raises:
        BadInput: it has no frames or no labelled boxes.
    """
    if not audit.boxes:
        raise BadInput(
            f"{audit.name}: {len(audit.frames)} frames and no labelled box to judge by; expected at least one. "
            f"Label more frames for it."
        )


def predict(artifact: Artifact, audit: AuditFrames, runtime: Runtime) -> list[Detections]:
    """What the artifact sees on each frame, down to `FLOOR`, at most 300 a frame, class ids of the artifact.

    Raises:
        BadInput: an image cannot be read.
    """
    detector = Detector(artifact, runtime, FLOOR)
    frames = bar(audit.frames, f"evaluate {artifact.precision} on {audit.name}", len(audit.frames))
    return [detector.detect(read_image(frame.frame.image)).detections for frame in frames]


def read_image(path: Path) -> Image:
    """One image as the device decodes it, (H, W, 3) uint8 BGR.

    Raises:
        BadInput: missing or not an image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}); restore it, or freeze the audit set again."
        ) from error
    return decode_image(content, str(path))


def match_audit(
    artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections], names: Sequence[str] | None = None
) -> Matches:
    """Match an artifact's detections with the labels, over `names`, which are the audit set's when not given."""
    scored = audit.names if names is None else names
    return match(renumber(detections, artifact.names, scored), audit.truths(scored), len(scored))


__all__ = [
    "FLOOR",
    "evaluate",
    "match_audit",
    "open_for",
    "predict",
    "read_image",
    "require_truths",
    "scored_names",
]
