"""Sample: the frames worth a person's time go into the labelling queue, pre-labelled."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.selection import Selection
from tasks.labels import labels_status, push_labels
from tasks.register import champion
from tasks.sample import sample as choose_frames
from tasks.version import current_version
from tasks.watch import known_frames, watch


@flow(name="sample")
def sample(
    since: datetime | None = None,
    until: datetime | None = None,
    budget: int | None = None,
    config_path: Path | None = None,
) -> Selection | None:
    """Choose frames of the champion's log within the budget and queue them; None when there is nothing to choose from.

    Args:
        since, until: UTC; the log after the reference when None.
        budget: frames to choose; the configuration's when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path).with_budget(budget)
    watched = watch(champion(config), config, since, until)
    if watched is None:
        return None
    known = known_frames(current_version(config), labels_status(config), config.workspace.store)
    selection = choose_frames(watched.window, watched.artifact, known, config)
    push_labels(selection, watched.window, watched.artifact, config)
    return selection
