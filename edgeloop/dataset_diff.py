"""What changed from one version of the data set to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeloop.frames import SPLITS, Split
from edgeloop.manifest import Row
from edgeloop.record import Record


@dataclass(frozen=True)
class Contents:
    """What a version holds.

    Attributes:
        md5: of the version.
        names: class names, index is the class id.
        rows: of its manifest, with the class of every box.
    """

    md5: str
    names: tuple[str, ...]
    rows: Sequence[Row]


class Relabelled(Record):
    """A frame whose labels changed: who answered for them before and after, and how many boxes there were."""

    frame_id: str
    split: Split
    labelers: tuple[str, str]
    boxes: tuple[int, int]


class Changed(Record):
    """A number before and after: boxes of a class, frames of a camera or of a source."""

    name: str
    before: int
    after: int


class DatasetDiff(Record):
    """What changed between two versions.

    Attributes:
        before, after: md5 of each.
        added, removed: ids of frames on each side that only one of them has.
        moved: frames that are on another side; none, unless the versions grew apart from each other.
        relabelled: frames in both whose labels differ.
        boxes: of every class that either has.
        sides, cameras, sources: frames, where they changed.
    """

    before: str
    after: str
    added: dict[Split, tuple[str, ...]]
    removed: dict[Split, tuple[str, ...]]
    moved: tuple[str, ...]
    relabelled: tuple[Relabelled, ...]
    boxes: tuple[Changed, ...]
    sides: tuple[Changed, ...]
    cameras: tuple[Changed, ...]
    sources: tuple[Changed, ...]

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same frames with the same labels on the same sides."""
        return not (self.moved or self.relabelled or any(self.added.values()) or any(self.removed.values()))


def compare(before: Contents, after: Contents) -> DatasetDiff:
    """What changed from one to the other."""
    old, new = ({row.frame_id: row for row in one.rows} for one in (before, after))
    both = [(old[frame_id], new[frame_id]) for frame_id in sorted(old.keys() & new.keys())]
    return DatasetDiff(
        before=before.md5,
        after=after.md5,
        added=_only(new, old),
        removed=_only(old, new),
        moved=tuple(now.frame_id for was, now in both if was.split != now.split),
        relabelled=tuple(_relabelled(was, now) for was, now in both if was.label_sha256 != now.label_sha256),
        boxes=_boxes(before, after),
        sides=_changed(before, after, lambda row: row.split),
        cameras=_changed(before, after, lambda row: row.camera),
        sources=_changed(before, after, lambda row: row.source),
    )


def _only(rows: Mapping[str, Row], others: Mapping[str, Row]) -> dict[Split, tuple[str, ...]]:
    alone = [row for frame_id, row in sorted(rows.items()) if frame_id not in others]
    return {side: tuple(row.frame_id for row in alone if row.split == side) for side in SPLITS}


def _relabelled(was: Row, now: Row) -> Relabelled:
    return Relabelled(
        frame_id=now.frame_id,
        split=now.split,
        labelers=(was.labeler, now.labeler),
        boxes=(was.boxes, now.boxes),
    )


def _boxes(before: Contents, after: Contents) -> tuple[Changed, ...]:
    old, new = _boxes_of(before), _boxes_of(after)
    names = dict.fromkeys((*before.names, *after.names))
    return tuple(Changed(name=name, before=old[name], after=new[name]) for name in names)


def _boxes_of(one: Contents) -> Counter[str]:
    return Counter(one.names[class_id] for row in one.rows for class_id in row.class_ids or ())


def _changed(before: Contents, after: Contents, key: Callable[[Row], str]) -> tuple[Changed, ...]:
    old, new = count_by(before.rows, key), count_by(after.rows, key)
    names = sorted(name for name in old.keys() | new.keys() if old[name] != new[name])
    return tuple(Changed(name=name, before=old[name], after=new[name]) for name in names)


def count_by(rows: Iterable[Row], key: Callable[[Row], str]) -> Counter[str]:
    """How many frames have each value of `key`."""
    return Counter(key(row) for row in rows)
