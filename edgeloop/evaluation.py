"""Accuracy of one artifact file on an audit set, through the runtime and the frame path that ship it.

Detections are those of the device side: one class a box, its NMS, its letterbox. Ultralytics' own validation lets a
box answer for several classes and so reads a little higher; that is not what a device shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections
from edgeloop.edge.detector import Detector
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.runtime import Runtime, open_runtime
from edgeloop.errors import BadInput
from edgeloop.files import atomic_file
from edgeloop.matching import MAXIMUM_DETECTIONS, Counts, Matches, Truths, count_at, match
from edgeloop.measures import ClassScore, EvaluationReport
from edgeloop.progress import bar

Doubles = npt.NDArray[np.float64]

FLOOR = 0.001  # Ultralytics' own confidence floor when it validates
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
SCHEMA = pa.schema(
    [("frame_id", pa.string()), ("class_id", pa.int32()), ("score", pa.float32())]
    + [(column, pa.float32()) for column in BOX_COLUMNS]
)


def evaluate(artifact: Artifact, audit: AuditFrames, out: Path, threads: int = 1) -> EvaluationReport:
    """Run the artifact on every frame, save what it saw below `out`, and score it.

    Args:
        artifact: its thresholds are those that precision, recall and rates are stated at.
        audit: usually the scoring half of an audit set.
        out: folder for the predictions, one Parquet file an artifact and set.
        threads: CPU threads the runtime may use.

    Raises:
        BadInput: no frames, no labels, no class in common, or an image that cannot be read.
    """
    require_truths(audit)
    with_names(artifact.names, audit)
    runtime = open_runtime(artifact.path, threads=threads)
    detections = predict(artifact, audit, runtime)
    path = out / f"{artifact.id}-{audit.name}-{audit.digest[:8]}.parquet"
    save_predictions(path, artifact, audit, detections)
    return score(artifact, audit, detections, path, runtime.name)


def require_truths(audit: AuditFrames) -> None:
    """Refuse a set that cannot judge anything.

    Raises:
        BadInput: it has no frames or no labelled boxes.
    """
    boxes = sum(len(frame.labels) for frame in audit.frames)
    if not boxes:
        raise BadInput(
            f"the audit set {audit.name} has {len(audit.frames)} frames with {boxes} labelled boxes on this half; "
            f"expected at least one box to judge by. Label more frames for it."
        )


def with_names(names: Sequence[str], audit: AuditFrames) -> tuple[str, ...]:
    """The classes that are scored: those of the audit set, then those that only the artifact knows.

    Raises:
        BadInput: the two have no class in common.
    """
    if not set(names) & set(audit.names):
        raise BadInput(
            f"expected an artifact that knows a class of the audit set {audit.name} ({', '.join(audit.names)}); "
            f"came one for {', '.join(names)}."
        )
    return (*audit.names, *(name for name in names if name not in audit.names))


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


def save_predictions(path: Path, artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections]) -> None:
    """Write one row a detection; the file says which artifact saw them on which frames."""
    counts = [len(seen) for seen in detections]
    boxes = np.concatenate([seen.boxes for seen in detections])
    columns = [
        pa.array(np.repeat(np.asarray(audit.ids), counts), pa.string()),
        pa.array(np.concatenate([seen.classes for seen in detections]), pa.int32()),
        pa.array(np.concatenate([seen.scores for seen in detections]), pa.float32()),
        *(pa.array(np.ascontiguousarray(boxes[:, side]), pa.float32()) for side in range(4)),
    ]
    metadata = {"artifact": artifact.id, "audit_digest": audit.digest, "names": json.dumps(artifact.names)}
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA.with_metadata(metadata)), temporary, compression="zstd")


def load_predictions(path: Path, artifact_id: str, audit: AuditFrames) -> list[Detections]:
    """The detections of each frame of `audit`, class ids of the artifact.

    Raises:
        BadInput: the file is missing or broken, or another artifact or other frames made it.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path} cannot be read as predictions ({error}); evaluate again.") from error
    made = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if (made.get("artifact"), made.get("audit_digest")) != (artifact_id, audit.digest):
        raise BadInput(
            f"{path}: expected predictions of {artifact_id} on frames {audit.digest}, came those of "
            f"{made.get('artifact')} on {made.get('audit_digest')}; evaluate again."
        )
    return _by_frame(table, audit.ids)


def _by_frame(table: pa.Table, ids: Sequence[str]) -> list[Detections]:
    index = {frame_id: number for number, frame_id in enumerate(ids)}
    frames = np.array([index[frame_id] for frame_id in table["frame_id"].to_pylist()], np.int64)
    boxes = np.stack([table[column].to_numpy() for column in BOX_COLUMNS], axis=1)
    scores, classes = table["score"].to_numpy(), table["class_id"].to_numpy().astype(np.int64)
    cuts = np.searchsorted(frames, np.arange(len(ids) + 1))
    return [Detections(boxes[a:b], scores[a:b], classes[a:b]) for a, b in pairwise(cuts)]


def renumber(detections: Sequence[Detections], names: Sequence[str], scored: Sequence[str]) -> list[Detections]:
    """The same detections with class ids as in `scored`; those of classes that are not scored are left out."""
    ids = np.array([list(scored).index(name) if name in scored else -1 for name in names], np.int64)
    moved = [Detections(seen.boxes, seen.scores, ids[seen.classes]) for seen in detections]
    return [seen.select(seen.classes >= 0) for seen in moved]


def match_audit(artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections]) -> Matches:
    """Match an artifact's detections with the labels, over the classes of the audit set."""
    seen = renumber(detections, artifact.names, audit.names)
    return match(seen, audit.truths(audit.names), len(audit.names))


def score(
    artifact: Artifact, audit: AuditFrames, detections: Sequence[Detections], predictions: Path, runtime: str
) -> EvaluationReport:
    """Judge detections (class ids of the artifact) by the labels; rates are at the artifact's thresholds and IoU 0.5.

    A class without a label has no average precision, and mAP is over the classes that have one.
    """
    names = with_names(artifact.names, audit)
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
    annotations = [
        box | {"id": number, "area": size, "iscrowd": 0}
        for number, (box, size) in enumerate(
            ((box, size) for index, truth in enumerate(truths) for box, size in _boxes(index, truth)), start=1
        )
    ]
    images = [{"id": index} for index in range(len(truths))]
    categories = [{"id": index, "name": str(index)} for index in range(class_count)]
    labelled = COCO({"images": images, "annotations": annotations, "categories": categories, "info": {}})
    found = labelled.loadRes(
        [
            box | {"score": float(seen.scores[row]), "segmentation": []}
            for index, seen in enumerate(detections)
            for row, (box, _) in enumerate(_boxes(index, seen))
        ]
    )
    judge = COCOeval_faster(labelled, found, "bbox", print_function=_quiet)
    judge.params.maxDets = [MAXIMUM_DETECTIONS]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class) over all areas
    return np.where(precision.min(axis=1) < 0, np.nan, precision.mean(axis=1)).T


def _boxes(index: int, of_frame: Detections | Truths) -> list[tuple[dict[str, object], float]]:
    """COCO's xywh in double precision, as it computes, with the area of each."""
    corners = of_frame.boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        ({"image_id": index, "category_id": int(class_id), "bbox": box.tolist()}, float(box[2] * box[3]))
        for box, class_id in zip(xywh, of_frame.classes, strict=True)
    ]


def _quiet(*_: object) -> None:
    """faster-coco-eval reports its progress here."""
