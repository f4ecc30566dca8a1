"""The artifact: one file, one precision, one input size, its thresholds. What is measured, gated and shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.record import Record

Precision = Literal["fp32", "fp16", "int8"]
InputKind = Literal["float32-nchw", "uint8-nhwc"]
Head = Literal["anchor-free", "end-to-end"]
DEFAULT_THRESHOLD = 0.25  # Ultralytics' own default confidence threshold


class Artifact(Record):
    """A detector file and everything needed to run it the same way everywhere.

    Attributes:
        path: the ONNX file.
        sha256: of the file's bytes.
        precision: what the file computes in.
        imgsz: side of the square input in pixels.
        input: "float32-nchw" (N, 3, imgsz, imgsz) RGB in 0..1; "uint8-nhwc" (N, imgsz, imgsz, 3) BGR as a camera gives
            it, the rest is in the graph.
        names: class names, index is the class id.
        thresholds: one confidence threshold per class, tuned on this very file.
        iou: IoU above which two boxes of one class are one object (NMS).
        head: "anchor-free" needs NMS, "end-to-end" does not.
        dataset_md5: the DVC version it was trained on.
        card: name of the card that asked for it.
        checkpoint_sha256: of the checkpoint it was exported from.
    """

    path: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    precision: Precision
    imgsz: int = Field(gt=0)
    input: InputKind = "float32-nchw"
    names: tuple[str, ...] = Field(min_length=1)
    thresholds: tuple[float, ...]
    iou: float = Field(default=0.7, gt=0, le=1)  # Ultralytics' NMS default
    head: Head = "anchor-free"
    dataset_md5: str = ""
    card: str = ""
    checkpoint_sha256: str = ""

    @property
    def id(self) -> str:
        """Short id for logs and file names: 12 digits of the file's hash."""
        return self.sha256[:12]

    @property
    def sidecar(self) -> Path:
        """Where the record of the file lies: beside it, with `.json` appended."""
        return sidecar_of(self.path)

    def thresholds_of(self, names: Sequence[str]) -> tuple[float, ...]:
        """The threshold of each of these classes; above 1, so that it is never shown, for one it does not know."""
        known = dict(zip(self.names, self.thresholds, strict=True))
        return tuple(known.get(name, 1.1) for name in names)

    def save_sidecar(self) -> Path:
        """Write the record beside the file."""
        return self.save(self.sidecar)

    def verify(self) -> Artifact:
        """Return self when the file is the one that was recorded.

        Raises:
            BadInput: the file is missing or its content has changed.
        """
        if not self.path.is_file():
            raise BadInput(f"{self.path} does not exist; expected the artifact {self.id}.")
        found = sha256(self.path)
        if found != self.sha256:
            raise BadInput(f"{self.path} has content {found[:12]}, its record says {self.id}. Export it again.")
        return self


def sidecar_of(path: Path) -> Path:
    """The record's path for an artifact file."""
    return path.with_name(path.name + ".json")


def load_artifact(path: Path) -> Artifact:
    """Load the record beside an artifact file and check the file against it; the record may have been moved with it."""
    recorded = Artifact.load(sidecar_of(path))
    return recorded.model_copy(update={"path": path}).verify()
