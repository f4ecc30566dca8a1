"""From boxes as an annotation has them to boxes that lie in their image; the same rules for every format.

What can be mended is mended here, always, and reported as an error: without `--fix` any error refuses the whole set,
so that no mended box gets any further (`edgeloop.formats.findings.mend`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeloop.formats.findings import Finding, error, warning
from edgeloop.formats.headers import QUARTER_TURNS, read_header
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.rules import Kind
from edgeloop.frames import Label

Box = tuple[float, float, float, float]
Size = tuple[int, int]
Move = Callable[[Box], Box]

SLACK_PIXELS = 1.0  # a box may overhang the border by a rounding error: this, or
SLACK_SHARE = 0.005  # this share of the side, whichever is more
MINIMUM_SIDE = 0.1  # pixels; a thinner box shows nothing and would not survive six decimals in a label file
MAXIMUM_BOXES = 10_000  # on one image; the most crowded public sets stay below 3,000


@dataclass(frozen=True)
class Written:
    """A box as an annotation has it.

    Attributes:
        class_id: index into the names of the set.
        box: x1, y1, x2, y2 in pixels of the size it was drawn on.
        place: where in the annotation, for people.
    """

    class_id: int
    box: Box
    place: str


@dataclass(frozen=True)
class Sheet:
    """What one annotation says of one image.

    Attributes:
        boxes: as they stand.
        drawn: width and height of the image they were drawn on; None when the annotation does not say.
        findings: what was wrong already while it was read.
    """

    boxes: tuple[Written, ...]
    drawn: Size | None = None
    findings: tuple[Finding, ...] = ()


def checked(annotation: Path, sheet: Sheet, image: Path, fact: ImageFacts) -> tuple[list[Label], list[Finding]]:
    """The labels of one image, each inside it, and what is wrong with them."""
    findings = list(sheet.findings)
    if len(sheet.boxes) > MAXIMUM_BOXES:
        reason = f"{len(sheet.boxes)} boxes on one image, at most {MAXIMUM_BOXES}"
        return [], [*findings, error("unreadable-label", annotation, reason)]
    move, problem = _onto(annotation, sheet.drawn, image, fact)
    findings += [problem] if problem else []
    labels: list[Label] = []
    for written in sheet.boxes if move else ():
        box, problems = settle(move(written.box) if move else written.box, fact.width, fact.height)
        findings += [_finding(annotation, written.place, problem) for problem in problems]
        labels += [Label(written.class_id, box)] if box else []
    kept, repeated = distinct_labels(labels, annotation)
    return kept, findings + repeated


def _onto(annotation: Path, drawn: Size | None, image: Path, fact: ImageFacts) -> tuple[Move | None, Finding | None]:
    """How boxes come from the size they were drawn on to the image's; None when nobody can say."""
    size = fact.width, fact.height
    if drawn is None or drawn == size:
        return _stay, None
    reason = f"drawn on {_times(drawn)}, the image is {_times(size)}"
    orientation = read_header(image).orientation if drawn == size[::-1] else 1
    if orientation in QUARTER_TURNS:
        reason += f" after its EXIF orientation ({orientation}) is applied"
        return lambda box: turn(box, orientation, drawn), error("turned-annotation", annotation, reason)
    if _same_aspect(drawn, size):
        x, y = fact.width / drawn[0], fact.height / drawn[1]
        fix = f"boxes scaled by {x:.4g}"
        return lambda box: _scaled(box, x, y), error("size-mismatch", annotation, reason, fix)
    return None, error("size-mismatch", annotation, reason)


def _stay(box: Box) -> Box:
    return box


def _scaled(box: Box, x: float, y: float) -> Box:
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _times(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _same_aspect(drawn: Size, size: Size) -> bool:
    """Whether one is the other resized, each side rounded to a whole pixel."""
    if min(drawn) < 1:
        return False
    small, large = (drawn, size) if drawn[0] < size[0] else (size, drawn)
    return abs(large[0] * small[1] - small[0] * large[1]) < max(large)  # one pixel of the smaller picture


def turn(box: Box, orientation: int, drawn: Size) -> Box:
    """A box on an image as it is stored, on the image as it is shown (EXIF 2.32, tag 274).

    Args:
        box: x1, y1, x2, y2 in pixels of the stored image.
        orientation: 1 to 8.
        drawn: width and height of the stored image.
    """
    width, height = drawn
    x1, y1, x2, y2 = box
    if orientation in (2, 3, 7, 8):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = height - y2, height - y1
    return (y1, x1, y2, x2) if orientation in QUARTER_TURNS else (x1, y1, x2, y2)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one box, and how it was mended; `fix` is "" when it was not."""

    kind: Kind
    reason: str
    fix: str = ""


def _finding(path: Path, place: str, problem: Problem) -> Finding:
    reason = f"{place}: {problem.reason}"
    if problem.kind == "zero-area":
        return warning("zero-area", path, reason)
    return error(problem.kind, path, reason, problem.fix)


def settle(box: Box, width: int, height: int) -> tuple[Box | None, list[Problem]]:
    """A box that lies in its image (xyxy pixels), or None, and what was wrong with it.

    An overhang of at most one pixel or 0.5 % of the side is a rounding error and is cut off without a word. A box whose
    centre lies outside belongs to another picture and is not cut.
    """
    x1, y1, x2, y2 = box
    ordered = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if _is_thin(ordered):
        return None, [Problem("zero-area", f"box {_shown(box)} has no area")]
    problems = []
    if ordered != box:
        problems.append(Problem("swapped-corners", f"box {_shown(box)} ends before it begins", "corners put in order"))
    inside = _cut(ordered, width, height)
    if _leaves(ordered, width, height):
        reason = f"box {_shown(ordered)} leaves the {width} × {height} image"
        if not _centred(ordered, width, height) or _is_thin(inside):
            return None, [*problems, Problem("box-outside", reason)]
        problems.append(Problem("box-outside", reason, f"cut to {_shown(inside)}"))
    if _is_thin(inside):
        return None, [Problem("zero-area", f"box {_shown(ordered)} has no area inside the {width} × {height} image")]
    return inside, problems


def _is_thin(box: Box) -> bool:
    return not (box[2] - box[0] >= MINIMUM_SIDE and box[3] - box[1] >= MINIMUM_SIDE)


def _cut(box: Box, width: int, height: int) -> Box:
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))


def _leaves(box: Box, width: int, height: int) -> bool:
    x, y = max(SLACK_PIXELS, SLACK_SHARE * width), max(SLACK_PIXELS, SLACK_SHARE * height)
    return box[0] < -x or box[1] < -y or box[2] > width + x or box[3] > height + y


def _centred(box: Box, width: int, height: int) -> bool:
    return 0 <= (box[0] + box[2]) / 2 <= width and 0 <= (box[1] + box[3]) / 2 <= height


def _shown(box: Box) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def distinct_labels(labels: list[Label], path: Path) -> tuple[list[Label], list[Finding]]:
    """The labels without exact repetitions, and a warning for each annotation that had some."""
    kept = list(dict.fromkeys(labels))
    repeated = len(labels) - len(kept)
    reason = f"{repeated} {'box' if repeated == 1 else 'boxes'} repeated exactly, kept once"
    return kept, [warning("duplicate-box", path, reason)] if repeated else []
