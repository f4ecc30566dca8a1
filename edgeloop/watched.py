"""Which part of the log is the reference of the deployed artifact, and which part is watched."""

from __future__ import annotations

from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute as pc

from edgeloop.artifact import Artifact
from edgeloop.log_slice import LogSlice
from edgeloop.record import Record


class Watched(Record):
    """A deployed artifact with its reference and the part of its log that is looked at."""

    artifact: Artifact
    reference: LogSlice
    window: LogSlice


def reference_end(log: pa.Table, frames: int) -> datetime | None:
    """When the reference ends: the first `frames` frames that the artifact logged are the reference.

    Args:
        log: rows of one artifact.
        frames: how many frames make a reference.

    Returns:
        The time of the first frame after it; None while the log has no frame after it.
    """
    if log.num_rows <= frames:
        return None
    times = pc.sort_indices(log, sort_keys=[("time", "ascending")])
    moment: datetime = log.column("time")[times[frames].as_py()].as_py()
    return moment


def as_utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=timezone.utc) if moment and moment.tzinfo is None else moment
