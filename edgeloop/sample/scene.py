"""The five folders that the loop plays with: a labelled set, and a clean and a drifted production side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
from pydantic import Field

from edgeloop.edge.frame import Image
from edgeloop.errors import BadInput
from edgeloop.formats import yolo
from edgeloop.formats.findings import printable
from edgeloop.frames import SPLITS, Label, LabelledFrame, Split
from edgeloop.places import require_place
from edgeloop.record import Record

Subset = Literal["labelled", "stream-clean", "stream-drifted", "audit-clean", "audit-drifted"]
SUBSETS: tuple[Subset, ...] = ("labelled", "stream-clean", "stream-drifted", "audit-clean", "audit-drifted")
SCENE_FILE = "scene.json"
JPEG_QUALITY = 92


class SampleSize(Record):
    """How much is generated.

    Attributes:
        train, val: labelled frames on each side.
        stream: frames of each stream.
        audit: frames of each audit set.
        side: of the square pictures, pixels.
    """

    train: int = Field(ge=8)
    val: int = Field(ge=4)
    stream: int = Field(ge=20)
    audit: int = Field(ge=12)
    side: int = Field(default=192, ge=96)


DEMO = SampleSize(train=340, val=80, stream=600, audit=320)
TINY = SampleSize(train=48, val=16, stream=240, audit=48)
SIZES: dict[str, SampleSize] = {"demo": DEMO, "tiny": TINY}


class SubsetCount(Record):
    """What one sub-set holds.

    Attributes:
        frames: photographs.
        empty: those of them without a label.
        boxes: labels by class name.
    """

    frames: int
    empty: int
    boxes: dict[str, int]


class Scene(Record):
    """Five YOLO-layout sub-sets under one root. The labels of the streams are for the simulated labeler alone.

    Attributes:
        root: the folder; `scene.json` in it is this record.
        names: class names, index is the class id.
        source: "generated", or "held-back" from a user's labelled set.
        seed: what everything follows from.
        counts: what each sub-set holds.
    """

    root: Path
    names: tuple[str, ...]
    source: Literal["generated", "held-back"]
    seed: int
    counts: dict[Subset, SubsetCount]

    def folder(self, subset: Subset) -> Path:
        """The folder of a sub-set: data.yaml, images/ and labels/; those of `labelled` hold train/ and val/."""
        return self.root / subset

    @property
    def labelled(self) -> Path:
        return self.folder("labelled")

    @property
    def stream_clean(self) -> Path:
        return self.folder("stream-clean")

    @property
    def stream_drifted(self) -> Path:
        return self.folder("stream-drifted")

    @property
    def audit_clean(self) -> Path:
        return self.folder("audit-clean")

    @property
    def audit_drifted(self) -> Path:
        return self.folder("audit-drifted")


def load_scene(root: Path) -> Scene:
    """The scene that `generate` or `hold_back` wrote; the folder may have moved.

    Raises:
        BadInput: there is none.
    """
    return Scene.load(root / SCENE_FILE).model_copy(update={"root": root})


def require_sample_folder(out: Path) -> None:
    """Refuse to replace what is no sample.

    Raises:
        BadInput: the folder holds something else, or could not be written.
    """
    require_place(out)
    if out.is_dir() and any(out.iterdir()) and not (out / SCENE_FILE).is_file():
        raise BadInput(f"{printable(out)} is not empty and holds no sample, so it is left alone; name a new folder.")


class SubsetWriter:
    """Writes one sub-set frame by frame and counts what it wrote.

    Args:
        folder: of the sub-set; made when it is missing.
        names: class names.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder, self.names = folder, names
        self.frames, self.empty = 0, 0
        self.boxes = dict.fromkeys(names, 0)
        self.sides: set[Split] = set()

    def add(self, name: str, picture: Image, labels: tuple[Label, ...], split: Split | None = None) -> None:
        """Write one photograph, (H, W, 3) uint8 BGR, under the file name `name` with its labels."""
        height, width = picture.shape[:2]
        self._write(name, _encoded(picture, Path(name).suffix.lower()), split)
        self._label(name, labels, (width, height), split)

    def copy(self, name: str, frame: LabelledFrame, split: Split | None = None) -> None:
        """Write a frame's own bytes under the file name `name` with its labels."""
        self._write(name, frame.frame.image.read_bytes(), split)
        self._label(name, frame.labels, (frame.frame.width, frame.frame.height), split)

    def _write(self, name: str, content: bytes, split: Split | None) -> None:
        if split:
            self.sides.add(split)
        for kind in ("images", "labels"):
            (self.folder / kind / (split or "")).mkdir(parents=True, exist_ok=True)
        (self.folder / "images" / (split or "") / name).write_bytes(content)

    def _label(self, name: str, labels: tuple[Label, ...], size: tuple[int, int], split: Split | None) -> None:
        text = self.folder / "labels" / (split or "") / f"{Path(name).stem}.txt"
        text.write_text(yolo.label_text(labels, *size), encoding="utf-8")
        self.frames, self.empty = self.frames + 1, self.empty + (not labels)
        for label in labels:
            self.boxes[self.names[label.class_id]] += 1

    def close(self) -> SubsetCount:
        """Write data.yaml; returns what the sub-set holds."""
        text = yolo.yaml_text(self.names, [side for side in SPLITS if side in self.sides])
        (self.folder / "data.yaml").write_text(text, encoding="utf-8")
        return SubsetCount(frames=self.frames, empty=self.empty, boxes=self.boxes)


def _encoded(picture: Image, suffix: str) -> bytes:
    """The bytes of an image file; OpenCV's own writer would report a full disk as nothing but False."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix in (".jpg", ".jpeg") else []
    return cv2.imencode(suffix, picture, parameters)[1].tobytes()
