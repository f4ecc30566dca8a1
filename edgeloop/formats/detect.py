"""Which layout is this folder? And the one function that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgeloop.errors import BadInput
from edgeloop.formats import voc, yolo
from edgeloop.formats.assemble import assemble
from edgeloop.formats.findings import ReadReport, printable

Format = Literal["auto", "yolo", "voc"]


def detect(folder: Path) -> Literal["yolo", "voc"]:
    """The layout of a labelled set.

    Raises:
        BadInput: no such folder, nothing in it, or no known layout; the message lists what was looked for.
    """
    if not folder.is_dir():
        came = "a file" if folder.exists() else "nothing"
        raise BadInput(f"{printable(folder)}: expected the folder of a labelled set, came {came}.")
    if voc.folders(folder) is not None:
        return "voc"
    if yolo.image_folders(folder):
        return "yolo"
    empty = next(folder.iterdir(), None) is None
    raise BadInput(
        f"{printable(folder)} {'is empty' if empty else 'holds no labelled set'}: expected YOLO (data.yaml, images/ "
        f"and labels/, or train/images/ and train/labels/) or Pascal VOC (JPEGImages/ and Annotations/*.xml)."
    )


def read(folder: Path, format: Format = "auto", names: Sequence[str] | None = None) -> ReadReport:  # noqa: A002
    """Read and check a labelled set: every image decoded, every box inside its image, every content once.

    Args:
        folder: the set's top folder.
        format: its layout; "auto" looks.
        names: class names for a set that has none of its own, index is the class id; they win over the set's.

    Raises:
        BadInput: the folder is not such a set, holds no image, or has errors; all of them are counted in one sentence.
    """
    layout = detect(folder) if format == "auto" or not folder.is_dir() else format
    if layout == "voc":
        listing, annotations = voc.list_set(folder, names)
        _require_images(folder, bool(listing.entries or listing.findings))
        return assemble(
            listing, lambda entry, fact: voc.read_labels(entry, fact, annotations[entry.annotation], listing.names)
        )
    listing = yolo.list_set(folder, names)
    _require_images(folder, bool(listing.entries or listing.findings))
    return assemble(listing, lambda entry, fact: yolo.read_labels(entry, fact, listing.names))


def _require_images(folder: Path, found: bool) -> None:
    if not found:
        raise BadInput(f"{printable(folder)} holds no images: expected .jpg, .png, .bmp, .webp or .tif files in it.")
