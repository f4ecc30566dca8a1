"""The report of a data set version: what it is made of, what repeats in it, and which labels look wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeloop.balance import Histogram, box_sizes, brightness, class_balance, frames_by_camera
from edgeloop.dataset import DatasetVersion, load_labels
from edgeloop.formats.findings import Finding
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.suspicious import suspicious
from edgeloop.frames import SPLITS, LabelledFrame
from edgeloop.inspection import InspectionCache, inspect_files
from edgeloop.near_duplicates import clusters
from edgeloop.reports.page import write_page
from edgeloop.reports.pictures import Picture, thumbnail

CLUSTERS, PICTURES = 6, 4  # groups of near duplicates shown, and pictures of each
DOUBTS = 8  # labels of a kind that look wrong, shown


@dataclass(frozen=True)
class Repeats:
    """Frames that nearly show the same.

    Attributes:
        frames: how many.
        sides: the sides they are on; more than one is a leak.
        pictures: some of them.
    """

    frames: int
    sides: tuple[str, ...]
    pictures: tuple[Picture, ...]


def report_on(version: DatasetVersion, path: Path, inspections: Path) -> Path:
    """Look at every frame of a version and write its report.

    Args:
        version: its snapshot is read.
        path: of the HTML file.
        inspections: folder that remembers what was found of images.

    Raises:
        BadInput: the snapshot is damaged, or jinja2 is not installed.
    """
    frames = load_labels(version.root)
    images = [frame.frame.image for frame in frames]
    found = inspect_files(images, InspectionCache(inspections, version.root), "looking at frames")
    facts = {one.frame_id: one for one in found if isinstance(one, ImageFacts)}
    return write_data_report(path, version, frames, facts, suspicious(frames, version.names))


def write_data_report(
    path: Path,
    version: DatasetVersion,
    frames: Sequence[LabelledFrame],
    facts: Mapping[str, ImageFacts],
    doubts: Sequence[Finding],
) -> Path:
    """Write the HTML report of a version.

    Args:
        path: of the HTML file.
        version: the version.
        frames: all of its frames.
        facts: what inspection found of them, by frame id.
        doubts: labels that look wrong, the worst of each kind first; each is about the image of one of the frames.

    Raises:
        BadInput: an image of the version is missing, or jinja2 is not installed.
    """
    together = near_duplicates(frames, facts)
    return write_page(
        path,
        "data.html.j2",
        version=version,
        sides=SPLITS,
        classes=class_balance(frames, version.names),
        cameras=frames_by_camera(frames),
        sizes=scaled(box_sizes(frames, version.names)),
        lights=scaled(brightness(frames, {name: found.look for name, found in facts.items() if found.look})),
        repeats=[_shown(group) for group in together[:CLUSTERS]],
        repeated=(len(together), sum(map(len, together))),
        leaks=sum(len({frame.split for frame in group}) > 1 for group in together),
        kinds={kind: sum(doubt.kind == kind for doubt in doubts) for kind in dict.fromkeys(d.kind for d in doubts)},
        doubts=_pictures(doubts, frames),
    )


def near_duplicates(frames: Sequence[LabelledFrame], facts: Mapping[str, ImageFacts]) -> list[list[LabelledFrame]]:
    """Groups of frames that nearly show the same, those on two sides first, then the largest."""
    hashes = {name: found.perceptual_hash for name, found in facts.items() if found.perceptual_hash is not None}
    hashed = [frame for frame in frames if frame.frame.frame_id in hashes]
    found = clusters([hashes[frame.frame.frame_id] for frame in hashed])
    groups = [[hashed[index] for index in group] for group in found]
    return sorted(groups, key=lambda group: (len({frame.split for frame in group}) < 2, -len(group)))


def _shown(group: Sequence[LabelledFrame]) -> Repeats:
    sides = tuple(sorted({str(frame.split) for frame in group}))
    pictures = [
        Picture(
            thumbnail(frame.frame.image, _boxes(frame)), frame.frame.frame_id, f"{frame.split}, {frame.frame.camera}"
        )
        for frame in group[:PICTURES]
    ]
    return Repeats(len(group), sides, tuple(pictures))


def _boxes(frame: LabelledFrame) -> list[np.ndarray]:
    return [np.asarray(label.box, np.float32) for label in frame.labels]


def _pictures(doubts: Sequence[Finding], frames: Sequence[LabelledFrame]) -> list[Picture]:
    """The first few of each kind, with every label of their frames."""
    by_image = {frame.frame.image: frame for frame in frames}
    shown: list[Picture] = []
    for kind in dict.fromkeys(doubt.kind for doubt in doubts):
        of_kind = [doubt for doubt in doubts if doubt.kind == kind and doubt.path in by_image][:DOUBTS]
        shown += [_picture(doubt, by_image[doubt.path]) for doubt in of_kind]
    return shown


def _picture(doubt: Finding, frame: LabelledFrame) -> Picture:
    where = f"{doubt.reason} ({frame.split}, {frame.frame.frame_id})"
    marked = None if doubt.box is None else np.asarray(doubt.box, np.float32)
    return Picture(thumbnail(frame.frame.image, _boxes(frame), marked), doubt.kind, where)


@dataclass(frozen=True)
class Bars:
    """A histogram with the heights of its bars, per cent of the tallest."""

    histogram: Histogram
    heights: tuple[float, ...]


def scaled(histograms: Sequence[Histogram]) -> list[Bars]:
    """Each histogram on its own scale: shapes are compared, not numbers of values."""
    return [Bars(one, tuple(count / max(*one.counts, 1) * 100 for count in one.counts)) for one in histograms]
