"""What answers in the loop: one artifact for the whole run, or (edgeloop.edge.hot_swap) one that may be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.edge.detector import Detector, Inference
from edgeloop.edge.frame import Image
from edgeloop.edge.runtime import RuntimeName, open_runtime
from edgeloop.errors import BadInput

OpenDetector = Callable[[Artifact], Detector]


class Model(Protocol):
    """Answers batches of frames.

    Attributes:
        detector: the one that answered the last batch.
    """

    detector: Detector

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        """Detections of as many (H, W, 3) uint8 BGR images as the detectors' batch."""
        ...

    def problems(self) -> tuple[str, ...]:
        """Sentences about what is wrong right now."""
        ...

    def close(self) -> None: ...


class FixedModel:
    """One artifact for the whole run."""

    def __init__(self, artifact: Artifact, open_detector: OpenDetector) -> None:
        self.detector = open_detector(artifact)

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        return self.detector.detect_batch(images)

    def problems(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self.detector.runtime.close()


def detectors(runtime: RuntimeName | Literal["auto"], threads: int, batch: int) -> OpenDetector:
    """Opens detectors of any artifact in this runtime; the log's thread measures the images, not the loop."""

    def open_detector(artifact: Artifact) -> Detector:
        loaded = open_runtime(artifact.path, runtime, threads, batch=batch)
        return Detector(artifact, loaded, batch=batch, statistics="later")

    return open_detector


def read_artifact(path: Path) -> Artifact:
    """The artifact that a path names: its file `x.onnx`, or its record `x.onnx.json` beside the file.

    Raises:
        BadInput: neither is there, or the file is not the one of the record.
    """
    file = path.with_suffix("") if path.suffix == ".json" else path
    if not file.is_file():
        raise BadInput(f"{file} does not exist; expected an artifact: a model file with its record {file.name}.json.")
    return load_artifact(file)
