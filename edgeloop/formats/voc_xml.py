"""One Pascal VOC annotation: the XML that it may be, and what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree  # only its tree; parsing is expat's, with document types refused
from xml.parsers import expat

from edgeloop.formats.check import Box, Size

MAXIMUM_DEPTH = 100  # elements inside elements; VOC needs 4
MAXIMUM_ELEMENTS = 500_000  # 10,000 objects have 160,000 in LabelImg's form


class BadAnnotation(ValueError):
    """An annotation file that cannot be used; becomes a finding."""


@dataclass(frozen=True)
class Annotation:
    """One XML file: the image it names, the size it was drawn on (None when it does not say), its boxes."""

    filename: str
    size: Size | None
    objects: tuple[tuple[str, Box], ...]


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
    """A tree of sane size, from XML without a document type, so without entities of its own or anything to fetch.

    Raises:
        BadAnnotation: it is none.
    """
    builder, parser = _Builder(), expat.ParserCreate()  # type: ignore[attr-defined, unused-ignore]
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as problem:  # an encoding that is unknown, or not one for XML
        raise problem if isinstance(problem, BadAnnotation) else BadAnnotation(f"not XML: {problem}") from problem
    return builder.close()


class _Builder(ElementTree.TreeBuilder):
    """Refuses a tree that is deep or large for no good reason: 16 MB of `<a>` would take a gigabyte."""

    depth = elements = 0

    def start(self, tag: str, attributes: dict[str, str], /) -> ElementTree.Element:
        self.depth += 1
        self.elements += 1
        if self.depth > MAXIMUM_DEPTH or self.elements > MAXIMUM_ELEMENTS:
            raise BadAnnotation(
                f"more than {MAXIMUM_ELEMENTS} elements, or more than {MAXIMUM_DEPTH} inside each other"
            )
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> ElementTree.Element:
        self.depth -= 1
        return super().end(tag)


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
