"""Which unlabelled production frames say how often each class occurs there: a random draw of the newest, frozen.

Frames are those of the store that its catalogue or the inference log names, and that a device kept by chance: all of
them, or a random share (audit). Uncertain and flagged ones were kept for what is on them. So, the other way round, was
each Nth frame of a camera that also keeps uncertain ones, since those are left over: they are the certain ones.

Labelled frames stay in. Sampling chose them for what is on them, so without them the rest would show too few rare
objects and hard cases; that the detector is a little too sure of the few that it was trained on is the smaller mistake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from edgeloop.card import LEAST_PRODUCTION, ProductionCard
from edgeloop.edge.frame import decode_image
from edgeloop.edge.log import logged_dates, read_log
from edgeloop.errors import BadInput
from edgeloop.record import Record
from edgeloop.store import LOG, FrameStore

BY_CONTENT = ("uncertain", "flagged")  # why a device kept a frame, where that is no chance (edgeloop.edge.retention)


class ProductionFrames(Record):
    """Frames of a store, drawn once.

    Attributes:
        store: its URL.
        card: what was asked.
        seed: of the draw.
        frames: their ids.
        until: when the newest frame of the store was taken, UTC; None where there is none.
    """

    store: str
    card: ProductionCard
    seed: int
    frames: tuple[str, ...]
    until: datetime | None

    @property
    def enough(self) -> bool:
        """Whether they are enough to estimate anything from."""
        return len(self.frames) >= LEAST_PRODUCTION

    @property
    def told(self) -> str:
        """What a reader of the thresholds must know of them, one sentence."""
        since = f" of the {self.card.days:g} days before {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        if self.enough:
            return f"Prevalence of production: from {len(self.frames)} frames drawn at random{since}."
        return (
            f"warning: no prevalence of production: the store has {len(self.frames)} frames{since}, at least "
            f"{LEAST_PRODUCTION} are needed. Tuned at the prevalence of the audit frames."
        )


def draw_production(store: str, card: ProductionCard, seed: int) -> ProductionFrames:
    """Draw among the newest frames of a store; the same store and seed give the same frames.

    Args:
        store: a folder or any fsspec URL.
        card: how many frames, and how far back they reach from the newest.
        seed: of the draw; a store that has grown keeps most of an earlier draw within the same days.

    Raises:
        BadInput: the store refuses, or its catalogue or log is damaged.
    """
    frames = FrameStore(store)
    times = _times(frames, card.days)
    newest = max(times.values(), default=None)
    recent = [] if newest is None else [one for one, time in times.items() if time >= newest - card.reach]
    there = (one for one in sorted(recent, key=lambda one: _place(one, seed)) if _is_readable(frames, one))
    drawn = tuple(islice(there, card.frames))
    return ProductionFrames(store=store, card=card, seed=seed, frames=drawn, until=newest)


def freeze_production(path: Path, store: str, card: ProductionCard, seed: int) -> ProductionFrames:
    """Draw once and keep the draw: while its frames are there, a later call has the same, whatever came since.

    Too few frames are not kept, so that a later round looks again.

    Raises:
        BadInput: see `draw_production`; or the file at `path` is none of ours.
    """
    if path.is_file():
        kept, frames = ProductionFrames.load(path), FrameStore(store)
        if all(one in frames for one in kept.frames):
            return kept
    drawn = draw_production(store, card, seed)
    if drawn.enough:
        drawn.save(path)
    return drawn


def _times(store: FrameStore, days: float) -> Mapping[str, datetime]:
    """When each frame was taken, by id: what was registered, or logged with an image; not what a device chose."""
    found = dict(_columns(store.catalogue.read(["frame_id", "time"]), "frame_id", "time"))
    log = f"{store.url.rstrip('/')}/{LOG}"
    dates = logged_dates(log)
    if not dates:
        return found
    last = datetime.fromisoformat(dates[-1]).replace(tzinfo=timezone.utc)
    rows = read_log(log, since=last - timedelta(days=days), columns=("image", "kept"))
    found.update(_columns(rows.filter(rows.column("image").is_valid()), "frame_id", "time"))
    chosen = _chosen(rows)
    return {one: time for one, time in found.items() if one not in chosen}


def _chosen(rows: pa.Table) -> set[str]:
    """The frames of a log that were kept, or left over, for what is on them."""
    choosing = {camera for camera, kept in _columns(rows, "camera", "kept") if kept == "uncertain"}
    return {
        frame_id
        for frame_id, camera, kept in _columns(rows, "frame_id", "camera", "kept")
        if kept in BY_CONTENT or (kept == "every" and camera in choosing)
    }


def _columns(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows of some columns."""
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)


def _place(frame_id: str, seed: int) -> bytes:
    """Where a frame comes in the draw: a hash, so that it does not depend on which other frames there are."""
    return hashlib.sha256(f"edgeloop production {seed} {frame_id}".encode("utf-8", "surrogateescape")).digest()


def _is_readable(store: FrameStore, frame_id: str) -> bool:
    """Whether the store has the image: one that a log names may still wait on its device."""
    if frame_id not in store:
        return False
    try:
        decode_image(store.get(frame_id), frame_id)
    except BadInput:
        return False
    return True
