"""Accuracy of one artifact file on an audit set, through the runtime and the frame path that ship it.

Detections are those of the device side: one class a box, its NMS, its letterbox. Ultralytics' own validation lets a
box answer for several classes and so reads a little higher; that is not what a device shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile
from edgeloop.edge.detector import Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.runtime import RUNTIMES, Runtime, is_installed, open_runtime
from edgeloop.errors import BadInput
from edgeloop.matching import MAXIMUM_DETECTIONS, Counts, Matches, Truths, count_at, match
from edgeloop.measures import ClassScore, EvaluationReport
from edgeloop.predictions import predictions_path, renumber, save_predictions
from edgeloop.progress import bar

FLOOR = 0.001  # Ultralytics' own confidence floor when it validates


def evaluate(artifact: Artifact, audit: AuditFrames, profile: DeviceProfile, out: Path) -> EvaluationReport:
    """Run the artifact on every frame, save what it saw below `out`, and score it.

    Args:
        artifact: its thresholds are those that precision, recall and rates are stated at.
        audit: usually the scoring half of an audit set.
        profile: says which runtimes and how many threads; where none of its runtimes is here, any that is runs.
        out: folder for the predictions, one Parquet file an artifact and set.

    Raises:
        BadInput: no frames, no labels, no class in common, or an image that cannot be read.
    """
    require_truths(audit)
    scored_names(artifact, audit)
    runtime = open_for(artifact, profile)
    detections = predict(artifact, audit, runtime)
    path = predictions_path(artifact, audit, out)
    save_predictions(path, artifact, audit, detections)
    return score(artifact, audit, detections, path, runtime.name)


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
            f"the audit set {audit.name} has {len(audit.frames)} frames and no labelled box on this half; "
            f"expected at least one box to judge by. Label more frames for it."
        )


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


def score(
    artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections], predictions: Path, runtime: str
) -> EvaluationReport:
    """Judge detections (class ids of the artifact) by the labels; rates are at the artifact's thresholds and IoU 0.5.

    A class without a label has no average precision, and mAP is over the classes that have one.
    """
    names = scored_names(artifact, audit)
    seen, truths = renumber(detections, artifact.names, names), audit.truths(names)
    precision = coco_average_precision(seen, truths, len(names))
    known = dict(zip(artifact.names, artifact.thresholds, strict=True))
    thresholds = tuple(known.get(name, 1.0) for name in names)  # a class the artifact lacks is never shown
    counts = count_at(match(seen, truths, len(names)), thresholds)
    per_frame = 1000 / len(audit.frames)
    return EvaluationReport(
        artifact_id=artifact.id,
        precision=artifact.precision,
        audit=audit.name,
        audit_digest=audit.digest,
        runtime=runtime,
        frames=len(audit.frames),
        map50=float(np.nanmean(precision[:, 0])),
        map50_95=float(np.nanmean(precision)),
        classes=tuple(
            _class_score(name, threshold, precision[index], counts, index)
            for index, (name, threshold) in enumerate(zip(names, thresholds, strict=True))
        ),
        false_positives_per_1000_frames=float(counts.false.sum() * per_frame),
        missed_per_1000_frames=float(counts.missed.sum() * per_frame),
        predictions=predictions,
    )


def _class_score(name: str, threshold: float, precision: Doubles, counts: Counts, index: int) -> ClassScore:
    found, false, missed = (int(part[index]) for part in (counts.found, counts.false, counts.missed))
    truths = found + missed
    return ClassScore(
        name=name,
        truths=truths,
        ap50=float(precision[0]) if truths else None,
        ap50_95=float(precision.mean()) if truths else None,
        threshold=threshold,
        precision=found / (found + false) if found + false else None,
        recall=found / truths if truths else None,
    )


def coco_average_precision(detections: Sequence[Detections], truths: Sequence[Truths], class_count: int) -> Doubles:
    """COCO's average precision from faster-coco-eval: (classes, 10) float64 in 0..1, NaN for a class without truth.

    Raises:
        BadInput: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise BadInput("evaluation needs faster-coco-eval: pip install faster-coco-eval.") from error
    dataset, results = coco_documents(detections, truths, class_count)
    labelled = COCO(dataset)
    judge = COCOeval_faster(labelled, labelled.loadRes(results), "bbox", print_function=_quiet)
    judge.params.maxDets = [MAXIMUM_DETECTIONS]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class) over all areas
    return np.where(precision.min(axis=1) < 0, np.nan, precision.mean(axis=1)).T


def coco_documents(
    detections: Sequence[Detections], truths: Sequence[Truths], class_count: int
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Labels and detections as COCO's own structures: the data set and the list of results."""
    annotations: list[dict[str, object]] = []
    for index, truth in enumerate(truths):
        annotations += [
            box | {"id": len(annotations) + row, "area": size, "iscrowd": 0}
            for row, (box, size) in enumerate(_boxes(index, truth), start=1)
        ]
    results = [
        box | {"score": score, "segmentation": []}  # the evaluators build a polygon for what has no segmentation
        for index, seen in enumerate(detections)
        for (box, _), score in zip(_boxes(index, seen), seen.scores.tolist(), strict=True)
    ]
    images: list[dict[str, object]] = [{"id": index} for index in range(len(truths))]
    categories = [{"id": index, "name": str(index)} for index in range(class_count)]
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, results


def _boxes(index: int, of_frame: Detections | Truths) -> list[tuple[dict[str, object], float]]:
    """COCO's xywh in double precision, as it computes, with the area of each."""
    corners = of_frame.boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    sizes = (xywh[:, 2] * xywh[:, 3]).tolist()
    return [
        ({"image_id": index, "category_id": class_id, "bbox": box}, size)
        for box, class_id, size in zip(xywh.tolist(), of_frame.classes.tolist(), sizes, strict=True)
    ]


def _quiet(*_: object) -> None:
    """faster-coco-eval reports its progress here."""
