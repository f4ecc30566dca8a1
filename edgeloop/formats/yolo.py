"""YOLO detection sets: one .txt per image, a line `class centre-x centre-y width height` in shares of the image."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.formats.assemble import Entry, Listing, distinct_labels, files_below, images_below, settle
from edgeloop.formats.findings import Finding, error, printable, warning
from edgeloop.formats.images import ImageFacts
from edgeloop.frames import SPLITS, Label, LabelledFrame, Split

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
CLASS_FILES = ("classes.txt", "obj.names")  # LabelImg and Label Studio; Darknet
MAXIMUM_LABEL_BYTES = 16 * 1000 * 1000
# Folder names that say which side their frames are on. A test side is held out of training, which is what audit means.
SIDES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "audit",
    "audit": "audit",
}  # fmt: skip


def find_yaml(folder: Path) -> Path | None:
    """The file that describes the set, if it has one."""
    return next((folder / name for name in YAML_NAMES if (folder / name).is_file()), None)


def image_folders(folder: Path) -> list[tuple[Path, Split | None]]:
    """Where the images lie and which side they are on: as data.yaml says, else images/[side]/ or side/images/."""
    declared = _declared(folder)
    if declared:
        return declared
    found: list[tuple[Path, Split | None]] = []
    if (folder / "images").is_dir():
        found.append((folder / "images", None))
    found += [(folder / name / "images", side) for name, side in SIDES.items() if (folder / name / "images").is_dir()]
    return found


def _declared(folder: Path) -> list[tuple[Path, Split | None]]:
    path = find_yaml(folder)
    document = _document(path) if path else {}
    sides: dict[Path, set[Split]] = {}
    for name, side in SIDES.items():
        values = document.get(name)
        for value in values if isinstance(values, list) else [values]:
            place = _place(folder, str(document.get("path") or ""), value) if isinstance(value, str) else None
            if place is not None:
                sides.setdefault(place, set()).add(side)
    # A folder named for two sides, as in coco128, has not been split.
    return [(place, next(iter(named)) if len(named) == 1 else None) for place, named in sides.items()]


def _place(folder: Path, base: str, value: str) -> Path | None:
    """Resolve a data.yaml entry as Ultralytics does, or beside the file (Roboflow writes `../train/images`)."""
    tries = (folder / base / value, folder / value, folder / value.removeprefix("../"))
    return next((place for place in tries if place.is_dir()), None)


def list_set(folder: Path, names: Sequence[str] | None = None) -> Listing:
    """Pair images with label files.

    Raises:
        BadInput: no class names, or a data.yaml that cannot be used.
    """
    findings: list[Finding] = []
    entries: dict[Path, Entry] = {}
    for images, side in image_folders(folder):
        paired, found = _pair(images, _labels_folder(folder, images), side)
        entries |= {entry.image: entry for entry in paired}
        findings += found
    known = tuple(names) if names else set_names(folder)
    return Listing(folder, f"yolo:{folder.resolve().name}", known, tuple(entries.values()), tuple(findings))


def _pair(images: Path, labels: Path, side: Split | None) -> tuple[list[Entry], list[Finding]]:
    """Match by path below the two folders, whatever the image's suffix; what stays alone is a finding."""
    texts = {path.relative_to(labels).with_suffix(""): path for path in files_below(labels, frozenset({".txt"}))}
    pictures = {image: image.relative_to(images) for image in images_below(images)}
    entries = [
        Entry(image, labels / inner.with_suffix(".txt"), side or SIDES.get(inner.parts[0]))
        for image, inner in pictures.items()
    ]
    stems = {inner.with_suffix("") for inner in pictures.values()}
    bare = [
        error("image-without-label", image, "")
        for image, inner in pictures.items()
        if inner.with_suffix("") not in texts
    ]
    orphans = [path for stem, path in texts.items() if stem not in stems and path.name not in CLASS_FILES]
    return entries, bare + [error("label-without-image", path, "") for path in orphans]


def _labels_folder(folder: Path, images: Path) -> Path:
    """The last `images` of the path becomes `labels`, as in Ultralytics; without one, labels lie beside the images."""
    base = folder if images.is_relative_to(folder) else Path(images.anchor)
    parts = list(images.relative_to(base).parts)
    if "images" not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index("images")
    parts[last] = "labels"
    return base.joinpath(*parts)


def set_names(folder: Path) -> tuple[str, ...]:
    """The class names of a set, index is the class id.

    Raises:
        BadInput: neither data.yaml nor classes.txt gives distinct names with ids 0, 1, 2, …
    """
    path = find_yaml(folder)
    if path is not None:
        return _yaml_names(path, _document(path).get("names"))
    listed = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    if listed is None:
        raise BadInput(
            f"{printable(folder)} names no classes: expected data.yaml with `names:` or classes.txt, came neither. "
            f"Add one of them, or give the names."
        )
    return _checked(listed, [line.strip() for line in _text(listed).splitlines() if line.strip()])


def _yaml_names(path: Path, names: object) -> tuple[str, ...]:
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
    return tuple(names)


def _document(path: Path) -> dict[str, object]:
    try:
        document = yaml.safe_load(_text(path)) or {}
    except yaml.YAMLError as problem:
        raise BadInput(f"{printable(path)} is not YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(document, dict):
        raise BadInput(f"{printable(path)} holds {type(document).__name__}; expected `names:`, `train:`, `val:`.")
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(f"{printable(path)} cannot be read as UTF-8 text ({problem}).") from problem


def read_labels(entry: Entry, fact: ImageFacts, names: Sequence[str]) -> tuple[list[Label], list[Finding]]:
    """The boxes of one label file in pixels, and what is wrong with it. A missing file was reported by `list_set`."""
    path = entry.annotation
    try:
        if path.stat().st_size > MAXIMUM_LABEL_BYTES:
            return [], [error("unreadable-label", path, f"{path.stat().st_size / 1e6:.0f} MB of text")]
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return [], []
    except (OSError, UnicodeDecodeError) as problem:
        return [], [error("unreadable-label", path, f"not UTF-8 text: {problem}")]
    parsed = [_line(path, n, line, fact, len(names)) for n, line in enumerate(lines, 1) if line.strip()]
    labels, repeated = distinct_labels([item for item in parsed if isinstance(item, Label)], path)
    return labels, [item for item in parsed if isinstance(item, Finding)] + repeated


def _line(path: Path, number: int, line: str, fact: ImageFacts, classes: int) -> Label | Finding:
    values = _numbers(line)
    if values is None:
        expected = "expected `class centre-x centre-y width height`"
        return error("unreadable-label", path, f"line {number}: {expected}, came {line[:60]!r}")
    class_id, x, y, w, h = values
    if class_id != int(class_id) or not 0 <= class_id < classes:
        return error("unknown-class", path, f"line {number}: class {class_id:g}, the names give 0 to {classes - 1}")
    corners = (x - w / 2) * fact.width, (y - h / 2) * fact.height, (x + w / 2) * fact.width, (y + h / 2) * fact.height
    settled = settle(corners, fact.width, fact.height)
    if len(settled) == 4:
        return Label(int(class_id), settled)
    kind, reason = settled
    make = warning if kind == "zero-area" else error
    return make(kind, path, f"line {number}: {reason}")


def _numbers(line: str) -> tuple[float, float, float, float, float] | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(values) != 5 or not all(math.isfinite(value) for value in values):
        return None
    return values[0], values[1], values[2], values[3], values[4]


def label_text(labels: Iterable[Label], width: int, height: int) -> str:
    """The label file of one frame: lines sorted, six decimals, so that equal labels give equal bytes."""
    rows = sorted((label.class_id, *_shares(label, width, height)) for label in labels)
    return "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in rows)


def _shares(label: Label, width: int, height: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = label.box
    return (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height


def yaml_text(names: Sequence[str], sides: Sequence[str]) -> str:
    """A data.yaml. It has no `path:`, so that Ultralytics takes the file's own folder, wherever that is moved."""
    document = {side: f"images/{side}" for side in sides} | {"names": dict(enumerate(names))}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def write_set(folder: Path, frames: Iterable[LabelledFrame], names: Sequence[str]) -> Path:
    """Write frames as a YOLO set with images/ and labels/, in sides where frames have one; returns data.yaml's path."""
    sides: set[str] = set()
    for frame in frames:
        side = frame.split or ""
        sides |= {side} if side else set()
        image, text = folder / "images" / side / frame.frame.image.name, folder / "labels" / side
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.frame.image, image)
        size = frame.frame.width, frame.frame.height
        write_text(text / f"{image.stem}.txt", label_text(frame.labels, *size))
    return write_text(folder / "data.yaml", yaml_text(names, [side for side in SPLITS if side in sides]))
