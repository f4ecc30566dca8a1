"""Which layout is this folder? And the one function that reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgeloop.errors import BadInput
from edgeloop.formats import coco, coco_files, data_yaml, voc, yolo
from edgeloop.formats.assemble import Inspect, Listing, Parse, assemble
from edgeloop.formats.findings import ReadReport, printable
from edgeloop.formats.images import inspect_all
from edgeloop.formats.notices import notices

Layout = Literal["yolo", "voc", "coco"]
Format = Literal["auto", "yolo", "voc", "coco"]

OPEN: dict[Layout, Callable[[Path, Sequence[str] | None], tuple[Listing, Parse]]] = {
    "yolo": yolo.open_set,
    "voc": voc.open_set,
    "coco": coco.open_set,
}


class TwoLayouts(BadInput):
    """A folder that is labelled twice, in two layouts; whoever gave it must say which one counts."""


class NoLayout(BadInput):
    """A folder that is laid out like no labelled set: it may be something else, such as plain images."""


def detect(folder: Path) -> Layout:
    """The layout of a labelled set: the one that labels are there for.

    Folders of images alone make a YOLO set of missing labels, so annotations of another layout win over them, and so
    they do over a bare data.yaml. Labels in two layouts may contradict each other: nobody but the set's owner knows
    which of them were corrected last.

    Raises:
        TwoLayouts: there are labels in more than one layout.
        NoLayout: nothing is in it, or no known layout; the message lists what was looked for.
        BadInput: no such folder, or a set whose data.yaml is damaged.
    """
    if not folder.is_dir():
        came = "a file" if folder.exists() else "nothing"
        raise BadInput(f"{printable(folder)}: expected the folder of a labelled set, came {came}.")
    found = _evidence(folder)
    if len(found) > 1:
        raise TwoLayouts(
            f"{printable(folder)} is labelled in {len(found)} layouts, which may contradict each other: "
            f"{' and '.join(f'{layout} ({printable(place)})' for layout, place in found.items())}. "
            f"Say which one counts with --format {' or --format '.join(found)}."
        )
    if found:
        return next(iter(found))
    if data_yaml.is_laid_out(folder):
        return "yolo"
    empty = next(folder.iterdir(), None) is None
    raise NoLayout(
        f"{printable(folder)} {'is empty' if empty else 'holds no labelled set'}: expected YOLO (data.yaml, images/ "
        f"and labels/, or train/images/ and train/labels/), Pascal VOC (JPEGImages/ and Annotations/*.xml) or COCO "
        f"(annotations/instances_*.json, train/_annotations.coco.json, or a .json beside the images)."
    )


def _evidence(folder: Path) -> dict[Layout, Path]:
    """For each layout that labels are there for, where the first of them lies in the folder."""
    documents = coco_files.find_documents(folder)
    annotations = voc.folders(folder)
    places: dict[Layout, Path | None] = {
        "voc": annotations[1] if annotations else None,
        "coco": documents[0].path if documents else None,
        "yolo": yolo.first_label(folder),
    }
    return {layout: place.relative_to(folder) for layout, place in places.items() if place is not None}


def read(
    folder: Path,
    format: Format = "auto",  # noqa: A002
    names: Sequence[str] | None = None,
    fix: bool = False,
    inspect: Inspect = inspect_all,
) -> ReadReport:
    """Read and check a labelled set: every image decoded, every box inside its image, every content once.

    Nothing in the folder is ever written.

    Args:
        folder: the set's top folder.
        format: its layout; "auto" looks.
        names: class names that labels shall be given in, index is the class id. A set's own names are matched with
            them by name; they are the names of a YOLO set that has none.
        fix: mend what can be mended (`edgeloop.formats.rules.RULES`), each in `ReadReport.mended`.
        inspect: looks at the images; another one may remember those that it looked at before.

    Raises:
        BadInput: the folder is not such a set, holds no image, or has errors; all of them are counted in one sentence.
    """
    layout = detect(folder) if format == "auto" or not folder.is_dir() else format
    listing, parse = OPEN[layout](folder, names)
    if not listing.entries and not listing.findings:
        raise BadInput(f"{printable(folder)} holds no images: expected .jpg, .png, .bmp, .webp or .tif files in it.")
    report = assemble(listing, parse, inspect, fix)
    if not report.frames:
        raise BadInput(
            f"{printable(folder)} holds no image with its label: {len(report.findings)} were left out or had none."
        )
    files = (path for entry in listing.entries for path in (entry.image, entry.annotation))
    return replace(report, notices=tuple(notices(folder, report.frames, report.names, files)))
