"""Ingest: a labelled set into the data set; frames, videos and logs into the store."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from edgeloop.arrival import Arrival, IngestReport, IngestSettings
from edgeloop.config import Config
from edgeloop.dataset import MergeReport, count_boxes, load_names, merge
from edgeloop.formats import read
from edgeloop.formats.findings import below
from edgeloop.formats.notices import nearly_repeated
from edgeloop.formats.paths import require_images
from edgeloop.frame_intake import register
from edgeloop.inspection import InspectionCache, inspect_files
from edgeloop.labelling import PullReport
from edgeloop.log_intake import take_log
from edgeloop.manifest import has_manifest, known_looks
from edgeloop.output import say
from edgeloop.splits import GroupRule
from edgeloop.video_frames import count_chosen, take_video
from tasks.stage import stage


@stage(reads=("arrival",))
def ingest(arrival: Arrival, config: Config, settings: IngestSettings | None = None) -> IngestReport:
    """Read a labelled set, check all of it, and merge it into the data set; twice changes nothing.

    Args:
        arrival: a labelled set.
        config: names the data set.
        settings: how to read it, and what belongs together.

    Raises:
        BadInput: the set has errors, or contradicts the data set. The data set is unchanged.
    """
    asked, data, place = settings or IngestSettings(), config.workspace.data, _place(arrival)
    rule = None if asked.split_by is None else GroupRule.parse(asked.split_by)
    cache = None if asked.dry_run else InspectionCache(config.workspace.inspections, place)
    names = load_names(data) if has_manifest(data) else None
    looks = known_looks(data)
    found = read(place, arrival.layout or "auto", names, asked.fix, partial(inspect_files, cache=cache))
    merged = merge(data, found.frames, found.names, rule, config.shares, dry_run=asked.dry_run)
    near = nearly_repeated(place, found.frames, looks)
    told = {finding.path for finding in merged.left_out}  # what they are near to
    report = IngestReport(
        source=arrival.source,
        kind="labelled",
        files=found.files,
        names=found.names,
        boxes=count_boxes(found.frames, found.names),
        duplicates=found.files - len(found.frames),
        near_duplicates=len(near),
        rejected=below(place, (*found.rejected, *merged.left_out)),
        fixed=below(place, found.mended),
        notices=below(place, (*found.notices, *(one for one in near if one.path not in told))),
        dry_run=asked.dry_run,
        **merged.model_dump(include={"added", "updated", "unchanged", "kept", "stayed", "state"}),
    )
    return _kept(report, config)


@stage(cache=False)
def store_frames(arrival: Arrival, config: Config, settings: IngestSettings | None = None) -> IngestReport:
    """Images, the frames of a video, or what a device saw, into the store; twice changes nothing.

    Raises:
        BadInput: nothing that can be taken in, or a store that refuses. What was taken until then is whole.
    """
    asked = settings or IngestSettings()
    if asked.dry_run:
        return _looked(arrival, asked)
    return _kept(_log(arrival, config) if arrival.kind == "log" else _frames(arrival, config, asked), config)


def _frames(arrival: Arrival, config: Config, asked: IngestSettings) -> IngestReport:
    place, store = _place(arrival), config.workspace.store
    if arrival.kind == "video":
        memory = config.workspace.inspections / "videos"
        done = take_video(place, store, asked.sampling, memory, asked.camera)
    else:
        done = register(place, store, InspectionCache(config.workspace.inspections, place))
    counts = done.model_dump(include={"added", "present", "near_duplicates", "warnings"})
    return IngestReport(source=_said(arrival), kind=arrival.kind, rejected=below(place, done.rejected), **counts)


def _log(arrival: Arrival, config: Config) -> IngestReport:
    done = take_log(arrival.source, config.workspace.store)
    left = tuple(f"left out: {one.path}: {one.reason}" for one in done.rejected)
    return IngestReport(
        source=arrival.source, kind="log", added=done.frames, present=done.present, rows=done.rows, flags=done.flags,
        near_duplicates=done.near_duplicates, warnings=left,
    )  # fmt: skip


def _looked(arrival: Arrival, asked: IngestSettings) -> IngestReport:
    """A dry run of what goes into the store: how many images there are, or how many frames of a video are chosen."""
    files = 0
    if arrival.kind == "images":
        files = len(require_images(_place(arrival)))
    if arrival.kind == "video":
        files = count_chosen(_place(arrival), asked.sampling)
    return IngestReport(source=_said(arrival), kind=arrival.kind, files=files, dry_run=True)


def _kept(report: IngestReport, config: Config) -> IngestReport:
    """Saved among the workspace's reports, unless nothing was done."""
    if not report.dry_run:
        source = hashlib.sha256(os.fsencode(report.source)).hexdigest()[:8]
        name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}-{source}.json"
        report.save(config.workspace.reports / "ingest" / name)
    return report


def _place(arrival: Arrival) -> Path:
    return arrival.place or Path(arrival.source)


def _said(arrival: Arrival) -> str:
    """The source; of a folder of videos the video's own path."""
    return str(arrival.place) if arrival.kind == "video" else arrival.source


@stage(cache=False)
def ingest_labels(pulled: PullReport, config: Config) -> MergeReport:
    """Merge what people labelled into the data set; twice changes nothing.

    Raises:
        BadInput: there is no data set yet, or another process is writing it.
    """
    data = config.workspace.data
    merged = merge(data, pulled.frames, load_names(data), shares=config.shares)
    say(*(f"left out: {finding.path.name}: {finding.reason}" for finding in merged.left_out))
    return merged
