"""Stage watch: the champion's log, divided into its reference and what came after."""

from __future__ import annotations

from datetime import datetime

from edgeloop.artifact import Artifact
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, load_labels
from edgeloop.edge.flags import read_flags
from edgeloop.labelling import QueueStatus
from edgeloop.log_slice import LogSlice
from edgeloop.selection import Known
from edgeloop.store import LOG
from edgeloop.watched import Watched, as_utc, reference_end
from tasks.stage import stage


@stage(cache=False)
def watch(
    artifact: Artifact | None, config: Config, since: datetime | None = None, until: datetime | None = None
) -> Watched | None:
    """The reference of the deployed artifact and the part of its log to look at.

    The first `drift.reference_frames` frames that an artifact logs after its promotion are its reference: a confidence
    means something else in every artifact, so a reference is never taken over from the one before.

    Args:
        artifact: the champion.
        config: names the store.
        since, until: UTC; everything after the reference when None.

    Returns:
        None when there is no champion, or it has logged nothing beyond its reference.
    """
    if artifact is None:
        return None
    log = LogSlice(url=f"{config.workspace.store.rstrip('/')}/{LOG}", artifact_id=artifact.id)
    end = reference_end(log.read(), config.drift.reference_frames)
    if end is None:
        return None
    window = log.model_copy(update={"since": max(end, as_utc(since) or end), "until": as_utc(until)})
    return Watched(artifact=artifact, reference=log.model_copy(update={"until": end}), window=window)


@stage(cache=False)
def known_frames(version: DatasetVersion, queue: QueueStatus, store: str) -> Known:
    """What sampling must know: boxes per class to learn from, frames that are labelled or queued, operators' flags.

    Of two flags on one frame the later one counts.
    """
    labelled = [frame.frame.frame_id for frame in load_labels(version.root)]
    return Known(
        training_boxes=tuple(version.boxes["train"][name] for name in version.names),
        taken=(*labelled, *queue.frame_ids),
        flags=tuple({flag.frame_id: flag.kind for flag in read_flags(store)}.items()),
    )
