"""A throw-away copy of a data set's layout for the trainer, so that training never touches the data set itself.

Ultralytics writes a label cache beside the labels, repairs JPEGs in place, runs code named in `download:` of a
data.yaml and, where `images/` is a symbolic link, looks for labels behind the link and trains on none. The copy holds
real folders with one link a file and a data.yaml of its own, so none of that can happen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from edgeloop.errors import BadInput
from edgeloop.files import write_text

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
JPEG_END = b"\xff\xd9"
Side = Literal["train", "val"]


@dataclass(frozen=True)
class StagedSet:
    """What the trainer is given.

    Attributes:
        yaml: data.yaml of the copy.
        names: class names, index is the class id.
        train, val: number of images on each side.
        boxes: labelled boxes on the training side.
    """

    yaml: Path
    names: tuple[str, ...]
    train: int
    val: int
    boxes: int


def stage_set(data_yaml: Path, into: Path) -> StagedSet:
    """Link the set that `data_yaml` describes (YOLO layout) into the folder `into`.

    Raises:
        BadInput: the YAML or a folder is missing, a side has no images, or the training side has no labels.
    """
    document = read_data_yaml(data_yaml)
    names = class_names(document, data_yaml)
    counts = {side: _stage_side(data_yaml, document, side, into) for side in ("train", "val")}
    images, boxes = counts["train"]
    if boxes == 0:
        raise BadInput(
            f"{data_yaml}: no labels found for the {images} images of `train:`; expected one labels/…/NAME.txt with "
            f"`class x y width height` lines for each images/…/NAME. Add labels, or name the folder that has them."
        )
    own = {"path": str(into.resolve()), "train": "images/train", "val": "images/val", "names": dict(enumerate(names))}
    staged = write_text(into / "data.yaml", yaml.safe_dump(own, sort_keys=False, allow_unicode=True))
    return StagedSet(staged, names, images, counts["val"][0], boxes)


def read_data_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YOLO data.yaml.

    Raises:
        BadInput: the file is missing or holds no mapping.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); expected a data set's data.yaml.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds {type(document).__name__}; expected the keys train, val and names.")
    return document


def class_names(document: dict[str, Any], source: Path) -> tuple[str, ...]:
    """The names of a data.yaml, a list or a mapping from 0 upwards, in the order of the class ids.

    Raises:
        BadInput: no names, or ids that are not 0, 1, 2, …
    """
    names = document.get("names")
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    if isinstance(names, dict) and sorted(names) == list(range(len(names))) and names:
        return tuple(str(names[index]) for index in range(len(names)))
    raise BadInput(f"{source}: `names` is {names!r}; expected a list, or a mapping with the ids 0, 1, 2, …")


def side_images(data_yaml: Path, document: dict[str, Any], side: Side) -> list[Path]:
    """The image files of one side of a data.yaml, sorted by name; links are kept as they are named.

    Raises:
        BadInput: the side is not named, its folder is missing or holds no images.
    """
    named = document.get(side)
    folders = named if isinstance(named, list) else [named]
    root = data_yaml.parent / str(document.get("path") or "")
    images: list[Path] = []
    for folder in folders:
        if not isinstance(folder, str) or not (root / folder).is_dir():
            raise BadInput(f"{data_yaml}: `{side}: {folder}` is not a folder under {root}; expected images/{side}.")
        images += [path for path in (root / folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise BadInput(f"{data_yaml}: the folder of `{side}:` holds no images; expected JPEG or PNG files.")
    return sorted(images)


def label_of(image: Path) -> Path:
    """Where the labels of an image are in the YOLO layout: its last `images` folder replaced by `labels`, `.txt`."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _stage_side(data_yaml: Path, document: dict[str, Any], side: Side, into: Path) -> tuple[int, int]:
    images = side_images(data_yaml, document, side)
    for kind in ("images", "labels"):
        (into / kind / side).mkdir(parents=True)
    boxes = 0
    for image, name in _flat_names(images):
        _link_image(image, into / "images" / side / name)
        label = label_of(image)
        if label.is_file():
            text = label.read_text(encoding="utf-8-sig")
            boxes += sum(1 for line in text.splitlines() if line.strip())
            (into / "labels" / side / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    return len(images), boxes


def _flat_names(images: list[Path]) -> Iterator[tuple[Path, str]]:
    """Each image with a name that is unique without its folder and its suffix, in the same order."""
    for index, image in enumerate(images):
        yield image, f"{index:07d}_{image.name}"


def _link_image(image: Path, target: Path) -> None:
    """A link, or a copy of a JPEG without its end marker: Ultralytics rewrites such files where they lie."""
    with image.open("rb") as handle:
        handle.seek(-2, 2) if image.stat().st_size > 1 else None
        whole = handle.read(2) == JPEG_END
    if whole or image.suffix.lower() not in (".jpg", ".jpeg"):
        target.symlink_to(image.resolve())
    else:
        shutil.copyfile(image, target)
