"""Stage sample: spend the label budget on the frames of a log that are worth it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.log_slice import LogSlice
from edgeloop.selection import Known, Selection, select
from tasks.stage import stage


@stage(cache=False)
def sample(window: LogSlice, artifact: Artifact, known: Known, config: Config) -> Selection:
    """Choose frames to label from a part of the log.

    A choice once made for a closed window, an artifact and a budget stands: its record lies under `var/selections`,
    and a run that was killed after it began to fill the queue goes on with the same frames instead of choosing others.
    A window without an end grows, so there the choice stands until something of it is queued.

    Raises:
        BadInput: the log is missing, broken or another artifact's, or it holds no frame that could be labelled.
    """
    path = selection_path(window, artifact, known, config)
    if path.is_file():
        return Selection.load(path)
    log = window.model_copy(update={"artifact_id": artifact.id}).read()
    frames = select(log, artifact.thresholds, config.sampling, known)
    if not frames:
        raise BadInput(
            f"None of the {len(log)} logged frames can be labelled: all are labelled or queued, or the device stored "
            "no image of them. Choose a later window, or store frames on the device."
        )
    taken = set(known.taken)
    candidates = {frame_id for frame_id in log.column("frame_id").to_pylist() if frame_id not in taken}
    chosen = Selection(
        artifact_id=artifact.id,
        budget=config.sampling.budget,
        candidates=len(candidates),
        frames=frames,
        path=path,
    )
    chosen.save(path)
    return chosen


def selection_path(window: LogSlice, artifact: Artifact, known: Known, config: Config) -> Path:
    """Where the choice for this window, artifact and budget lies."""
    taken = "" if window.until else known.to_json()
    asked = f"{window.to_json()}{artifact.id}{config.sampling.model_dump_json()}{taken}"
    return config.workspace.var / "selections" / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
