"""Label sync: what people labelled since the last time becomes a data set version."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.dataset import DatasetVersion
from tasks.ingest import ingest_labels
from tasks.labels import acknowledge_labels, labels_status, pull_labels
from tasks.ready import emit_labels_ready
from tasks.version import commit_version, require_remote


@flow(name="label-sync")
def label_sync(emit: bool = True, config_path: Path | None = None) -> DatasetVersion | None:
    """Bring labels back, make a version, and say when the queue is done; None when nothing changed.

    Args:
        emit: send the event that starts the retraining deployment once nothing waits any more.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    pulled = pull_labels(config)
    if not pulled.seen:
        return None
    require_remote(config)
    merged = ingest_labels(pulled, config)
    version = commit_version(config, merged.state)
    acknowledge_labels(pulled, config)
    status = labels_status(config)
    if emit and not status.waiting:
        emit_labels_ready(status, version, config)
    return version
