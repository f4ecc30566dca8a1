"""The labelled data set: a live folder in YOLO layout that grows by merges, and immutable snapshots of its versions.

data/images/<split>/<frame_id>.jpg    data/labels/<split>/<frame_id>.txt    data/data.yaml    data/manifest.parquet
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from edgeloop.data_folder import writing
from edgeloop.errors import BadInput
from edgeloop.formats import yolo
from edgeloop.formats.assemble import Entry, assemble
from edgeloop.formats.data_yaml import is_laid_out
from edgeloop.formats.findings import refuse_errors
from edgeloop.formats.images import ImageFacts, measure_all
from edgeloop.frames import SPLITS, Frame, LabelledFrame, Split
from edgeloop.manifest import Row, has_manifest, read_manifest, state_of
from edgeloop.merge import MergeReport, merge
from edgeloop.record import Record
from edgeloop.upgrade import class_ids


class DatasetVersion(Record):
    """One immutable version of the data set.

    Attributes:
        root: folder of the snapshot; nothing may be written there.
        md5: DVC's hash of the folder, without its `.dir` ending.
        names: class names, index is the class id.
        frames: frames on each side.
        boxes: boxes of each class on each side; every side has every class.
        state: what it holds (`state_of`), by which a merge report finds its version.
        cameras, sources: frames of each on each side; empty in records of an older edgeloop.
    """

    root: Path
    md5: str = Field(pattern=r"^[0-9a-f]{32}$")
    names: tuple[str, ...] = Field(min_length=1)
    frames: dict[Split, int]
    boxes: dict[Split, dict[str, int]]
    state: str = ""
    cameras: dict[str, dict[Split, int]] = Field(default_factory=dict)
    sources: dict[str, dict[Split, int]] = Field(default_factory=dict)

    @field_validator("frames", "boxes")
    @classmethod
    def _has_every_side(cls, sides: dict[Split, Any], info: ValidationInfo) -> dict[Split, Any]:
        """A record of an older edgeloop does not name the test side."""
        empty = 0 if info.field_name == "frames" else dict.fromkeys(info.data["names"], 0)
        return {side: sides.get(side, empty) for side in SPLITS}

    @property
    def data_yaml(self) -> Path:
        """What Ultralytics is pointed at; it names no absolute path, so the folder may be moved."""
        return self.root / "data.yaml"

    def images(self, split: Split) -> Path:
        """The image folder of a side; it does not exist when the side is empty."""
        return self.root / "images" / split

    def labels(self, split: Split) -> Path:
        """The label folder of a side; it does not exist when the side is empty."""
        return self.root / "labels" / split


class ListedVersion(Record):
    """A version in the list of all; `current` when data.dvc names it."""

    version: DatasetVersion
    current: bool


def describe(root: Path, md5: str) -> DatasetVersion:
    """Count what a snapshot holds.

    Raises:
        BadInput: the folder is not a labelled set, or is damaged.
    """
    names = load_names(root)
    if has_manifest(root):
        kinds = [_Kind(row.split, row.camera, row.source, row.class_ids or ()) for row in load_rows(root)]
    else:
        kinds = [
            _Kind(one.split, one.frame.camera, one.source, [label.class_id for label in one.labels])
            for one in load_labels(root)
        ]
    boxes = {side: Counter(one for kind in kinds if kind.split == side for one in kind.class_ids) for side in SPLITS}
    return DatasetVersion(
        root=root,
        md5=md5,
        names=names,
        frames={side: sum(kind.split == side for kind in kinds) for side in SPLITS},
        boxes={side: {name: boxes[side][index] for index, name in enumerate(names)} for side in SPLITS},
        state=state_of(root),
        cameras=_by_name((kind.camera, kind.split) for kind in kinds),
        sources=_by_name((kind.source, kind.split) for kind in kinds),
    )


class _Kind(NamedTuple):
    """What a frame counts as."""

    split: Split | None
    camera: str
    source: str
    class_ids: Sequence[int]


def _by_name(frames: Iterable[tuple[str, Split | None]]) -> dict[str, dict[Split, int]]:
    counts = Counter(frames)
    return {name: {side: counts[name, side] for side in SPLITS} for name in sorted({name for name, _ in counts})}


def load_rows(folder: Path) -> list[Row]:
    """The rows of a data set's manifest with the class of every box, which one of version 1 has in its label files.

    Raises:
        BadInput: no manifest, or a label file is broken.
    """
    names = load_names(folder)
    return [
        replace(row, class_ids=class_ids(folder, row, names)) if row.class_ids is None else row
        for row in read_manifest(folder)
    ]


def count_boxes(frames: Sequence[LabelledFrame], names: Sequence[str]) -> dict[str, int]:
    """Boxes per class name, 0 for the classes that do not occur."""
    counts = Counter(label.class_id for frame in frames for label in frame.labels)
    return {name: counts[index] for index, name in enumerate(names)}


def load_names(folder: Path) -> tuple[str, ...]:
    """The class names of a snapshot or of any YOLO set, index is the class id.

    Raises:
        BadInput: the folder names no classes.
    """
    return yolo.set_names(folder)


def load_labels(folder: Path, split: Split | None = None) -> list[LabelledFrame]:
    """The frames of a snapshot or of any folder in YOLO layout, in the order of their file names. No image is decoded.

    Args:
        folder: a snapshot, the live data set, or a folder with images/, labels/ and data.yaml.
        split: only the frames of this side; None gives all.

    Raises:
        BadInput: the folder is not a YOLO set, names no classes, or a label file is missing or broken.
    """
    frames = _from_manifest(folder, split) if has_manifest(folder) else _from_files(folder)
    return [frame for frame in frames if split is None or frame.split == split]


def _from_files(folder: Path) -> list[LabelledFrame]:
    if not is_laid_out(folder):
        raise BadInput(f"{folder} is not a YOLO set: expected images/, labels/ and data.yaml.")
    listing = yolo.list_set(folder)
    report = assemble(listing, lambda entry, fact: yolo.read_labels(entry, fact, listing.names), measure_all)
    return sorted(report.frames, key=lambda frame: frame.frame.image)


def _from_manifest(folder: Path, split: Split | None) -> list[LabelledFrame]:
    names = load_names(folder)
    rows = [row for row in read_manifest(folder) if split is None or row.split == split]
    return [_from_row(folder, row, names) for row in rows]


def _from_row(folder: Path, row: Row, names: Sequence[str]) -> LabelledFrame:
    entry = Entry(folder / row.file, folder / row.label_file, row.split)
    if not entry.annotation.is_file():
        raise BadInput(f"{entry.annotation} is missing though the manifest lists it; restore the last version.")
    labels, findings = yolo.read_labels(entry, ImageFacts(row.sha256, row.width, row.height), names)
    refuse_errors(folder, findings)
    frame = Frame(
        row.frame_id, entry.image, row.width, row.height, row.camera, row.time, perceptual_hash=row.perceptual_hash
    )
    return LabelledFrame(frame, tuple(labels), row.split, row.source, row.labeler, row.group)


__all__ = [
    "DatasetVersion",
    "ListedVersion",
    "MergeReport",
    "count_boxes",
    "describe",
    "load_labels",
    "load_names",
    "load_rows",
    "merge",
    "state_of",
    "writing",
]
