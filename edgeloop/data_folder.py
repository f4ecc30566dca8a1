"""The live data set on disk: one writer at a time, replaced whole, and nothing in it that edgeloop did not put there.

A new state is built beside the old one, unchanged files as hard links, and the two are swapped. Nothing ever writes
into an existing file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.files import atomic_directory, write_text
from edgeloop.formats import yolo
from edgeloop.formats.findings import printable
from edgeloop.frames import SPLITS, Frame
from edgeloop.lock import exclusive
from edgeloop.manifest import MANIFEST_NAME, Row, write_manifest
from edgeloop.progress import bar

OUR_FILES = frozenset({"data.yaml", MANIFEST_NAME})
CACHES = frozenset({".cache"})  # Ultralytics leaves labels/train.cache beside what it reads


@dataclass(frozen=True)
class Change:
    """A frame to write: its row, its label file's text, and the photograph to copy (None when it is there already)."""

    row: Row
    text: str
    photo: Frame | None


@dataclass(frozen=True)
class Heading:
    """What a data set says of itself: class names, and the rule it is split by."""

    names: tuple[str, ...]
    split_by: str


@contextmanager
def writing(data: Path) -> Iterator[None]:
    """Hold the data set alone; clears what a killed writer left behind.

    Raises:
        BadInput: another process is writing.
    """
    with exclusive(data.parent / f".{data.name}.lock", f"the data set {printable(data)}"):
        _recover(data)
        yield


def _recover(data: Path) -> None:
    for left in data.parent.glob(f".{data.name}.*.old.tmp"):
        if not data.exists():  # killed between the two renames of a file system that cannot exchange names
            left.rename(data)
    for left in data.parent.glob(f".{data.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def refuse_strangers(data: Path, rows: Mapping[str, Row]) -> None:
    """A file that a person put into data/ would be lost when the folder is replaced; say so instead."""
    ours = OUR_FILES | {row.file for row in rows.values()} | {row.label_file for row in rows.values()}
    strange = [name for name in _files_below(str(data)) if name not in ours and Path(name).suffix not in CACHES]
    if strange:
        raise BadInput(
            f"{printable(data)} holds {len(strange)} files that edgeloop did not put there "
            f"({printable(min(strange))}, …); expected only its own. Move them out, and ingest them from where they "
            f"are then."
        )


def _files_below(root: str) -> Iterator[str]:
    """Every file, relative to the root. Strings, since a `Path` for each of 100,000 files takes seconds."""
    for parent, _, names in os.walk(root):
        inner = parent[len(root) + 1 :]
        yield from (f"{inner}/{name}" if inner else name for name in names)


def write_state(data: Path, rows: Mapping[str, Row], changes: Sequence[Change], heading: Heading) -> None:
    """Replace the data set by one with these changes.

    Args:
        data: the live folder; made when it does not exist.
        rows: what it holds, by frame id.
        changes: frames to add, and new labels.
        heading: class names and rule.

    Raises:
        BadInput: a file is missing, or an image changed while it was copied. The data set is unchanged.
    """
    relabelled = {change.row.frame_id for change in changes if change.photo is None}
    kept = [row.file for row in rows.values()]
    kept += [row.label_file for row in rows.values() if row.frame_id not in relabelled]
    with atomic_directory(data) as new:
        _link_all(data, new, kept)
        after = dict(rows)
        for change in bar(changes, "writing frames", len(changes)):
            row = _add(change, change.photo, new) if change.photo else change.row
            _create(new / row.label_file).write_text(change.text, encoding="ascii")
            after[row.frame_id] = row
        sides = {"train", "val"} | {row.split for row in after.values()}  # Ultralytics asks for train and val
        write_text(new / "data.yaml", yolo.yaml_text(heading.names, [side for side in SPLITS if side in sides]))
        write_manifest(new, after.values(), heading.split_by)


def _add(change: Change, photo: Frame, new: Path) -> Row:
    """Copy an image and make sure that it is still the one that was read."""
    content = photo.image.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not photo.is_content(content):
        place = printable(photo.image)
        raise BadInput(f"{place} changed while it was taken in; ingest again when nobody writes there.")
    _create(new / change.row.file).write_bytes(content)
    return replace(change.row, sha256=digest)


def _create(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _link_all(old: Path, new: Path, names: Sequence[str]) -> None:
    for folder in {os.path.dirname(name) for name in names}:  # noqa: PTH120  # strings, as above
        (new / folder).mkdir(parents=True, exist_ok=True)
    source, target = f"{old}/", f"{new}/"
    for name in bar(names, "keeping frames", len(names)):
        _link(source + name, target + name)


def _link(old: str, new: str) -> None:
    """A hard link; a copy where the file system has none. Nothing here ever writes into an existing file."""
    try:
        os.link(old, new)
    except FileNotFoundError as error:
        raise BadInput(
            f"{printable(old)} is missing though the manifest lists it; restore the last version."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        shutil.copyfile(old, new)
