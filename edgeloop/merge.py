"""Growing the live data set: whole or not at all, idempotent, one writer at a time, and no frame changes its side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from edgeloop.belonging import Placed, asked
from edgeloop.data_folder import Change, Heading, refuse_strangers, write_state, writing
from edgeloop.errors import BadInput
from edgeloop.formats import yolo
from edgeloop.formats.copies import join_copies
from edgeloop.formats.findings import Finding, warning
from edgeloop.frames import Frame, Label, LabelledFrame
from edgeloop.manifest import SCHEMA_VERSION, PastLabel, Row, has_manifest, read_manifest, read_marks, state_of
from edgeloop.placement import place, refuse_rule
from edgeloop.record import Record
from edgeloop.shares import DEFAULT_SHARES, Shares
from edgeloop.splits import GroupRule, is_drawn
from edgeloop.upgrade import looks_of, upgraded

IMPORTER = "import"  # the labeler of labels that came with a set; anybody else's answer outranks it


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
        left_out: frames that would leak on whatever side they were put, each with the reason.
        split_by: the rule that says what belongs together.
    """

    added: int
    updated: int
    unchanged: int
    kept: int
    stayed: tuple[str, ...]
    duplicates: int
    state: str
    left_out: tuple[Finding, ...] = ()
    split_by: str = "none"


@dataclass(frozen=True)
class _Current:
    """The data set before a merge; `old` when its manifest lacks what this edgeloop writes."""

    rows: dict[str, Row]
    heading: Heading
    old: bool


def merge(
    data: Path,
    frames: Sequence[LabelledFrame],
    names: Sequence[str],
    rule: GroupRule | None = None,
    shares: Shares = DEFAULT_SHARES,
    *,
    dry_run: bool = False,
) -> MergeReport:
    """Add frames to the live data set and update the labels of those that are there.

    The same frames twice change nothing, down to the bytes. A frame keeps the side, the camera and the time it came
    with first. Labels of an import never replace labels that somebody else answers for. Frames that would leak are
    left out (`edgeloop.placement`).

    Args:
        data: the live folder; made when it does not exist.
        frames: with class ids that index `names`.
        names: their class names; matched by name with those of the data set.
        rule: what belongs together, from now on; None keeps the data set's own rule.
        shares: of new groups that nothing else gives a side.
        dry_run: say what would change, and change nothing.

    Raises:
        BadInput: a class the data set does not have, files in `data` that are not the data set's, another writer, an
            image that changed while it was copied, or a rule that cannot be kept. The data set is unchanged.
    """
    with nullcontext() if dry_run else writing(data):
        current = _current(data, names, rule)
        distinct, copies = join_copies(renumber(frames, names, current.heading.names))
        if rule is not None:
            refuse_rule(distinct, [_placed(row) for row in current.rows.values()], rule)
        changes, report = _plan(distinct, current, shares)
        if not dry_run and (changes or current.old):
            write_state(data, current.rows, changes, current.heading)
        return report.model_copy(update={"duplicates": len(copies), "state": state_of(data)})


def _current(data: Path, names: Sequence[str], rule: GroupRule | None) -> _Current:
    if not has_manifest(data):
        refuse_strangers(data, {})
        return _Current({}, Heading(tuple(names), rule.text if rule else "none"), old=True)
    rows = {row.frame_id: row for row in read_manifest(data)}
    refuse_strangers(data, rows)
    version, split_by = read_marks(data)
    heading = Heading(yolo.set_names(data), rule.text if rule else split_by)
    if version < SCHEMA_VERSION:
        rows = upgraded(data, rows, heading.names)
    return _Current(rows, heading, old=version < SCHEMA_VERSION or heading.split_by != split_by)


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


def _fresh(frames: Sequence[LabelledFrame], rows: dict[str, Row]) -> list[LabelledFrame]:
    return [frame for frame in frames if frame.frame.frame_id not in rows]


def _plan(frames: Sequence[LabelledFrame], current: _Current, shares: Shares) -> tuple[list[Change], MergeReport]:
    rows, rule = current.rows, GroupRule.parse(current.heading.split_by)
    fresh = _seen(_fresh(frames, rows))
    placement = place(fresh, [_placed(row) for row in rows.values()], rule, shares)
    taken = {frame.frame.frame_id: frame for frame in fresh if frame.frame.frame_id in placement.placed}
    changes = [_addition(frame, placement.placed[frame_id]) for frame_id, frame in taken.items()]
    stayed = [name for name, frame in taken.items() if asked(frame, rule) not in (None, placement.placed[name].side)]
    unchanged, kept, added = 0, 0, len(changes)
    for frame in frames:
        row = rows.get(frame.frame.frame_id)
        if row is None:
            continue
        if asked(frame, rule) not in (None, row.split):
            stayed.append(row.frame_id)
        update = _update(frame, row)
        if update is None:
            unchanged += 1
        elif frame.labeler == IMPORTER and row.labeler != IMPORTER:
            kept += 1
        else:
            changes.append(update)
    counts = {"added": added, "updated": len(changes) - added, "unchanged": unchanged, "kept": kept}
    left_out = tuple(
        warning("leak", frame.frame.image, placement.left_out[frame.frame.frame_id])
        for frame in fresh
        if frame.frame.frame_id in placement.left_out
    )
    return changes, MergeReport(
        **counts, stayed=tuple(stayed), duplicates=0, state="", left_out=left_out, split_by=rule.text
    )


def _seen(frames: list[LabelledFrame]) -> list[LabelledFrame]:
    """The frames as the manifest will hold them: time to the millisecond, and with their perceptual hashes, also those
    that come from a queue, where nobody looked at them.
    """
    missing = [frame.frame.image for frame in frames if frame.frame.perceptual_hash is None]
    looks = dict(zip(missing, looks_of(missing), strict=True))
    return [replace(frame, frame=_as_kept(frame.frame, looks)) for frame in frames]


def _as_kept(photo: Frame, looks: Mapping[Path, int | None]) -> Frame:
    time = photo.time.replace(microsecond=photo.time.microsecond // 1000 * 1000)
    return replace(photo, time=time, perceptual_hash=looks.get(photo.image, photo.perceptual_hash))


def _placed(row: Row) -> Placed:
    return Placed(
        frame_id=row.frame_id,
        group=row.group,
        side=row.split,
        camera=row.camera,
        time=row.time,
        look=row.perceptual_hash,
        classes=frozenset(row.class_ids or ()),
        drawn=is_drawn(row.split, row.source),
    )


def _addition(frame: LabelledFrame, to: Placed) -> Change:
    photo, text = frame.frame, _text(frame)
    suffix = {".jpeg": ".jpg"}.get(photo.image.suffix.lower(), photo.image.suffix.lower())
    row = Row(
        frame_id=photo.frame_id,
        file=f"images/{to.side}/{photo.frame_id}{suffix}",
        camera=photo.camera,
        time=photo.time,
        group=to.group,
        split=to.side,
        source=frame.source,
        labeler=frame.labeler,
        width=photo.width,
        height=photo.height,
        boxes=len(frame.labels),
        sha256="",  # known when the file is copied
        label_sha256=_digest(text),
        perceptual_hash=photo.perceptual_hash,
        class_ids=_ids(frame.labels),
    )
    return Change(row, text, photo)


def _update(frame: LabelledFrame, row: Row) -> Change | None:
    text = _text(frame)
    if _digest(text) == row.label_sha256:
        return None
    before = PastLabel(row.labeler, row.source, row.boxes, row.label_sha256)
    answered = replace(row, source=frame.source, labeler=frame.labeler, boxes=len(frame.labels))
    row = replace(answered, label_sha256=_digest(text), class_ids=_ids(frame.labels), history=(*row.history, before))
    return Change(row, text, None)


def _ids(labels: Sequence[Label]) -> tuple[int, ...]:
    """The class of every box in the order of the label file, which is sorted by class."""
    return tuple(sorted(label.class_id for label in labels))


def _text(frame: LabelledFrame) -> str:
    return yolo.label_text(frame.labels, frame.frame.width, frame.frame.height)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
