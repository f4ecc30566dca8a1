"""Where COCO sets keep their documents and images.

<set>/annotations/instances_train2017.json    images in train2017/, images/train2017/, images/ or the set's folder
<set>/train/_annotations.coco.json            Roboflow: images beside it
<set>/labels.json                             images in images/ or beside it
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.formats.data_yaml import SIDES
from edgeloop.frames import Split

ROBOFLOW = "_annotations.coco.json"
IMAGE_FOLDERS = ("images", "JPEGImages")
_HEAD = 64 * 1024  # bytes at either end of a document in which its arrays show
_MEMBER = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_SAMPLED = 500  # file names by which the folder of a document's images is found


@dataclass(frozen=True)
class Document:
    """A COCO document and the side of the split that its name says, if any."""

    path: Path
    side: Split | None


def find_documents(folder: Path) -> list[Document]:
    """The documents of a COCO set, sorted; empty when the folder is no COCO set.

    Where there are instances_*.json, the others beside them (captions, key points, panoptic) are left alone.
    """
    named = [path for place in _places(folder) for path in _json_in(place)]
    instances = [path for path in named if _is_called_so(path)]
    return [Document(path, _side(folder, path)) for path in instances or named if is_document(path)]


def _places(folder: Path) -> list[Path]:
    return [folder, folder / "annotations", folder / "Annotations", *(folder / side for side in SIDES)]


def _json_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file() and entry.name.endswith(".json"))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".")]


def _is_called_so(path: Path) -> bool:
    """Whether a file has the name of a document with boxes."""
    return path.name == ROBOFLOW or path.name.startswith("instances_")


def is_document(path: Path) -> bool:
    """Whether a JSON file is meant as a COCO set, by its name or its two ends; what it holds shows when it is read."""
    if _is_called_so(path) and (path.name == ROBOFLOW or path.parent.name.lower() == "annotations"):
        return True
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
            handle.seek(max(_HEAD, path.stat().st_size - _HEAD))
            tail = handle.read(_HEAD)
    except OSError:
        return False
    starts = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return starts and len({found for part in (head, tail) for found in _MEMBER.findall(part)}) > 1


def _side(folder: Path, path: Path) -> Split | None:
    """The one side that a document's name or its folder's name says: instances_train2017.json, valid/…"""
    words = [*re.split(r"[^a-z]+", path.stem.lower()), *path.relative_to(folder).parts[:-1]]
    sides = {SIDES[word] for word in words if word in SIDES}
    return sides.pop() if len(sides) == 1 else None


def image_root(folder: Path, document: Path, names: Sequence[str], images: Collection[str]) -> Path:
    """The folder that a document's file names start from: the one where most of them are found.

    Args:
        folder: the set's.
        document: the document.
        names: its file names, with forward slashes.
        images: every image below the folder.
    """
    sample = names[:: max(1, len(names) // _SAMPLED)]
    roots = [root for root in dict.fromkeys(_roots(folder, document)) if root.is_dir()]
    return max(roots, key=lambda root: (sum(image_path(root, name) in images for name in sample), -roots.index(root)))


def _roots(folder: Path, document: Path) -> list[Path]:
    part = document.stem.removeprefix("instances_")
    if document.name == ROBOFLOW:
        return [document.parent, document.parent / "images", folder]
    named = [folder / part, folder / "images" / part, folder / part / "images"]
    beside = [document.parent / name for name in IMAGE_FOLDERS] if document.parent != folder else []
    return [*named, *(folder / name for name in IMAGE_FOLDERS), *beside, document.parent, folder]


def image_path(root: Path, name: str) -> str:
    """The path of an image by its file name."""
    return str(root / name)
