"""What reading a labelled set found: frames, class names, and everything that was wrong, each with path and reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeloop.errors import BadInput
from edgeloop.frames import LabelledFrame
from edgeloop.record import Record

Kind = Literal[
    "image-without-label",
    "label-without-image",
    "unreadable-image",
    "oversized-image",
    "unreadable-label",
    "unknown-class",
    "box-outside",
    "size-mismatch",
    "path-traversal",
    "zero-area",
    "duplicate-box",
    "duplicate-frame",
    "leak",
]

# How one kind reads in the sentence that refuses a set, after its count.
PHRASES: dict[Kind, str] = {
    "image-without-label": "image without a label file (a background needs an empty one)",
    "label-without-image": "label file without its image",
    "unreadable-image": "unreadable image",
    "oversized-image": "oversized image",
    "unreadable-label": "unreadable label",
    "unknown-class": "unknown class",
    "box-outside": "box outside the image",
    "size-mismatch": "annotation for another image size",
    "path-traversal": "file name that leaves the folder",
    "zero-area": "box without area",
    "duplicate-box": "repeated box",
    "duplicate-frame": "repeated frame",
    "leak": "frame that would leak between the sides of the split",
}
NAMED = 3  # paths named for each kind in the sentence that refuses a set


class Finding(Record):
    """One thing that is wrong with a set.

    Attributes:
        severity: an error refuses the whole set; a warning leaves the box or the frame out and goes on.
        kind: which check found it.
        path: the file it is about.
        reason: what was expected and what came, for people.
    """

    severity: Literal["error", "warning"]
    kind: Kind
    path: Path
    reason: str


@dataclass(frozen=True)
class ReadReport:
    """A labelled set, read and checked; no frame occurs twice, no box leaves its image.

    Attributes:
        frames: in the order of their paths.
        names: class names, index is the class id.
        findings: the warnings: what was left out, with path and reason.
        files: image files read; more than `frames` when content repeats.
    """

    frames: tuple[LabelledFrame, ...]
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    files: int


def error(kind: Kind, path: Path, reason: str) -> Finding:
    """A finding that refuses the set."""
    return Finding(severity="error", kind=kind, path=path, reason=reason)


def warning(kind: Kind, path: Path, reason: str) -> Finding:
    """A finding that leaves one box or one frame out."""
    return Finding(severity="warning", kind=kind, path=path, reason=reason)


def refuse_errors(folder: Path, findings: Iterable[Finding]) -> None:
    """Raise when any finding is an error.

    Raises:
        BadInput: one sentence that counts the errors by kind and names the first few files of each.
    """
    by_kind: dict[Kind, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "error":
            by_kind.setdefault(finding.kind, []).append(finding)
    if not by_kind:
        return
    total = sum(len(found) for found in by_kind.values())
    parts = [_phrase(folder, kind, found) for kind, found in by_kind.items()]
    raise BadInput(
        f"{printable(folder)} is not a clean labelled set, {total} {'error' if total == 1 else 'errors'}: "
        f"{'; '.join(parts)}. Nothing was taken in; correct these files and try again."
    )


def _phrase(folder: Path, kind: Kind, found: list[Finding]) -> str:
    named = ", ".join(_named(folder, finding) for finding in found[:NAMED])
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{len(found)} × {PHRASES[kind]}: {named}{more}"


def _named(folder: Path, finding: Finding) -> str:
    path = finding.path
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{printable(shown)} ({finding.reason})" if finding.reason else printable(shown)


def printable(path: Path | str) -> str:
    """A path as people can read it in one line: control characters and undecodable bytes escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(path))
