"""Growing the live data set: whole or not at all, idempotent, one writer at a time, and no frame changes its side."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.files import atomic_directory, write_text
from edgeloop.formats import yolo
from edgeloop.formats.copies import join_copies
from edgeloop.formats.findings import printable
from edgeloop.frames import SPLITS, Frame, Label, LabelledFrame, Split
from edgeloop.lock import exclusive
from edgeloop.manifest import MANIFEST_NAME, Row, has_manifest, read_manifest, state_of, write_manifest
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.splits import DEFAULT_SHARES, Shares, assign, group_of

IMPORTER = "import"  # the labeler of labels that came with a set; anybody else's answer outranks it
OUR_FILES = frozenset({"data.yaml", MANIFEST_NAME})
CACHES = frozenset({".cache"})  # Ultralytics leaves labels/train.cache beside what it reads


class MergeReport(Record):
    """What a merge changed.

    Attributes:
        added: frames that are new.
        updated: frames whose labels changed.
        unchanged: frames that were there with these labels.
        kept: frames whose labels somebody had corrected, which an import does not undo.
        stayed: ids of frames that asked for another side than the one they are on; no frame changes its side.
        duplicates: frames given twice in this merge, joined.
        state: what the data set holds now (`edgeloop.manifest.state_of`).
    """

    added: int
    updated: int
    unchanged: int
    kept: int
    stayed: tuple[str, ...]
    duplicates: int
    state: str


@dataclass(frozen=True)
class Change:
    """A frame to write: its row, its label file's text, and the photograph to copy (None when it is there already)."""

    row: Row
    text: str
    photo: Frame | None


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


def merge(
    data: Path,
    frames: Sequence[LabelledFrame],
    names: Sequence[str],
    shares: Shares = DEFAULT_SHARES,
    dry_run: bool = False,
) -> MergeReport:
    """Add frames to the live data set and update the labels of those that are there.

    The same frames twice change nothing, down to the bytes. A frame keeps the side, the camera and the time it came
    with first. Labels of an import never replace labels that somebody else answers for.

    Args:
        data: the live folder; made when it does not exist.
        frames: with class ids that index `names`.
        names: their class names; matched by name with those of the data set.
        shares: for frames that no split is named for.
        dry_run: say what would change, and change nothing.

    Raises:
        BadInput: a class the data set does not have, files in `data` that are not the data set's, another writer, an
            image that changed while it was copied, or groups that would leak. The data set is unchanged.
    """
    with nullcontext() if dry_run else writing(data):
        rows, known_names = _current(data, names)
        distinct, copies = join_copies(renumber(frames, names, known_names))
        changes, report = _plan(distinct, rows, shares)
        if not dry_run and (changes or not has_manifest(data)):
            _write(data, rows, changes, known_names)
        return report.model_copy(update={"duplicates": len(copies), "state": state_of(data)})


def _current(data: Path, names: Sequence[str]) -> tuple[dict[str, Row], tuple[str, ...]]:
    rows = {row.frame_id: row for row in read_manifest(data)} if has_manifest(data) else {}
    _refuse_strangers(data, rows)
    return rows, yolo.set_names(data) if rows or has_manifest(data) else tuple(names)


def _refuse_strangers(data: Path, rows: dict[str, Row]) -> None:
    """A file that a person put into data/ would be lost when the folder is replaced; say so instead."""
    ours = OUR_FILES | {row.file for row in rows.values()} | {row.label_file for row in rows.values()}
    found = (Path(parent, name) for parent, _, files in os.walk(data) for name in files)
    strange = [path for path in found if path.suffix not in CACHES and path.relative_to(data).as_posix() not in ours]
    if strange:
        first = printable(min(strange).relative_to(data))
        raise BadInput(
            f"{printable(data)} holds {len(strange)} files that edgeloop did not put there ({first}, …); expected only "
            f"its own. Move them out, and ingest them from where they are then."
        )


def renumber(frames: Sequence[LabelledFrame], names: Sequence[str], known: Sequence[str]) -> list[LabelledFrame]:
    """The frames with class ids that index `known` instead of `names`.

    Raises:
        BadInput: a name that `known` does not have.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(
            f"the classes {', '.join(map(repr, unknown))} contradict the data set's: expected names out of "
            f"{', '.join(known)}. Rename them, or start a data set with the new list."
        )
    ids = [known.index(name) for name in names]
    if ids == list(range(len(ids))):
        return list(frames)
    return [replace(f, labels=tuple(Label(ids[label.class_id], label.box) for label in f.labels)) for f in frames]


def _plan(frames: Sequence[LabelledFrame], rows: dict[str, Row], shares: Shares) -> tuple[list[Change], MergeReport]:
    fresh = [frame for frame in frames if frame.frame.frame_id not in rows]
    known: dict[str, Split] = {row.group: row.split for row in rows.values()}
    sides = assign(fresh, known, shares)
    changes = [_addition(frame, sides[group_of(frame)]) for frame in fresh]
    unchanged, kept, stayed = 0, 0, []
    for frame in frames:
        row = rows.get(frame.frame.frame_id)
        if row is None:
            continue
        if frame.split and frame.split != row.split:
            stayed.append(row.frame_id)
        update = _update(frame, row)
        if update is None:
            unchanged += 1
        elif frame.labeler == IMPORTER and row.labeler != IMPORTER:
            kept += 1
        else:
            changes.append(update)
    counts = {"added": len(fresh), "updated": len(changes) - len(fresh), "unchanged": unchanged, "kept": kept}
    return changes, MergeReport(**counts, stayed=tuple(stayed), duplicates=0, state="")


def _addition(frame: LabelledFrame, side: Split) -> Change:
    photo, text = frame.frame, _text(frame)
    suffix = {".jpeg": ".jpg"}.get(photo.image.suffix.lower(), photo.image.suffix.lower())
    row = Row(
        frame_id=photo.frame_id,
        file=f"images/{side}/{photo.frame_id}{suffix}",
        camera=photo.camera,
        time=photo.time.replace(microsecond=photo.time.microsecond // 1000 * 1000),
        group=group_of(frame),
        split=side,
        source=frame.source,
        labeler=frame.labeler,
        width=photo.width,
        height=photo.height,
        boxes=len(frame.labels),
        sha256="",  # known when the file is copied
        label_sha256=_digest(text),
    )
    return Change(row, text, photo)


def _update(frame: LabelledFrame, row: Row) -> Change | None:
    text = _text(frame)
    if _digest(text) == row.label_sha256:
        return None
    answered = {"source": frame.source, "labeler": frame.labeler, "boxes": len(frame.labels)}
    return Change(replace(row, **answered, label_sha256=_digest(text)), text, None)  # type: ignore[arg-type]


def _text(frame: LabelledFrame) -> str:
    return yolo.label_text(frame.labels, frame.frame.width, frame.frame.height)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(data: Path, rows: dict[str, Row], changes: list[Change], names: Sequence[str]) -> None:
    """Build the new folder beside the old one, unchanged files as hard links, and swap the two."""
    written = {change.row.frame_id for change in changes if change.photo is None}
    with atomic_directory(data) as new:
        for row in bar(rows.values(), "keeping frames", len(rows)):
            _link(data / row.file, new / row.file)
            if row.frame_id not in written:
                _link(data / row.label_file, new / row.label_file)
        after = dict(rows)
        for change in bar(changes, "writing frames", len(changes)):
            row = _add(change, change.photo, new) if change.photo else change.row
            _create(new / row.label_file).write_text(change.text, encoding="ascii")
            after[row.frame_id] = row
        sides = {"train", "val"} | {row.split for row in after.values()}  # Ultralytics asks for train and val
        write_text(new / "data.yaml", yolo.yaml_text(names, [side for side in SPLITS if side in sides]))
        write_manifest(new, after.values())


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


def _link(old: Path, new: Path) -> None:
    """A hard link; a copy where the file system has none. Nothing here ever writes into an existing file."""
    try:
        os.link(old, _create(new))
    except FileNotFoundError as error:
        raise BadInput(
            f"{printable(old)} is missing though the manifest lists it; restore the last version."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        shutil.copyfile(old, new)
