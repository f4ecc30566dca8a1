"""Lists of images that a YOLO set's data.yaml names in place of folders: text files with one image path a line.

Ultralytics takes a path that begins with `./` from the list's folder and any other from where it was started. Here the
others are looked for from data.yaml's `path:`, from the set's folder and from the list's. None leads out of the set.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.formats.assemble import Entry
from edgeloop.formats.copies import STRICTEST
from edgeloop.formats.data_yaml import base_of, image_lists, is_inside, label_of
from edgeloop.formats.findings import Finding, error, printable, warning
from edgeloop.formats.images import SUFFIXES
from edgeloop.frames import Split

MAXIMUM_BYTES = 64 * 1000 * 1000  # of one list; that of COCO's 118,287 training images has 4


@dataclass(frozen=True)
class _Line:
    """One line of a list: its number, what it says, and the image, None where there is none."""

    number: int
    text: str
    image: Path | None


def listed_entries(folder: Path, taken: Mapping[Path, Entry]) -> tuple[list[Entry], list[Finding]]:
    """The images of all lists with their labels, and what is wrong with the lists; `taken` are those of folders.

    An image that is named for several sides is on the strictest. Images beside listed ones that no list names are left
    out with a warning.

    Raises:
        BadInput: a list is too large or cannot be read.
    """
    sides: dict[Path, set[Split | None]] = {}
    findings: list[Finding] = []
    for path, side in image_lists(folder):
        for line in _lines(folder, path):
            if line.image is None:
                findings.append(error("label-without-image", path, _said(line, "is not there")))
            elif not is_inside(folder, line.image):
                findings.append(error("path-traversal", path, _said(line, "is not in the set; move it there")))
            else:
                sides.setdefault(line.image, {taken[line.image].split} if line.image in taken else set()).add(side)
    entries = [Entry(image, label_of(folder, image), _strictest(named)) for image, named in sides.items()]
    kept = [one for one in entries if one.annotation.is_file()]
    labelled = {one.image for one in kept}
    bare = [error("image-without-label", image, "") for image in sides if image not in labelled]
    return kept, [*findings, *bare, *_unlisted(set(sides), taken)]


def first_listed_label(folder: Path) -> Path | None:
    """The label file of the first listed image that has one."""
    images = (line.image for path, _ in image_lists(folder) for line in _lines(folder, path))
    labels = (label_of(folder, image) for image in images if image is not None and is_inside(folder, image))
    return next((label for label in labels if label.is_file()), None)


def _lines(folder: Path, path: Path) -> Iterator[_Line]:
    base = base_of(folder)
    for number, text in enumerate(_text(path).splitlines(), 1):
        if text.strip():
            yield _Line(number, text.strip(), _image(text.strip(), folder, base, path.parent))


def _image(text: str, folder: Path, base: Path, beside: Path) -> Path | None:
    """Where a line leads; of several that exist, one inside the set is meant."""
    places = (beside,) if text.startswith("./") else (base, folder, beside)
    names = dict.fromkeys((text, text.replace("\\", "/")))  # lists that were written on Windows
    tries = [Path(os.path.normpath(place / name)) for name in names for place in places]
    there = [place for place in tries if os.path.isfile(place)]  # noqa: PTH113  # False for what is no name at all
    return next((place for place in there if is_inside(folder, place)), there[0] if there else None)


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > MAXIMUM_BYTES:
            raise BadInput(f"{printable(path)} has {size / 1e6:.0f} MB; expected at most {MAXIMUM_BYTES / 1e6:.0f}.")
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as problem:
        raise BadInput(f"{printable(path)} cannot be read ({problem.strerror}); expected image paths.") from problem


def _said(line: _Line, what: str) -> str:
    return f"line {line.number}: {printable(line.text[:80])} {what}"


def _strictest(named: set[Split | None]) -> Split | None:
    return next((side for side in STRICTEST if side in named), None)


def _unlisted(listed: set[Path], taken: Collection[Path]) -> list[Finding]:
    found = [
        image
        for place in sorted({image.parent for image in listed})
        for image in sorted(place.iterdir())
        if image.suffix.lower() in SUFFIXES and image not in listed and image not in taken
    ]
    if not found:
        return []
    what = f"{len(found)} beside listed images, in no list; the first is {printable(found[0].name)}"
    return [warning("unlisted-images", found[0], what)]
