"""Ingest: a labelled set into the data set, production frames into the store."""

from __future__ import annotations

from pathlib import Path

from edgeloop import frame_intake
from edgeloop.config import Config
from edgeloop.dataset import MergeReport, count_boxes, load_names, merge
from edgeloop.formats import Finding, Format, read
from edgeloop.frame_intake import RegisterReport
from edgeloop.inspection import InspectionCache
from edgeloop.labelling import PullReport
from edgeloop.record import Record
from tasks.stage import stage


class IngestReport(Record):
    """What an ingest found and changed.

    Attributes:
        source: the folder that was read.
        data: the live data set.
        names: the source's class names.
        files: image files in the source.
        frames: distinct frames among them.
        boxes: boxes of each class in the source, after rejections.
        added, updated, unchanged, kept, stayed, duplicates: as in `edgeloop.merge.MergeReport`; duplicates are files
            whose bytes repeat in the source.
        rejected: what was left out, each with path and reason.
        state: what the data set holds now; hand it to `commit_version`.
        dry_run: nothing was changed.
    """

    source: Path
    data: Path
    names: tuple[str, ...]
    files: int
    frames: int
    boxes: dict[str, int]
    added: int
    updated: int
    unchanged: int
    kept: int
    stayed: tuple[str, ...]
    duplicates: int
    rejected: tuple[Finding, ...]
    state: str
    dry_run: bool


@stage(reads=("source",))
def ingest(source: Path, config: Config, format: Format = "auto", dry_run: bool = False) -> IngestReport:  # noqa: A002
    """Read a labelled set, check all of it, and merge it into the data set; twice changes nothing.

    Args:
        source: the set's folder.
        config: names the data set.
        format: the source's layout; "auto" looks.
        dry_run: say what would change, and change nothing.

    Raises:
        BadInput: the source has errors, or contradicts the data set. The data set is unchanged.
    """
    found = read(source, format)
    data = config.workspace.data
    merged = merge(data, found.frames, found.names, dry_run=dry_run)
    counts = merged.model_dump(exclude={"duplicates", "left_out", "split_by"})
    return IngestReport(
        source=source.resolve(),
        data=data,
        names=found.names,
        files=found.files,
        frames=len(found.frames),
        boxes=count_boxes(found.frames, found.names),
        **counts,
        duplicates=found.files - len(found.frames),
        rejected=(*found.findings, *merged.left_out),
        dry_run=dry_run,
    )


@stage(reads=("folder",))
def register_frames(folder: Path, config: Config) -> RegisterReport:
    """Copy the frames of a folder into the store, where labelling and sampling find them by their id.

    Raises:
        BadInput: no such folder, no image in it, or a store that cannot be opened.
    """
    cache = InspectionCache(config.workspace.inspections, folder)
    return frame_intake.register(folder, config.workspace.store, cache)


@stage(cache=False)
def ingest_labels(pulled: PullReport, config: Config) -> MergeReport:
    """Merge what people labelled into the data set; twice changes nothing.

    Raises:
        BadInput: there is no data set yet, or another process is writing it.
    """
    data = config.workspace.data
    return merge(data, pulled.frames, load_names(data))
