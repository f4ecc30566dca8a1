"""YOLO detection sets: one .txt per image, a line `class centre-x centre-y width height` in shares of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.files import write_text
from edgeloop.formats.assemble import Entry, Listing, Parse
from edgeloop.formats.check import MAXIMUM_BOXES, Sheet, Written, checked
from edgeloop.formats.classes import Classes, match_names, refuse_unusable
from edgeloop.formats.data_yaml import (
    CLASS_FILES,
    SIDES,
    find_yaml,
    has_names,
    image_folders,
    labels_place,
    outside,
    set_names,
    yaml_text,
)
from edgeloop.formats.export import Copier
from edgeloop.formats.findings import Finding, error, printable, utf8
from edgeloop.formats.image_list import first_listed_label, listed_entries
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.paths import files_below, images_below
from edgeloop.frames import SPLITS, Label, LabelledFrame, Split

MAXIMUM_LABEL_BYTES = 16 * 1000 * 1000


def open_set(folder: Path, names: Sequence[str] | None = None) -> tuple[Listing, Parse]:
    """What the set holds, and how to read the labels of one of its images.

    Args:
        folder: the set's top folder.
        names: names that labels shall be given in; the set's own are matched with them, and are those where the set
            has none.

    Raises:
        BadInput: no class names, or a data.yaml that cannot be used.
    """
    own = tuple(names) if names and not has_names(folder) else set_names(folder)
    classes = match_names(find_yaml(folder) or folder, own, names)
    listing = _listing(folder, classes)
    numbered = Numbered(own, classes)

    def parse(entry: Entry, fact: ImageFacts) -> tuple[list[Label], list[Finding]]:
        return checked(entry.annotation, _sheet(entry.annotation, fact, numbered), entry.image, fact)

    return listing, parse


def list_set(folder: Path, names: Sequence[str] | None = None) -> Listing:
    """Pair images with label files.

    Raises:
        BadInput: no class names, or a data.yaml that cannot be used.
    """
    return open_set(folder, names)[0]


def _listing(folder: Path, classes: Classes) -> Listing:
    findings = [*classes.findings, *(_strange_place(folder, place) for place in outside(folder))]
    entries: dict[Path, Entry] = {}
    for images, side in image_folders(folder):
        paired, found = _pair(images, labels_place(folder, images), side)
        entries |= {entry.image: entry for entry in paired}
        findings += found
    listed, found = listed_entries(folder, entries)
    entries |= {entry.image: entry for entry in listed}
    findings += found
    source = f"yolo:{utf8(folder.resolve().name)}"
    return Listing(folder, source, classes.names, tuple(entries.values()), tuple(findings))


def _strange_place(folder: Path, place: Path) -> Finding:
    path = find_yaml(folder) or folder
    return error("path-traversal", path, f"it names {printable(place)}, which is not in the set; move it there")


def _pair(images: Path, labels: Path, side: Split | None) -> tuple[list[Entry], list[Finding]]:
    """Match by path below the two folders, whatever the image's suffix; what stays alone is a finding."""
    texts = {path.relative_to(labels).with_suffix(""): path for path in files_below(labels, frozenset({".txt"}))}
    pictures = {image: image.relative_to(images) for image in images_below(images)}
    labelled = {image: inner for image, inner in pictures.items() if inner.with_suffix("") in texts}
    entries = [
        Entry(image, texts[inner.with_suffix("")], side or SIDES.get(inner.parts[0]))
        for image, inner in labelled.items()
    ]
    stems = {inner.with_suffix("") for inner in labelled.values()}
    bare = [error("image-without-label", image, "") for image in pictures if image not in labelled]
    orphans = [path for stem, path in texts.items() if stem not in stems and path.name not in CLASS_FILES]
    return entries, bare + [error("label-without-image", path, "") for path in orphans]


def first_label(folder: Path) -> Path | None:
    """A label file of the set; None when there is none, whatever the folders are called."""
    for images, _ in image_folders(folder):
        texts = files_below(labels_place(folder, images), frozenset({".txt"}))
        found = next((path for path in texts if path.name not in CLASS_FILES), None)
        if found is not None:
            return found if found.is_relative_to(folder) else folder
    listed = first_listed_label(folder)
    return listed if listed is None or listed.is_relative_to(folder) else folder


def read_labels(entry: Entry, fact: ImageFacts, names: Sequence[str]) -> tuple[list[Label], list[Finding]]:
    """The boxes of one label file in pixels, class ids as they stand, and what is wrong with it."""
    numbered = Numbered(names, Classes(tuple(names), {name: index for index, name in enumerate(names)}))
    return checked(entry.annotation, _sheet(entry.annotation, fact, numbered), entry.image, fact)


@dataclass(frozen=True)
class Numbered:
    """What the class numbers in a set's label files mean: its own names, and the classes that labels are given in."""

    own: Sequence[str]
    classes: Classes

    def class_id(self, number: float) -> int | str:
        """The class id of a number, or why it has none."""
        if number != int(number) or not 0 <= number < len(self.own):
            return f"class {number:g}, the names give 0 to {len(self.own) - 1}"
        name = self.own[int(number)]
        return self.classes.ids.get(name, self.classes.unknown(name))


def _sheet(path: Path, fact: ImageFacts, numbered: Numbered) -> Sheet:
    try:
        if path.stat().st_size > MAXIMUM_LABEL_BYTES:
            return _unreadable(path, f"{path.stat().st_size / 1e6:.0f} MB of text")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        return _unreadable(path, f"not UTF-8 text: {problem}")
    if len(lines) > MAXIMUM_BOXES:
        return _unreadable(path, f"{len(lines)} lines, at most {MAXIMUM_BOXES}")
    parsed = [_line(path, n, line, fact, numbered) for n, line in enumerate(lines, 1) if line.strip()]
    boxes = tuple(item for item in parsed if isinstance(item, Written))
    return Sheet(boxes, findings=tuple(item for item in parsed if isinstance(item, Finding)))


def _unreadable(path: Path, reason: str) -> Sheet:
    return Sheet((), findings=(error("unreadable-label", path, reason),))


def _line(path: Path, number: int, line: str, fact: ImageFacts, numbered: Numbered) -> Written | Finding:
    values = _numbers(line)
    if values is None:
        expected = "expected `class centre-x centre-y width height`"
        return error("unreadable-label", path, f"line {number}: {expected}, came {line[:60]!r}")
    class_id = numbered.class_id(values[0])
    if isinstance(class_id, str):
        return error("unknown-class", path, f"line {number}: {class_id}")
    _, x, y, w, h = values
    box = (x - w / 2) * fact.width, (y - h / 2) * fact.height, (x + w / 2) * fact.width, (y + h / 2) * fact.height
    return Written(class_id, box, f"line {number}")


def _numbers(line: str) -> tuple[float, float, float, float, float] | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(values) != 5 or not all(math.isfinite(value) for value in values):
        return None
    return values[0], values[1], values[2], values[3], values[4]


def label_text(labels: Iterable[Label], width: int, height: int) -> str:
    """The label file of one frame: lines sorted, six decimals, so that equal labels give equal bytes."""
    rows = sorted((label.class_id, *_shares(label, width, height)) for label in labels)
    return "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in rows)


def _shares(label: Label, width: int, height: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = label.box
    return (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height


def write_set(folder: Path, frames: Iterable[LabelledFrame], names: Sequence[str]) -> Path:
    """Write frames as a YOLO set with images/ and labels/, in sides where frames have one; returns data.yaml's path.

    Boxes come back within 1e-6 of the image's side at each border.

    Raises:
        BadInput: a class name that could not be read back.
    """
    refuse_unusable(folder, names)
    sides: set[str] = set()
    copier = Copier()
    for frame in frames:
        side = frame.split or ""
        sides.add(side)
        image = copier.copy(frame.frame, folder / "images" / side)
        text = label_text(frame.labels, frame.frame.width, frame.frame.height)
        write_text(folder / "labels" / side / f"{image.stem}.txt", text)
    # A data.yaml that names sides hides frames without one; where it names none, readers go by the folders.
    named = [] if "" in sides else [side for side in SPLITS if side in sides]
    return write_text(folder / "data.yaml", yaml_text(names, named))


__all__ = [
    "SIDES",
    "find_yaml",
    "first_label",
    "image_folders",
    "label_text",
    "list_set",
    "open_set",
    "read_labels",
    "set_names",
    "write_set",
    "yaml_text",
]
