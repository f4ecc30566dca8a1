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
from edgeloop.formats.data_yaml import label_of, names_in, read_document
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
    document = read_document(data_yaml)
    names = names_in(document, data_yaml)
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


def _stage_side(
    data_yaml: Path, document: dict[str, Any], side: Side, into: Path, repetition: Repetition | None
) -> tuple[int, int]:
    """Link one side; the number of links, and of boxes without repetitions."""
    images = side_images(data_yaml, document, side)
    for kind in ("images", "labels"):
        (into / kind / side).mkdir(parents=True)
    texts = {image: text for image in images if (text := _label_text(data_yaml.parent, image)) is not None}
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


def _label_text(folder: Path, image: Path) -> str | None:
    label = label_of(folder, image)
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
