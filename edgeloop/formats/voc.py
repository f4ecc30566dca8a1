"""Pascal VOC detection sets: JPEGImages/, Annotations/*.xml and, when it is there, ImageSets/Main/{train,val,test}.txt.

Corners are read as they stand, in pixels from the image's top left corner, as LabelImg writes them. The original
VOC counts pixels from 1, which moves a box by one pixel; the files do not say which of the two they mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.formats.assemble import Entry, Listing, Parse
from edgeloop.formats.check import Box, Sheet, Written, checked
from edgeloop.formats.classes import Classes, match_names, refuse_unusable
from edgeloop.formats.data_yaml import SIDES
from edgeloop.formats.export import Copier
from edgeloop.formats.findings import Finding, error, printable, refuse_errors, utf8
from edgeloop.formats.images import ImageFacts
from edgeloop.formats.paths import files_below, images_below, unsafe
from edgeloop.formats.voc_xml import Annotation, BadAnnotation, parse_annotation
from edgeloop.formats.yolo import MAXIMUM_LABEL_BYTES
from edgeloop.frames import Label, LabelledFrame, Split

IMAGE_FOLDERS = ("JPEGImages", "images")
ANNOTATION_FOLDERS = ("Annotations", "annotations")


def folders(folder: Path) -> tuple[Path, Path] | None:
    """The image and the annotation folder of a VOC set, None when the folder is not one."""
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    annotations = next((folder / name for name in ANNOTATION_FOLDERS if (folder / name).is_dir()), None)
    if images is None or annotations is None or next(files_below(annotations, frozenset({".xml"})), None) is None:
        return None
    return images, annotations


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


def open_set(folder: Path, names: Sequence[str] | None = None) -> tuple[Listing, Parse]:
    """What the set holds, and how to read the labels of one of its images.

    Args:
        folder: the set's top folder.
        names: names that labels shall be given in; None takes those that occur, sorted.

    Raises:
        BadInput: no class name anywhere.
    """
    found = folders(folder)
    if found is None:
        raise BadInput(f"{printable(folder)} is not a VOC set: expected JPEGImages/ and Annotations/ with .xml files.")
    annotations, unreadable = read_annotations(found[1])
    entries, strays = _pair(folder, found, annotations, {finding.path.stem for finding in unreadable})
    problems = [*unreadable, *strays]
    classes = _classes(folder, found[1], annotations.values(), names, problems)
    findings = (*classes.findings, *problems)
    listing = Listing(folder, f"voc:{utf8(folder.resolve().name)}", classes.names, entries, findings)

    def parse(entry: Entry, fact: ImageFacts) -> tuple[list[Label], list[Finding]]:
        sheet = _sheet(entry.annotation, annotations[entry.annotation], classes)
        return checked(entry.annotation, sheet, entry.image, fact)

    return listing, parse


def _classes(
    folder: Path, place: Path, annotations: Iterable[Annotation], names: Sequence[str] | None, problems: list[Finding]
) -> Classes:
    """The commonest spelling of each name stands, and names are in the order of the alphabet."""
    counts = Counter(name for annotation in annotations for name, _ in annotation.objects)
    spellings = sorted(counts, key=lambda name: (-counts[name], name))
    if not counts and not names:
        refuse_errors(folder, problems)
        raise BadInput(f"{printable(folder)} names no classes: no annotation holds an <object>. Give the names.")
    return match_names(place, spellings, names or sorted(match_names(place, spellings).names))


def _pair(
    folder: Path, places: tuple[Path, Path], annotations: Mapping[Path, Annotation], unreadable: set[str]
) -> tuple[tuple[Entry, ...], list[Finding]]:
    """Entries in the order of their images, and what has no partner."""
    pictures, findings = _pictures(places[0])
    sides = _sides(folder)
    entries: dict[Path, Entry] = {}
    for path, annotation in annotations.items():
        image = _image_of(path, annotation, path.relative_to(places[1]), pictures)
        if isinstance(image, Finding):
            findings.append(image)
        elif image in entries:
            reason = f"{printable(entries[image].annotation.name)} has its image"
            findings.append(error("label-without-image", path, reason))
        else:
            entries[image] = Entry(image, path, sides.get(image.stem))
    bare = [image for image in pictures.values() if image not in entries and image.stem not in unreadable]
    findings += [error("image-without-label", image, "") for image in bare]
    return tuple(entries[image] for image in sorted(entries)), findings


def _pictures(images: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Images by their path in the folder, without the suffix; of a.jpg and a.png, a.xml can only mean one."""
    pictures: dict[str, Path] = {}
    findings = []
    for image in images_below(images):
        first = pictures.setdefault(image.relative_to(images).with_suffix("").as_posix(), image)
        if first is not image:
            reason = f"{printable(first.name)} has the same name before the dot"
            findings.append(error("image-without-label", image, reason, fix=""))  # which of them was labelled?
    return pictures, findings


def _image_of(path: Path, annotation: Annotation, inner: Path, pictures: Mapping[str, Path]) -> Path | Finding:
    """The image with the annotation's own path in its folder, or stem; else the one its <filename> names."""
    if why := unsafe(annotation.filename):
        return error("path-traversal", path, f"<filename> {annotation.filename[:80]!r} {why}")
    named = PurePosixPath(annotation.filename.replace("\\", "/"))
    tries = (inner.with_suffix("").as_posix(), path.stem, named.with_suffix("").as_posix() if named.name else "")
    image = next((pictures[name] for name in tries if name in pictures), None)
    return image or error("label-without-image", path, f"expected an image named {printable(tries[0])}")


def _sides(folder: Path) -> dict[str, Split]:
    """Side by image stem from ImageSets/Main; only the files named for a side count (trainval.txt repeats them)."""
    found: dict[str, Split] = {}
    for name, side in SIDES.items():
        for line in _lines(folder / "ImageSets" / "Main" / f"{name}.txt"):
            found |= {line.strip(): side, line.split()[0]: side}  # a stem with spaces, or a stem and a flag behind it
    return found


def _lines(path: Path) -> list[str]:
    """The lines of a list that say something, [] when it is not there."""
    if not path.is_file():
        return []
    if (size := path.stat().st_size) > MAXIMUM_LABEL_BYTES:
        raise BadInput(f"{printable(path)} has {size / 1e6:.0f} MB; expected the stems of images, one a line.")
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return [line for line in text.split("\n") if line.strip()]


def _sheet(path: Path, annotation: Annotation, classes: Classes) -> Sheet:
    boxes, findings = [], []
    for name, box in annotation.objects:
        class_id = classes.ids.get(name)
        if class_id is None:
            findings.append(error("unknown-class", path, classes.unknown(name)))
        else:
            boxes.append(Written(class_id, box, name))
    return Sheet(tuple(boxes), annotation.size, tuple(findings))


def annotation_text(frame: LabelledFrame, names: Sequence[str], filename: str) -> str:
    """The annotation of one frame as XML; corners with two decimals where they are not whole."""
    objects = "".join(_object_text(names[label.class_id], label.box) for label in frame.labels)
    return (
        f"<annotation>\n  <filename>{escape(filename)}</filename>\n"
        f"  <size><width>{frame.frame.width}</width><height>{frame.frame.height}</height><depth>3</depth></size>\n"
        f"{objects}</annotation>\n"
    )


def _object_text(name: str, box: Box) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    corners = "".join(f"<{tag}>{f'{value:.2f}'.rstrip('0').rstrip('.')}</{tag}>" for tag, value in tags)
    return f"  <object><name>{escape(name)}</name><bndbox>{corners}</bndbox></object>\n"


def write_set(folder: Path, frames: Iterable[LabelledFrame], names: Sequence[str]) -> Path:
    """Write frames as a VOC set with ImageSets/Main for the sides that frames name; returns the folder.

    Boxes come back within 0.005 pixels at each border.

    Raises:
        BadInput: a class name that could not be read back.
    """
    refuse_unusable(folder, names)
    sides: dict[str, list[str]] = {}
    copier = Copier()
    for frame in frames:
        image = copier.copy(frame.frame, folder / "JPEGImages")
        write_text(folder / "Annotations" / f"{image.stem}.xml", annotation_text(frame, names, image.name))
        if frame.split:
            sides.setdefault(frame.split, []).append(image.stem)
    for side, stems in sides.items():
        write_text(folder / "ImageSets" / "Main" / f"{side}.txt", "".join(f"{stem}\n" for stem in stems))
    return folder
