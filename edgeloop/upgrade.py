"""A data set that an older edgeloop made: what its manifest lacks is looked up in its images and label files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgeloop.formats import yolo
from edgeloop.formats.assemble import Entry
from edgeloop.formats.findings import refuse_errors
from edgeloop.formats.images import ImageFacts, inspect_all
from edgeloop.manifest import Row


def upgraded(data: Path, rows: Mapping[str, Row], names: Sequence[str]) -> dict[str, Row]:
    """The rows of a manifest of version 1 with perceptual hashes and the classes of their boxes; nothing else changes.

    Args:
        data: the data set.
        rows: of its manifest, by frame id.
        names: its class names.

    Raises:
        BadInput: a label file is broken.
    """
    looks = looks_of([data / row.file for row in rows.values()])
    return {
        frame_id: replace(row, perceptual_hash=look, class_ids=class_ids(data, row, names))
        for (frame_id, row), look in zip(rows.items(), looks, strict=True)
    }


def looks_of(images: Sequence[Path]) -> Iterator[int | None]:
    """The perceptual hash of each image; None for one that is flat or cannot be read."""
    for facts in inspect_all(images, "looking at frames"):
        yield facts.perceptual_hash if isinstance(facts, ImageFacts) else None


def class_ids(data: Path, row: Row, names: Sequence[str]) -> tuple[int, ...]:
    """The class of every box of a frame, from its label file, sorted.

    Raises:
        BadInput: the label file is broken.
    """
    entry = Entry(data / row.file, data / row.label_file, row.split)
    labels, findings = yolo.read_labels(entry, ImageFacts(row.sha256, row.width, row.height), names)
    refuse_errors(data, findings)
    return tuple(sorted(label.class_id for label in labels))
