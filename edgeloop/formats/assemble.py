"""From files that belong together to checked, distinct, labelled frames; the same rules for every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeloop.formats.copies import join_copies
from edgeloop.formats.findings import Finding, ReadReport, mend, refuse_errors
from edgeloop.formats.images import ImageFacts, inspect_all
from edgeloop.formats.names import camera_and_time
from edgeloop.formats.paths import images_below
from edgeloop.frames import Frame, Label, LabelledFrame, Split


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


def assemble(listing: Listing, parse: Parse, inspect: Inspect = inspect_all, fix: bool = False) -> ReadReport:
    """Open every image, attach its labels, join copies.

    Args:
        listing: what the format found.
        parse: gives the labels of one entry.
        inspect: `inspect_all` decodes every image; `measure_all` trusts the headers of a set that was checked before.
        fix: go on with what was mended.

    Raises:
        BadInput: any finding is an error (with `fix`: one that nothing can be done about); all are collected first.
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
    findings = mend(findings) if fix else findings
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


__all__ = ["Entry", "Inspect", "Listing", "Parse", "assemble", "images_below"]
