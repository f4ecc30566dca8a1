"""What describes a YOLO set as a whole: its data.yaml or class list, where its images are named, and their sides."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edgeloop.errors import BadInput
from edgeloop.formats.classes import refuse_unusable
from edgeloop.formats.findings import printable
from edgeloop.frames import Split

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
CLASS_FILES = ("classes.txt", "obj.names")  # LabelImg and Label Studio; Darknet
MAXIMUM_LIST_BYTES = 1000 * 1000  # of data.yaml or classes.txt
LIST_SUFFIX = ".txt"
NEEDED: tuple[Split, ...] = ("train", "val")  # a list of another side may be absent: COCO's test-dev2017.txt
# Folder names that say which side their frames are on.
SIDES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "audit": "audit",
}  # fmt: skip


def find_yaml(folder: Path) -> Path | None:
    """The file that describes the set, if it has one."""
    return next((folder / name for name in YAML_NAMES if (folder / name).is_file()), None)


def image_folders(folder: Path) -> list[tuple[Path, Split | None]]:
    """Where the images lie and which side they are on: as data.yaml says, else images/[side]/ or side/images/.

    None where data.yaml names lists of images alone.
    """
    declared = _declared(folder)
    if declared:
        return [(place, side) for place, side in declared if place.is_dir()]
    found: list[tuple[Path, Split | None]] = []
    if (folder / "images").is_dir():
        found.append((folder / "images", None))
    found += [(folder / name / "images", side) for name, side in SIDES.items() if (folder / name / "images").is_dir()]
    return found


def image_lists(folder: Path) -> list[tuple[Path, Split | None]]:
    """The text files with an image path a line that data.yaml names in place of folders, and their sides."""
    return [(place, side) for place, side in _declared(folder) if not place.is_dir()]


def base_of(folder: Path) -> Path:
    """The folder that paths in data.yaml are relative to: its `path:`, itself relative to the file."""
    path = find_yaml(folder)
    return folder / str((read_document(path) if path else {}).get("path") or "")


def _declared(folder: Path) -> list[tuple[Path, Split | None]]:
    """The places inside the set that its data.yaml names."""
    sides: dict[Path, set[Split]] = {}
    for place, side in _places(folder):
        if is_inside(folder, place):
            sides.setdefault(place, set()).add(side)
    # A place named for two sides, as in coco128, has not been split.
    return [(place, next(iter(named)) if len(named) == 1 else None) for place, named in sides.items()]


def is_laid_out(folder: Path) -> bool:
    """Whether there is a place for images, wherever it leads."""
    return bool(image_folders(folder) or image_lists(folder) or outside(folder))


def outside(folder: Path) -> list[Path]:
    """The places that data.yaml names and that are not in the set: pictures from there would be somebody else's."""
    return [place for place, _ in _places(folder) if not is_inside(folder, place)]


def _places(folder: Path) -> list[tuple[Path, Split]]:
    path = find_yaml(folder)
    document = read_document(path) if path else {}
    base = str(document.get("path") or "")
    found = []
    for name, side in SIDES.items():
        values = document.get(name)
        for value in values if isinstance(values, list) else [values]:
            place = _place(folder, base, value) if isinstance(value, str) else None
            if place is None and side in NEEDED and isinstance(value, str) and value.endswith(LIST_SUFFIX):
                raise BadInput(
                    f"{printable(path or folder)}: expected `{name}: {printable(value[:80])}` to be a list of image "
                    f"paths, came nothing of that name. Put the list there, or name the folder of the images."
                )
            found += [(place, side)] if place is not None else []
    return found


def _place(folder: Path, base: str, value: str) -> Path | None:
    """Resolve a data.yaml entry as Ultralytics does, or beside the file (Roboflow writes `../train/images`).

    Of several that exist, one inside the set is meant.
    """
    tries = (folder / base / value, folder / value, folder / value.removeprefix("../"))
    there = [place for place in tries if os.path.isdir(place) or _is_list(place)]  # noqa: PTH112  # False for no name at all
    return next((place for place in there if is_inside(folder, place)), there[0] if there else None)


def _is_list(place: Path) -> bool:
    return place.suffix == LIST_SUFFIX and os.path.isfile(place)  # noqa: PTH113


def is_inside(folder: Path, place: Path) -> bool:
    """By its name, or after all links: a set may be reached by two names, and may hold links (these are a notice)."""
    lexical = Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100  # resolve() follows links
    return lexical or place.resolve().is_relative_to(folder.resolve())


def labels_place(folder: Path, images: Path) -> Path:
    """The last `images` of the path becomes `labels`, as in Ultralytics; without one, labels lie beside the images."""
    base = folder if images.is_relative_to(folder) else Path(images.anchor)
    parts = list(images.relative_to(base).parts)
    if "images" not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index("images")
    parts[last] = "labels"
    return base.joinpath(*parts)


def label_of(folder: Path, image: Path) -> Path:
    """Where the labels of an image of the set are."""
    return labels_place(folder, image.parent) / f"{image.stem}.txt"


def set_names(folder: Path) -> tuple[str, ...]:
    """The class names of a set, index is the class id.

    Raises:
        BadInput: neither data.yaml nor classes.txt gives distinct names with ids 0, 1, 2, …
    """
    path = find_yaml(folder)
    if path is not None:
        return names_in(read_document(path), path)
    listed = _class_file(folder)
    if listed is None:
        raise BadInput(
            f"{printable(folder)} names no classes: expected data.yaml with `names:` or classes.txt, came neither. "
            f"Add one of them, or give the names."
        )
    return _checked(listed, [line.strip() for line in _text(listed).splitlines() if line.strip()])


def _class_file(folder: Path) -> Path | None:
    return next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)


def has_names(folder: Path) -> bool:
    """Whether a set says what its classes are called; a data.yaml without `names:` does not."""
    path = find_yaml(folder)
    return "names" in read_document(path) if path else _class_file(folder) is not None


def names_in(document: Mapping[str, object], path: Path) -> tuple[str, ...]:
    """The class names of a data.yaml, a list or a mapping from 0 upwards, index is the class id.

    Raises:
        BadInput: no names, ids that are not 0, 1, 2, …, or names that are not distinct.
    """
    names = document.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise BadInput(f"{printable(path)}: expected names with the ids 0 to {len(names) - 1}, came {list(names)}.")
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise BadInput(f"{printable(path)}: expected `names:` with a list of class names, came {names!r}.")
    return _checked(path, [str(name).strip() for name in names])


def _checked(path: Path, names: list[str]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not all(names):
        raise BadInput(f"{printable(path)}: expected distinct, non-empty class names, came {repeated or names}.")
    refuse_unusable(path, names)
    return tuple(names)


def read_document(path: Path) -> dict[str, object]:
    """The mapping in a data.yaml.

    Raises:
        BadInput: the file cannot be read, is no YAML, or holds something else.
    """
    try:
        document = _load(_text(path)) or {}
    except yaml.YAMLError as problem:
        raise BadInput(f"{printable(path)} is not YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(document, dict):
        raise BadInput(f"{printable(path)} holds {type(document).__name__}; expected `names:`, `train:`, `val:`.")
    return document


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > MAXIMUM_LIST_BYTES:
            raise BadInput(f"{printable(path)} has {size / 1e6:.0f} MB; expected a short list of names and folders.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(f"{printable(path)} cannot be read as UTF-8 text ({problem}).") from problem


def yaml_text(names: Sequence[str], sides: Sequence[str]) -> str:
    """A data.yaml. It has no `path:`, so that Ultralytics takes the file's own folder, wherever that is moved."""
    document = {side: f"images/{side}" for side in sides} | {"names": dict(enumerate(names))}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeLoader):
    """YAML without aliases: a few lines of them expand to gigabytes as soon as somebody prints the document."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name); write the value out")
        return super().compose_node(parent, index)


def _load(text: str) -> object:
    try:
        return yaml.load(text, _Plain)  # noqa: S506  # a SafeLoader
    except RecursionError as problem:
        raise yaml.YAMLError("it is nested too deeply") from problem
