"""Versions of the data set, and what changed between two, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from edgeloop.dataset import DatasetVersion, ListedVersion
from edgeloop.dataset_diff import Changed, DatasetDiff
from edgeloop.frames import SPLITS, Split
from edgeloop.tables import table, version_table

SHOWN = 20  # relabelled frames in the table; --json has all of them


def versions_tables(versions: Sequence[ListedVersion]) -> list[Table]:
    """Every version in the order given, then what the current one is made of."""
    made = table("Data set versions, newest first", "", "version", *(f"{side} frames" for side in SPLITS), "boxes")
    for one in versions:
        boxes = sum(sum(side.values()) for side in one.version.boxes.values())
        mark = "current" if one.current else ""
        made.add_row(mark, one.version.md5, *(f"{one.version.frames[side]:,}" for side in SPLITS), f"{boxes:,}")
    current = [one.version for one in versions if one.current]
    return [made, *(made for version in current for made in (version_table(version), *_balance(version)))]


def _balance(version: DatasetVersion) -> list[Table]:
    return [
        _frames_table(title, name, counts)
        for title, name, counts in (("Cameras", "camera", version.cameras), ("Sources", "source", version.sources))
        if counts
    ]


def _frames_table(title: str, name: str, counts: Mapping[str, Mapping[Split, int]]) -> Table:
    made = table(title, name, *(f"{side} frames" for side in SPLITS))
    for key, sides in counts.items():
        made.add_row(Text(key), *(f"{sides.get(side, 0):,}" for side in SPLITS))
    return made


def diff_tables(diff: DatasetDiff) -> list[Table]:
    """Frames by side, boxes by class, then cameras, sources and relabelled frames where any changed."""
    title = f"From {diff.before} to {diff.after}" + (": nothing changed" if diff.is_empty else "")
    frames = table(title, "frames", *SPLITS)
    frames.add_row("added", *(f"{len(diff.added[side]):,}" for side in SPLITS))
    frames.add_row("removed", *(f"{len(diff.removed[side]):,}" for side in SPLITS))
    relabelled = {side: sum(one.split == side for one in diff.relabelled) for side in SPLITS}
    frames.add_row("relabelled", *(f"{relabelled[side]:,}" for side in SPLITS))
    made = [frames, _changes("Boxes", "class", diff.boxes)]
    made += [_changes("Cameras", "camera", diff.cameras)] if diff.cameras else []
    made += [_changes("Sources", "source", diff.sources)] if diff.sources else []
    return made + ([_relabelled(diff)] if diff.relabelled else [])


def _changes(title: str, name: str, changes: Sequence[Changed]) -> Table:
    made = table(title, name, "before", "after", "change")
    for one in changes:
        made.add_row(Text(one.name), f"{one.before:,}", f"{one.after:,}", f"{one.after - one.before:+,}")
    return made


def _relabelled(diff: DatasetDiff) -> Table:
    more = len(diff.relabelled) - SHOWN
    made = table("Relabelled" + (f", the first {SHOWN} of {len(diff.relabelled)}" if more > 0 else ""), "frame", "side",
                 "labeler", "boxes")  # fmt: skip
    for one in diff.relabelled[:SHOWN]:
        boxes = f"{one.boxes[0]} to {one.boxes[1]}"
        made.add_row(one.frame_id, one.split, Text(" to ".join(dict.fromkeys(one.labelers))), boxes)
    return made
