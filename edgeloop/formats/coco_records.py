"""What a COCO document says, record by record, each checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop.formats.check import Box
from edgeloop.formats.findings import Finding, error, warning
from edgeloop.formats.json_stream import BadJson, elements
from edgeloop.record import explain

MAXIMUM_BROKEN = 1000  # records of a document that are listed one by one; a document with more is no COCO set

Id = int | str
Number = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[float, Field(ge=0, le=1e9)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Image(_Row):
    id: Id
    file_name: str = Field(max_length=4096)
    width: Side | None = None
    height: Side | None = None


class _Annotation(_Row):
    id: Id | None = None
    image_id: Id
    category_id: Id
    bbox: Annotated[list[Number], Field(min_length=4, max_length=4)]
    iscrowd: bool | int = 0


class _Category(_Row):
    id: Id
    name: str
    supercategory: str | None = None


@dataclass(frozen=True)
class Picture:
    """An image as a document lists it; `size` is None when it does not say."""

    name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Marked:
    """A box as a document has it: xyxy in pixels, and the id of its category."""

    category: Id
    box: Box
    place: str


@dataclass(frozen=True)
class Content:
    """Everything in one document that matters here.

    Attributes:
        images: by id.
        boxes: by the id of their image, crowds left out.
        categories: name by id, in the order of the ids.
        findings: records that could not be used, and crowds.
    """

    images: dict[Id, Picture]
    boxes: dict[Id, list[Marked]]
    categories: dict[Id, str]
    findings: list[Finding]


def read_document(path: Path) -> Content:
    """Read one document; segmentations, licences and the rest pass by unseen."""
    reader = _Reader(path)
    try:
        for key, record in elements(path):
            reader.take(key, record)
    except BadJson as problem:
        reader.findings.insert(0, error("unreadable-label", path, str(problem)))
    return Content(reader.images, reader.boxes, reader.used_categories(), reader.findings)


class _Reader:
    """Collects the records of a document as they come by; its arrays may stand in any order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._categories: dict[Id, _Category] = {}
        self._broken = 0
        self.images: dict[Id, Picture] = {}
        self.boxes: dict[Id, list[Marked]] = {}
        self.findings: list[Finding] = []

    def take(self, key: str, record: object) -> None:
        """One record.

        Raises:
            BadJson: after so many broken ones that the rest would only fill the memory.
        """
        try:
            if key == "images":
                self._image(_Image.model_validate(record))
            elif key == "annotations":
                self._annotation(_Annotation.model_validate(record))
            elif key == "categories":
                self._category(_Category.model_validate(record))
        except ValidationError as problem:
            self._refuse(f"{key}: {explain(problem)}")

    def _refuse(self, reason: str) -> None:
        self._broken += 1
        if self._broken > MAXIMUM_BROKEN:
            raise BadJson(f"more than {MAXIMUM_BROKEN} records are broken; the rest was not read")
        self.findings.append(error("unreadable-label", self._path, reason))

    def _image(self, image: _Image) -> None:
        if image.id in self.images:
            self._refuse(f"images: the id {image.id} is given twice")
            return
        size = (round(image.width), round(image.height)) if image.width and image.height else None
        self.images[image.id] = Picture(image.file_name, size)

    def _annotation(self, annotation: _Annotation) -> None:
        place = f"annotation {annotation.id}" if annotation.id is not None else f"image {annotation.image_id}"
        if annotation.iscrowd:
            reason = f"{place}: iscrowd, one box around many objects; left out, so they are not labelled"
            self.findings.append(warning("crowd-box", self._path, reason))
            return
        x, y, width, height = annotation.bbox
        marked = Marked(annotation.category_id, (x, y, x + width, y + height), place)
        self.boxes.setdefault(annotation.image_id, []).append(marked)

    def _category(self, category: _Category) -> None:
        if category.id in self._categories:
            self._refuse(f"categories: the id {category.id} is given twice")
            return
        self._categories[category.id] = category

    def used_categories(self) -> dict[Id, str]:
        """Names by id, sorted; without the entry 0 that Roboflow writes for the project, which is no class."""
        boxed = {marked.category for marks in self.boxes.values() for marked in marks}
        groups = {category.supercategory for category in self._categories.values() if category.id != 0}
        project = self._categories.get(0)
        if project is not None and 0 not in boxed and project.name in groups:
            del self._categories[0]
        ordered = sorted(self._categories, key=lambda category: (isinstance(category, str), category))
        return {category: self._categories[category].name.strip() for category in ordered}
