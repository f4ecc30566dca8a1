"""What files of one model detect, for comparing them: on labelled frames, kept by content, and on a few others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.agreement import moved_share
from edgeloop.artifact import Artifact, Precision
from edgeloop.audit import AuditFrames
from edgeloop.boxes import Detections
from edgeloop.edge.detector import LOG_FLOOR, Detector
from edgeloop.edge.runtime import RuntimeName, installed, open_runtime
from edgeloop.evaluation import match_audit, predict, read_image
from edgeloop.files import sha256
from edgeloop.matching import Matches
from edgeloop.predictions import load_predictions, predictions_path, save_predictions

GLANCED = 24  # frames that layers are ranked on: the ranking of YOLOv5n's layers hardly changes beyond
GLANCING: RuntimeName = "onnxruntime"  # loads a file in a tenth of OpenVINO's time, and dozens are loaded


@dataclass(frozen=True)
class Judge:
    """Runs versions of one model.

    Attributes:
        fp32: the model in float32.
        choosing: labelled frames that recipes are chosen on.
        glanced: a few frames without labels.
        runtime: what runs the files on the labelled frames; one for all, so that the answer is the same every time.
        kept: folder for the detections on the labelled frames; what is there is not computed again.
    """

    fp32: Artifact
    choosing: AuditFrames
    glanced: tuple[Path, ...]
    runtime: RuntimeName
    kept: Path

    def matches(self, content: bytes, precision: Precision) -> Matches:
        """The detections of a file on the labelled frames, matched with the labels."""
        with tempfile.TemporaryDirectory(prefix="edgeloop-judge-") as folder:
            artifact = self.artifact(content, precision, Path(folder))
            path = predictions_path(artifact, self.choosing, self.kept / self.runtime)
            if not path.is_file():
                seen = predict(artifact, self.choosing, open_runtime(artifact.path, self.runtime))
                save_predictions(path, artifact, self.choosing, seen)
        return match_audit(artifact, self.choosing, load_predictions(path, artifact.id, self.choosing))

    def glance(self, content: bytes, precision: Precision) -> list[Detections]:
        """The detections of a file on the few frames, down to what a device logs."""
        with tempfile.TemporaryDirectory(prefix="edgeloop-judge-") as folder:
            artifact = self.artifact(content, precision, Path(folder))
            detector = Detector(artifact, open_runtime(artifact.path, GLANCING), LOG_FLOOR, statistics="never")
            found = [detector.detect(read_image(path)).detections for path in self.glanced]
            detector.runtime.close()
        return found

    def artifact(self, content: bytes, precision: Precision, folder: Path) -> Artifact:
        """Write a file of the model into a folder."""
        path = folder / "model.onnx"
        path.write_bytes(content)
        return self.fp32.model_copy(update={"path": path, "sha256": sha256(path), "precision": precision})


def choosing_runtime() -> RuntimeName:
    """What computes the detections that recipes are chosen by: OpenVINO where it is installed, it runs INT8 fastest."""
    return installed(("openvino", "onnxruntime"))[0]


def moved(before: Sequence[Detections], after: Sequence[Detections]) -> float:
    """`moved_share` of two lists of detections on the same frames."""
    return moved_share(zip(before, after, strict=True))
