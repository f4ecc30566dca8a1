"""From files that belong together to checked, distinct, labelled frames; the same rules for every format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeloop.boxes import iou_matrix
from edgeloop.errors import BadInput
from edgeloop.formats.findings import Finding, Kind, ReadReport, refuse_errors, warning
from edgeloop.formats.images import SUFFIXES, ImageFacts, inspect_all
from edgeloop.formats.names import camera_and_time
from edgeloop.frames import Frame, Label, LabelledFrame, Split

Box = tuple[float, float, float, float]
SLACK_PIXELS = 1.0  # a box may overhang the border by a rounding error: this, or
SLACK_SHARE = 0.005  # this share of the side, whichever is more
MINIMUM_SIDE = 0.1  # pixels; a thinner box shows nothing and would not survive six decimals in a label file
SAME_BOX_IOU = 0.9  # boxes of one class that overlap this much are one box when copies of a frame are joined
STRICTEST: tuple[Split | None, ...] = ("audit", "val", "train", None)  # a frame on two sides stays on the first


@dataclass(frozen=True)
class Entry:
    """An image with the annotation that belongs to it and the side of the split its set names, if any."""

    image: Path
    annotation: Path
    split: Split | None


@dataclass(frozen=True)
class Listing:
    """What a format found in a folder before any image is opened."""

    folder: Path
    source: str
    names: tuple[str, ...]
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]


Parse = Callable[[Entry, ImageFacts], "tuple[list[Label], list[Finding]]"]


Inspect = Callable[[Sequence[Path]], "list[ImageFacts | Finding]"]


def assemble(listing: Listing, parse: Parse, inspect: Inspect = inspect_all) -> ReadReport:
    """Open every image, attach its labels, join copies.

    Args:
        listing: what the format found.
        parse: gives the labels of one entry.
        inspect: `inspect_all` decodes every image; `measure_all` trusts the headers of a set that was checked before.

    Raises:
        BadInput: any finding is an error; all of them are collected first.
    """
    facts = inspect([entry.image for entry in listing.entries])
    frames: list[LabelledFrame] = []
    findings = list(listing.findings)
    for entry, fact in zip(listing.entries, facts, strict=True):
        if isinstance(fact, Finding):
            findings.append(fact)
            continue
        labels, found = parse(entry, fact)
        findings += found
        frames.append(_labelled(entry, fact, labels, listing.source))
    refuse_errors(listing.folder, findings)
    distinct, joined = join_copies(_decided(frames))
    return ReadReport(tuple(distinct), listing.names, (*findings, *joined), files=len(frames))


def _labelled(entry: Entry, fact: ImageFacts, labels: list[Label], source: str) -> LabelledFrame:
    camera, time = camera_and_time(entry.image)
    frame = Frame(
        fact.frame_id, entry.image, fact.width, fact.height, camera, time, perceptual_hash=fact.perceptual_hash
    )
    return LabelledFrame(frame, tuple(labels), entry.split, source)


def _decided(frames: list[LabelledFrame]) -> list[LabelledFrame]:
    """A set that names a train side but no val side has not been split: its train frames are open."""
    if any(frame.split == "val" for frame in frames):
        return frames
    return [replace(frame, split=None) if frame.split == "train" else frame for frame in frames]


def settle(box: Box, width: int, height: int) -> Box | tuple[Kind, str]:
    """A box that lies in its image (xyxy pixels), or the kind and the reason why it cannot.

    An overhang of at most one pixel or 0.5 % of the side is a rounding error and is cut off.
    """
    x1, y1, x2, y2 = box
    if x2 - x1 < MINIMUM_SIDE or y2 - y1 < MINIMUM_SIDE:
        return "zero-area", f"box {_shown(box)} has no area"
    slack_x, slack_y = max(SLACK_PIXELS, SLACK_SHARE * width), max(SLACK_PIXELS, SLACK_SHARE * height)
    if x1 < -slack_x or y1 < -slack_y or x2 > width + slack_x or y2 > height + slack_y:
        return "box-outside", f"box {_shown(box)} leaves the {width} × {height} image"
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if inside[2] - inside[0] < MINIMUM_SIDE or inside[3] - inside[1] < MINIMUM_SIDE:
        return "zero-area", f"box {_shown(box)} has no area inside the {width} × {height} image"
    return inside


def _shown(box: Box) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def distinct_labels(labels: list[Label], path: Path) -> tuple[list[Label], list[Finding]]:
    """The labels without exact repetitions, and a warning for each that was left out."""
    kept = list(dict.fromkeys(labels))
    repeated = len(labels) - len(kept)
    reason = f"{repeated} {'box' if repeated == 1 else 'boxes'} repeated exactly, kept once"
    return kept, [warning("duplicate-box", path, reason)] if repeated else []


def join_copies(frames: Sequence[LabelledFrame]) -> tuple[list[LabelledFrame], list[Finding]]:
    """Each content once: on the strictest side any copy is on, with the union of the copies' boxes.

    Boxes of one class with an IoU of at least 0.9 are one box; of two such, the kept copy's stays.
    """
    copies: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        copies.setdefault(frame.frame.frame_id, []).append(frame)
    joined = [_join(group) for group in copies.values()]
    return [frame for frame, _ in joined], [finding for _, findings in joined for finding in findings]


def _join(copies: list[LabelledFrame]) -> tuple[LabelledFrame, list[Finding]]:
    if len(copies) == 1:
        return copies[0], []
    kept, *others = sorted(copies, key=lambda copy: STRICTEST.index(copy.split))
    labels = list(kept.labels)
    for other in others:
        labels += [label for label in other.labels if not _known(label, labels)]
    counts = " and ".join(str(len(copy.labels)) for copy in copies)
    side = f" on the {kept.split} side" if kept.split else ""
    reason = (
        f"same bytes as {kept.frame.image.name}, which is kept once{side}; their {counts} boxes were joined to "
        f"{len(labels)} (same class with IoU of at least {SAME_BOX_IOU} is one box)"
    )
    return replace(kept, labels=tuple(labels)), [
        warning("duplicate-frame", other.frame.image, reason) for other in others
    ]


def _known(label: Label, labels: list[Label]) -> bool:
    same = [other.box for other in labels if other.class_id == label.class_id]
    return bool(same) and bool(np.max(iou_matrix([label.box], same)) >= SAME_BOX_IOU)


def files_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Files with one of the suffixes (lower case) in `folder`, sorted, through symbolic links, hidden ones left out."""
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(parent, name)


def images_below(folder: Path) -> Iterator[Path]:
    """Image files in `folder`, sorted, through symbolic links."""
    return files_below(folder, SUFFIXES)


def require_images(folder: Path) -> list[Path]:
    """The same, at least one.

    Raises:
        BadInput: no such folder, or no image in it.
    """
    found = list(images_below(folder)) if folder.is_dir() else []
    if not found:
        raise BadInput(f"{folder} holds no frames: expected a folder with .jpg, .png, .bmp, .webp or .tif files.")
    return found
