"""What a row of the inference log is: the schema, the record it is made from, and the folder it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from edgeloop.edge.detector import Inference

SCHEMA_VERSION = 2  # 2 added `kept`
VERSION_KEY = b"edgeloop.inference_log"

BOX = pa.struct(
    [("x1", pa.float32()), ("y1", pa.float32()), ("x2", pa.float32()), ("y2", pa.float32()), ("score", pa.float32()),
     ("class_id", pa.int32())]
)  # fmt: skip
LOG_SCHEMA = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("camera", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("artifact_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("preprocess_ms", pa.float32(), nullable=False),
        pa.field("inference_ms", pa.float32(), nullable=False),
        pa.field("postprocess_ms", pa.float32(), nullable=False),
        pa.field("brightness", pa.float32(), nullable=False),
        pa.field("contrast", pa.float32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("boxes", pa.list_(BOX), nullable=False),
        pa.field("thresholds", pa.list_(pa.float32()), nullable=False),
        pa.field("image", pa.string(), nullable=True),
        pa.field("kept", pa.string(), nullable=True),
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

KeptBecause = Literal["all", "every", "uncertain", "audit", "flagged"]  # why an image was kept


@dataclass(frozen=True)
class InferenceRecord:
    """One row of the log.

    Attributes:
        frame_id: the frame's name, the same wherever the frame goes.
        camera: which camera took it.
        time: when, with its time zone.
        artifact_id: which artifact answered.
        inference: what it answered.
        thresholds: the artifact's, one per class: what counted as a detection at that moment.
        image: where the frame was kept, relative to the store; None when it was not.
        kept: why, when a retention policy decided it.
    """

    frame_id: str
    camera: str
    time: datetime
    artifact_id: str
    inference: Inference
    thresholds: tuple[float, ...]
    image: str | None = None
    kept: KeptBecause | None = None


def partition(time: datetime, camera: str) -> str:
    """The folder of a row: `date=2026-03-01/camera=cam1`, the date in UTC, the camera percent-encoded."""
    return f"date={time.astimezone(timezone.utc):%Y-%m-%d}/camera={quote(camera, safe='')}"


def to_table(records: Sequence[InferenceRecord]) -> pa.Table:
    """Records as a table of LOG_SCHEMA, built column by column."""
    inferences = [record.inference for record in records]
    columns: dict[str, Any] = {
        "frame_id": [record.frame_id for record in records],
        "camera": [record.camera for record in records],
        "time": [record.time for record in records],
        "artifact_id": [record.artifact_id for record in records],
        "width": [inference.width for inference in inferences],
        "height": [inference.height for inference in inferences],
        "preprocess_ms": [inference.timing.preprocess for inference in inferences],
        "inference_ms": [inference.timing.inference for inference in inferences],
        "postprocess_ms": [inference.timing.postprocess for inference in inferences],
        "brightness": [inference.statistics.brightness for inference in inferences],
        "contrast": [inference.statistics.contrast for inference in inferences],
        "sharpness": [inference.statistics.sharpness for inference in inferences],
        "boxes": boxes_of(inferences),
        "thresholds": [record.thresholds for record in records],
        "image": [record.image for record in records],
        "kept": [record.kept for record in records],
    }
    return pa.table(columns, schema=LOG_SCHEMA)


def boxes_of(inferences: Sequence[Inference]) -> pa.Array:
    """The `boxes` column: one list of boxes a frame."""
    found = [inference.detections for inference in inferences]
    offsets = np.cumsum([0, *(len(detections) for detections in found)], dtype=np.int32)
    corners = np.concatenate([np.zeros((0, 4), np.float32), *(detections.boxes for detections in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(detections.scores for detections in found)])
    classes = np.concatenate([np.zeros(0, np.int64), *(detections.classes for detections in found)])
    values = [*np.ascontiguousarray(corners.T), scores, classes.astype(np.int32)]
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays([pa.array(v) for v in values], fields=list(BOX))
    )
