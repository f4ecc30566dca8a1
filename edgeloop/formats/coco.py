"""COCO detection sets: one JSON document for many images, boxes as x, y, width, height in pixels.

An image that is listed and has no box is a confirmed background. Segmentations are not read; a box around a crowd is
left out with a warning, since it says "many" and not "where".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.formats.assemble import Entry, Listing, Parse
from edgeloop.formats.check import Sheet, Written, checked
from edgeloop.formats.classes import Classes, match_names, refuse_unusable
from edgeloop.formats.coco_files import Document, find_documents, image_path, image_root
from edgeloop.formats.coco_records import Content, Id, Picture, read_document
from edgeloop.formats.export import Copier
from edgeloop.formats.findings import Finding, error, printable, refuse_errors, utf8, warning
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.paths import images_below, unsafe
from edgeloop.frames import Label, LabelledFrame


@dataclass
class _Pages:
    """What is put together from all documents: an entry for each image a document lists, with its sheet."""

    sheets: dict[Entry, Sheet] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def open_set(folder: Path, names: Sequence[str] | None = None) -> tuple[Listing, Parse]:
    """What the set holds, and how to read the labels of one of its images.

    Args:
        folder: the set's top folder.
        names: names that labels shall be given in; None takes the categories in the order of their ids.

    Raises:
        BadInput: no document, or no category in any.
    """
    documents = find_documents(folder)
    if not documents:
        raise BadInput(f"{printable(folder)} is not a COCO set: expected a .json with images, annotations, categories.")
    contents = {document: read_document(document.path) for document in documents}
    classes = _classes(folder, contents, names)
    pages = _Pages(findings=[*classes.findings, *(one for content in contents.values() for one in content.findings)])
    images = {str(path): path for path in images_below(folder)}
    for document, content in contents.items():
        _add(folder, (document, content), images, classes, pages)
    pages.findings += _unlisted(folder, {str(entry.image) for entry in pages.sheets}, images)
    entries = tuple(sorted(pages.sheets, key=lambda entry: (entry.image, entry.annotation)))
    listing = Listing(folder, f"coco:{utf8(folder.resolve().name)}", classes.names, entries, tuple(pages.findings))

    def parse(entry: Entry, fact: ImageFacts) -> tuple[list[Label], list[Finding]]:
        return checked(entry.annotation, pages.sheets[entry], entry.image, fact)

    return listing, parse


def _classes(folder: Path, contents: Mapping[Document, Content], names: Sequence[str] | None) -> Classes:
    """The categories of all documents, matched by name: their ids may differ from document to document."""
    spellings = [name for content in contents.values() for name in content.categories.values()]
    if not spellings and not names:
        refuse_errors(folder, [finding for content in contents.values() for finding in content.findings])
        raise BadInput(f"{printable(folder)} names no classes: its .json has no categories. Give the names.")
    return match_names(next(iter(contents)).path, spellings, names)


def _add(
    folder: Path, page: tuple[Document, Content], images: Mapping[str, Path], classes: Classes, pages: _Pages
) -> None:
    """The images that one document lists, and what of it has no partner."""
    document, content = page
    inner = {number: _plain_name(picture.name) for number, picture in content.images.items()}
    root = image_root(folder, document.path, list(inner.values()), images)
    for number, picture in content.images.items():
        image = _image_of(document.path, picture, image_path(root, inner[number]), images)
        sheet = _sheet(document.path, content, number, classes)
        if isinstance(image, Finding):
            pages.findings.append(image)
        else:
            entry = Entry(image, document.path, document.side)
            pages.sheets[entry] = _joined(pages.sheets[entry], sheet) if entry in pages.sheets else sheet
    for number in content.boxes.keys() - content.images.keys():
        count = len(content.boxes[number])
        reason = f"{'a box' if count == 1 else f'{count} boxes'} for the image {number}, which it does not list"
        pages.findings.append(error("label-without-image", document.path, reason))


def _plain_name(name: str) -> str:
    return name.replace("\\", "/")


def _image_of(path: Path, picture: Picture, place: str, images: Mapping[str, Path]) -> Path | Finding:
    if why := unsafe(picture.name):
        return error("path-traversal", path, f"file_name {picture.name[:80]!r} {why}")
    return images.get(place) or error("label-without-image", path, f"expected {printable(place)[:200]}")


def _sheet(path: Path, content: Content, number: Id, classes: Classes) -> Sheet:
    boxes, findings = [], []
    for marked in content.boxes.get(number, ()):
        name = content.categories.get(marked.category)
        class_id = classes.ids.get(name) if name is not None else None
        if class_id is not None:
            boxes.append(Written(class_id, marked.box, marked.place))
            continue
        reason = f"category {marked.category} is not listed" if name is None else classes.unknown(name)
        findings.append(error("unknown-class", path, f"{marked.place}: {reason}"))
    return Sheet(tuple(boxes), content.images[number].size, tuple(findings))


def _joined(one: Sheet, other: Sheet) -> Sheet:
    """An image that is listed twice in one document has the boxes of both."""
    return Sheet(one.boxes + other.boxes, one.drawn or other.drawn, one.findings + other.findings)


def _unlisted(folder: Path, listed: set[str], images: Mapping[str, Path]) -> list[Finding]:
    """Images beside listed ones that are listed nowhere are errors; a whole folder of them (COCO's test2017/) is one
    warning.
    """
    folders = {str(images[place].parent) for place in listed}
    findings: list[Finding] = []
    strange: dict[Path, int] = {}
    for place, image in images.items():
        if place in listed:
            continue
        if str(image.parent) in folders:
            findings.append(error("image-without-label", image, "no document lists it"))
        else:
            strange[image.parent] = strange.get(image.parent, 0) + 1
    reason = "images that no document lists; left out"
    return findings + [warning("unlisted-images", place, f"{count} {reason}") for place, count in strange.items()]


def write_set(folder: Path, frames: Iterable[LabelledFrame], names: Sequence[str]) -> Path:
    """Write frames as a COCO set, one document a side in annotations/ and the images in images/; returns the folder.

    Boxes come back within 0.005 pixels at each border. Frames without a side stand in instances_all.json.

    Raises:
        BadInput: a class name that could not be read back.
    """
    refuse_unusable(folder, names)
    sides: dict[str, dict[str, list[dict[str, object]]]] = {}
    copier = Copier()
    for frame in frames:
        side: str = frame.split or "all"
        document = sides.setdefault(side, {"images": [], "annotations": []})
        image = copier.copy(frame.frame, folder / "images" / side)
        number, size = len(document["images"]) + 1, (frame.frame.width, frame.frame.height)
        document["images"].append({"id": number, "file_name": image.name, "width": size[0], "height": size[1]})
        for label in frame.labels:
            marked = _record(label)
            document["annotations"].append({"id": len(document["annotations"]) + 1, "image_id": number, **marked})
    categories = [{"id": index, "name": name} for index, name in enumerate(names, 1)]
    for side, document in sides.items():
        text = json.dumps({**document, "categories": categories}, ensure_ascii=False)
        write_text(folder / "annotations" / f"instances_{side}.json", text + "\n")
    return folder


def _record(label: Label) -> dict[str, object]:
    x1, y1, x2, y2 = (round(value, 2) for value in label.box)
    area = round((x2 - x1) * (y2 - y1), 2)
    box = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
    return {"category_id": label.class_id + 1, "bbox": box, "area": area, "iscrowd": 0}
