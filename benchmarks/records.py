"""Inference records of no particular scene, to measure what becomes of them; their number decides their content."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

from edgeloop.boxes import Detections
from edgeloop.edge.detector import Inference, Timing
from edgeloop.edge.frame import Image
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.statistics import DeferredStatistics

BEGIN = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
INTERVAL = timedelta(microseconds=33_333)  # 30 frames per second
THRESHOLDS = (0.25, 0.5, 0.4)


def record(number: int, image: Image, life: int = 0, boxes: int = 10) -> InferenceRecord:
    """The record of a frame: `boxes` boxes, and the statistics of `image` still to be computed, as from a detector."""
    rng = np.random.default_rng((life, number))
    detections = Detections(
        rng.random((boxes, 4), np.float32) * 600,
        np.sort(rng.random(boxes, np.float32))[::-1],
        rng.integers(0, len(THRESHOLDS), boxes),
    )
    found = Inference(detections, Timing(0.5, 4.0, 0.3), DeferredStatistics(image), image.shape[1], image.shape[0])
    moment = BEGIN + timedelta(days=life % 2) + INTERVAL * number
    return InferenceRecord(f"{life:06x}{number:010x}", f"cam{number % 2}", moment, "a" * 12, found, THRESHOLDS)
