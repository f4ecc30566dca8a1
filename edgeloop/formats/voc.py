"""Pascal VOC detection sets: JPEGImages/, Annotations/*.xml and, when it is there, ImageSets/Main/{train,val,test}.txt.

Corners are read as they stand, in pixels from the image's top left corner, as LabelImg writes them. The original
VOC counts pixels from 1, which moves a box by one pixel; the files do not say which of the two they mean.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree  # only its tree; parsing is expat's, with document types refused
from xml.parsers import expat
from xml.sax.saxutils import escape

from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.formats.assemble import Box, Entry, Listing, distinct_labels, files_below, images_below, settle
from edgeloop.formats.findings import Finding, error, printable, refuse_errors, warning
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.yolo import MAXIMUM_LABEL_BYTES, SIDES
from edgeloop.frames import Label, LabelledFrame, Split

IMAGE_FOLDERS = ("JPEGImages", "images")
ANNOTATION_FOLDERS = ("Annotations", "annotations")


class BadAnnotation(ValueError):
    """An annotation file that cannot be used; becomes a finding."""


@dataclass(frozen=True)
class Annotation:
    """One XML file: the image it names, the size it was drawn on (None when it does not say), its boxes."""

    filename: str
    size: tuple[int, int] | None
    objects: tuple[tuple[str, Box], ...]


def folders(folder: Path) -> tuple[Path, Path] | None:
    """The image and the annotation folder of a VOC set, None when the folder is not one."""
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    annotations = next((folder / name for name in ANNOTATION_FOLDERS if (folder / name).is_dir()), None)
    if images is None or annotations is None or next(files_below(annotations, frozenset({".xml"})), None) is None:
        return None
    return images, annotations


def parse_annotation(content: bytes) -> Annotation:
    """Parse one annotation.

    Raises:
        BadAnnotation: not XML, a document type (where entity bombs live), or a field missing or not a number.
    """
    root = parse_xml(content)
    if root.tag != "annotation":
        raise BadAnnotation(f"expected <annotation>, came <{root.tag[:40]}>")
    size = root.find("size")
    drawn = None if size is None else (int(_number(size, "width")), int(_number(size, "height")))
    objects = tuple((_text(item, "name"), _corners(item)) for item in root.iterfind("object"))
    return Annotation((root.findtext("filename") or "").strip(), None if drawn == (0, 0) else drawn, objects)


def parse_xml(content: bytes) -> ElementTree.Element:
    """A tree from XML that has no document type, so no entities of its own and nothing to fetch."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()  # type: ignore[attr-defined, unused-ignore]
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as problem:
        raise BadAnnotation(f"not XML: {problem}") from problem
    return builder.close()


def _refuse_doctype(*_: object) -> None:
    raise BadAnnotation("it declares a document type, which could hold entity bombs; remove the <!DOCTYPE> line")


def _text(item: ElementTree.Element, tag: str) -> str:
    text = (item.findtext(tag) or "").strip()
    if not text:
        raise BadAnnotation(f"<{item.tag}> without <{tag}>")
    return text


def _number(item: ElementTree.Element, tag: str) -> float:
    text = _text(item, tag)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadAnnotation(f"<{tag}> is {text[:40]!r}, expected a number")
    return value


def _corners(item: ElementTree.Element) -> Box:
    box = item.find("bndbox")
    if box is None:
        raise BadAnnotation("<object> without <bndbox>")
    return _number(box, "xmin"), _number(box, "ymin"), _number(box, "xmax"), _number(box, "ymax")


def read_annotations(folder: Path) -> tuple[dict[Path, Annotation], list[Finding]]:
    """Every annotation of a set by path, and those that could not be used."""
    read = {path: _read_annotation(path) for path in files_below(folder, frozenset({".xml"}))}
    parsed = {path: item for path, item in read.items() if isinstance(item, Annotation)}
    return parsed, [item for item in read.values() if isinstance(item, Finding)]


def _read_annotation(path: Path) -> Annotation | Finding:
    try:
        size = path.stat().st_size
        if size <= MAXIMUM_LABEL_BYTES:
            return parse_annotation(path.read_bytes())
    except (OSError, BadAnnotation) as problem:
        return error("unreadable-label", path, str(problem))
    return error("unreadable-label", path, f"{size / 1e6:.0f} MB of XML")


def list_set(folder: Path, names: Sequence[str] | None = None) -> tuple[Listing, dict[Path, Annotation]]:
    """Pair images with annotations; class names are those that occur, sorted, unless given.

    Raises:
        BadInput: no class name anywhere.
    """
    found = folders(folder)
    if found is None:
        raise BadInput(f"{printable(folder)} is not a VOC set: expected JPEGImages/ and Annotations/ with .xml files.")
    images, annotations = found
    parsed, findings = read_annotations(annotations)
    unreadable = {finding.path.stem for finding in findings}
    pictures = {image.relative_to(images).with_suffix("").as_posix(): image for image in images_below(images)}
    sides = _sides(folder)
    entries: dict[Path, Entry] = {}
    for path, annotation in parsed.items():
        image = _image_of(path, annotation, images, pictures)
        if isinstance(image, Finding):
            findings.append(image)
        else:
            entries[image] = Entry(image, path, sides.get(image.stem))
    bare = [image for image in pictures.values() if image not in entries and image.stem not in unreadable]
    findings += [error("image-without-label", image, "") for image in bare]
    known = tuple(names or sorted({name for annotation in parsed.values() for name, _ in annotation.objects}))
    if not known:
        refuse_errors(folder, findings)
        raise BadInput(f"{printable(folder)} names no classes: no annotation holds an <object>. Give the names.")
    ordered = tuple(entries[image] for image in sorted(entries))
    return Listing(folder, f"voc:{folder.resolve().name}", known, ordered, tuple(findings)), parsed


def _image_of(path: Path, annotation: Annotation, images: Path, pictures: dict[str, Path]) -> Path | Finding:
    """The image with the annotation's own stem; else the one its <filename> names, which must lie in the folder."""
    named = PurePosixPath(annotation.filename.replace("\\", "/"))
    if named.is_absolute() or ".." in named.parts or ":" in annotation.filename:
        return error("path-traversal", path, f"<filename> is {annotation.filename[:80]!r}")
    image = pictures.get(path.stem) or pictures.get(named.with_suffix("").as_posix() if named.name else "")
    return image or error("label-without-image", path, f"expected {images.name}/{path.stem}.jpg")


def _sides(folder: Path) -> dict[str, Split]:
    """Side by image stem from ImageSets/Main; only the files named for a side count (trainval.txt repeats them)."""
    found: dict[str, Split] = {}
    for name, side in SIDES.items():
        path = folder / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            found |= {line.split()[0]: side for line in path.read_text("utf-8", "replace").splitlines() if line.strip()}
    return found


def read_labels(
    entry: Entry, fact: ImageFacts, annotation: Annotation, names: Sequence[str]
) -> tuple[list[Label], list[Finding]]:
    """The boxes of one annotation, and what is wrong with them."""
    if annotation.size and annotation.size != (fact.width, fact.height):
        drawn = " × ".join(str(side) for side in annotation.size)
        reason = f"drawn on {drawn}, the image is {fact.width} × {fact.height}"
        return [], [error("size-mismatch", entry.annotation, reason)]
    parsed = [_object(entry.annotation, item, fact, names) for item in annotation.objects]
    labels, repeated = distinct_labels([item for item in parsed if isinstance(item, Label)], entry.annotation)
    return labels, [item for item in parsed if isinstance(item, Finding)] + repeated


def _object(path: Path, item: tuple[str, Box], fact: ImageFacts, names: Sequence[str]) -> Label | Finding:
    name, box = item
    if name not in names:
        return error("unknown-class", path, f"class {name[:40]!r}, expected one of {', '.join(names)}")
    settled = settle(box, fact.width, fact.height)
    if len(settled) == 4:
        return Label(names.index(name), settled)
    kind, reason = settled
    make = warning if kind == "zero-area" else error
    return make(kind, path, f"{name}: {reason}")


def annotation_text(frame: LabelledFrame, names: Sequence[str]) -> str:
    """The annotation of one frame as XML; corners with two decimals where they are not whole."""
    objects = "".join(_object_text(names[label.class_id], label.box) for label in frame.labels)
    return (
        f"<annotation>\n  <filename>{escape(frame.frame.image.name)}</filename>\n"
        f"  <size><width>{frame.frame.width}</width><height>{frame.frame.height}</height><depth>3</depth></size>\n"
        f"{objects}</annotation>\n"
    )


def _object_text(name: str, box: Box) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    corners = "".join(f"<{tag}>{f'{value:.2f}'.rstrip('0').rstrip('.')}</{tag}>" for tag, value in tags)
    return f"  <object><name>{escape(name)}</name><bndbox>{corners}</bndbox></object>\n"


def write_set(folder: Path, frames: Iterable[LabelledFrame], names: Sequence[str]) -> Path:
    """Write frames as a VOC set with ImageSets/Main for the sides that frames name; returns the folder."""
    sides: dict[str, list[str]] = {}
    for frame in frames:
        image = folder / "JPEGImages" / frame.frame.image.name
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.frame.image, image)
        write_text(folder / "Annotations" / f"{image.stem}.xml", annotation_text(frame, names))
        if frame.split:
            sides.setdefault("test" if frame.split == "audit" else frame.split, []).append(image.stem)
    for side, stems in sides.items():
        write_text(folder / "ImageSets" / "Main" / f"{side}.txt", "".join(f"{stem}\n" for stem in stems))
    return folder
