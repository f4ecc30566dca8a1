"""What is worth knowing about a set that was read, and changes nothing: links, colour modes, EXIF, suspicious boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeloop.formats.findings import Finding, in_set, notice, printable
from edgeloop.formats.headers import UPRIGHT, Header, read_header
from edgeloop.formats.paths import Inside
from edgeloop.formats.rules import Kind
from edgeloop.formats.suspicious import suspicious
from edgeloop.frames import LabelledFrame
from edgeloop.near_duplicates import partners
from edgeloop.progress import bar

# What becomes of a picture of each mode: detectors are trained on, and run on, three channels of 8 bits.
DECODED = {
    "grey": "the grey is repeated in three channels",
    "palette": "the colours are looked up",
    "alpha": "the transparency is dropped, and what lies beneath shows",
    "CMYK": "the colours are converted without their profile",
    "more than 8 bits": "only the upper 8 bits of each value are kept",
}


def notices(
    folder: Path, frames: Sequence[LabelledFrame], names: Sequence[str], files: Iterable[Path]
) -> list[Finding]:
    """Every notice about a set.

    Args:
        folder: the set's.
        frames: what was taken in.
        names: of their classes.
        files: images and annotations that were read.
    """
    images = [frame.frame.image for frame in frames]
    headers = [read_header(image) for image in bar(images, "reading headers", len(images))]
    return [*linked(folder, files), *_modes(images, headers), *_turned(images, headers), *suspicious(frames, names)]


def linked(folder: Path, files: Iterable[Path]) -> list[Finding]:
    """Links out of the folder are followed, since sets are made of links into an archive of images; this says so."""
    inside = Inside(folder)
    outside = [path for path in dict.fromkeys(files) if not inside.holds(path)]
    return _counted("linked-outside", outside, "reached by a link that leads out of the set, and taken in")


def nearly_repeated(folder: Path, frames: Sequence[LabelledFrame], known: Mapping[str, int]) -> list[Finding]:
    """A notice for every frame that nearly shows what another one shows, with one that it is near to.

    Args:
        folder: the set's.
        frames: of the set, each content once.
        known: perceptual hashes of the data set's frames by their ids; those of the set itself do not count.
    """
    seen = [(one.frame.image, look) for one in frames if (look := one.frame.perceptual_hash) is not None]
    others = sorted(known.keys() - {one.frame.frame_id for one in frames})
    names = [printable(in_set(folder, image).as_posix()) for image, _ in seen]
    names += [f"the frame {name} of the data set" for name in others]
    found = partners([look for _, look in seen], [known[name] for name in others])
    reasons = {at: f"nearly shows {names[other]}, {_counted_bits(bits)} apart" for at, (other, bits) in found.items()}
    return [notice("near-duplicate", seen[at][0], reason) for at, reason in reasons.items()]


def _counted_bits(bits: int) -> str:
    return "1 bit" if bits == 1 else f"{bits} bits"


def _modes(images: Sequence[Path], headers: Sequence[Header]) -> list[Finding]:
    findings = []
    for mode, becomes in DECODED.items():
        found = [image for image, header in zip(images, headers, strict=True) if mode in header.modes]
        what = f"{mode} ({becomes})" if mode != "alpha" else f"with transparency ({becomes})"
        findings += _counted("colour-mode", found, what)
    return findings


def _turned(images: Sequence[Path], headers: Sequence[Header]) -> list[Finding]:
    found = [image for image, header in zip(images, headers, strict=True) if header.orientation != UPRIGHT]
    what = "turned as their EXIF orientation says when they are decoded; make sure that the boxes were drawn so"
    return _counted("exif-rotation", found, what)


def _counted(kind: Kind, found: Sequence[Path], what: str) -> list[Finding]:
    """One notice for all files, named by the first: a set of 100,000 grey images has one thing to say."""
    if not found:
        return []
    first = printable(found[0].name)
    reason = f"{first} is {what}" if len(found) == 1 else f"{len(found)} files are {what}; the first is {first}"
    return [notice(kind, found[0], reason)]
