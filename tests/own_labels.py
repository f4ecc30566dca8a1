"""A labelled set whose labels are what a detector itself sees: it is right there, and whatever it loses shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import open_runtime
from edgeloop.formats.yolo import label_text, yaml_text
from edgeloop.frames import Label

WIDTH, HEIGHT = 48, 40
LABELLED = 4  # the best detections of each frame


def write_own_labels(folder: Path, artifact: Artifact, frames: int, seed: int) -> Path:
    """Write noise images with the artifact's best detections as their labels, in YOLO layout without sides."""
    detector = Detector(artifact, open_runtime(artifact.path, "onnxruntime"), 0.01)
    random = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(frames):
        image = random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{index}.png"), image)
        seen = detector.detect(image).detections
        labels = [
            Label(int(kind), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
            for box, kind in list(zip(seen.boxes, seen.classes, strict=True))[:LABELLED]
            if min(box[2] - box[0], box[3] - box[1]) > 0.2
        ]
        (folder / f"labels/{index}.txt").write_text(label_text(labels, WIDTH, HEIGHT))
    (folder / "data.yaml").write_text(yaml_text(artifact.names, []))
    return folder
