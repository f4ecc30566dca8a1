"""A throw-away copy of a data set's layout for the trainer, so that training never touches the data set itself.

Ultralytics writes a label cache beside the labels, repairs JPEGs in place, runs code named in `download:` of a
data.yaml and, where `images/` is a symbolic link, looks for labels behind the link and trains on none. The copy holds
real folders with one link a file and a data.yaml of its own, so none of that can happen. A frame that the card shows
more than once in an epoch has more than one link, so that the trainer needs to know nothing of it.

Nothing is staged from the audit side: this is the door that everything passes that is trained on.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.formats.images import SUFFIXES
from edgeloop.held_out import HeldOut
from edgeloop.repeat_factor import repeats

JPEG_END = b"\xff\xd9"
NOTHING_MORE = HeldOut()
Side = Literal["train", "val"]


@dataclass(frozen=True)
class StagedSet:
    """What the trainer is given.

    Attributes:
        yaml: data.yaml of the copy.
        names: class names, index is the class id.
        train, val: number of images on each side, repetitions of the training side included.
        boxes: labelled boxes on the training side, without repetitions.
    """

    yaml: Path
    names: tuple[str, ...]
    train: int
    val: int
    boxes: int


@dataclass(frozen=True)
class Repetition:
    """Repeat-factor sampling: classes on fewer than `threshold` of the frames are shown more often."""

    threshold: float
    seed: int


def stage_set(
    data_yaml: Path, into: Path, held_out: HeldOut = NOTHING_MORE, repetition: Repetition | None = None
) -> StagedSet:
    """Link the set that `data_yaml` describes (YOLO layout) into the folder `into`.

    Args:
        data_yaml: names train, val and names.
        into: a folder of its own.
        held_out: what may not be trained on, beside the audit side of the data set that an image lies in.
        repetition: how rare classes are repeated; None shows every frame once.

    Raises:
        BadInput: the YAML or a folder is missing, a side has no images, the training side has no labels, or it holds an
            audit frame.
    """
    document = read_data_yaml(data_yaml)
    names = class_names(document, data_yaml)
    held_out.refuse(side_images(data_yaml, document, "train"), "trained on")
    counts = {
        side: _stage_side(data_yaml, document, side, into, repetition if side == "train" else None)
        for side in ("train", "val")
    }
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
        images += [path for path in (root / folder).rglob("*") if path.suffix.lower() in SUFFIXES]
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


def _stage_side(
    data_yaml: Path, document: dict[str, Any], side: Side, into: Path, repetition: Repetition | None
) -> tuple[int, int]:
    """Link one side; the number of links, and of boxes without repetitions."""
    images = side_images(data_yaml, document, side)
    for kind in ("images", "labels"):
        (into / kind / side).mkdir(parents=True)
    texts = {image: text for image in images if (text := _label_text(image)) is not None}
    shown = _times(images, texts, repetition) if repetition else {}
    links = 0
    for image in images:
        for _ in range(shown.get(image, 1)):
            name = f"{links:07d}_{image.name}"  # unique without its folder and its suffix, in the same order
            _link_image(image, into / "images" / side / name)
            if image in texts:
                (into / "labels" / side / name).with_suffix(".txt").write_text(texts[image], encoding="utf-8")
            links += 1
    return links, sum(1 for text in texts.values() for line in text.splitlines() if line.strip())


def _label_text(image: Path) -> str | None:
    label = label_of(image)
    return label.read_text(encoding="utf-8-sig") if label.is_file() else None


def _times(images: list[Path], texts: dict[Path, str], repetition: Repetition) -> dict[Path, int]:
    """How often each image is shown. Its file name, in a data set the frame's id, decides how a fraction is rounded."""
    classes = [_classes(texts.get(image, "")) for image in images]
    found = repeats([image.name for image in images], classes, repetition.threshold, repetition.seed)
    return dict(zip(images, found, strict=True))


def _classes(text: str) -> frozenset[int]:
    """The class ids in a label file; what is no number is left to the trainer, which says what is wrong."""
    words = (line.split()[0] for line in text.splitlines() if line.strip())
    return frozenset(int(float(word)) for word in words if word.replace(".", "", 1).isdigit())


def _link_image(image: Path, target: Path) -> None:
    """A link, or a copy of a JPEG without its end marker: Ultralytics rewrites such files where they lie."""
    with image.open("rb") as handle:
        handle.seek(-2, 2) if image.stat().st_size > 1 else None
        whole = handle.read(2) == JPEG_END
    if whole or image.suffix.lower() not in (".jpg", ".jpeg"):
        target.symlink_to(image.resolve())
    else:
        shutil.copyfile(image, target)
