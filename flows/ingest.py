"""Ingest: what arrived becomes part of the data set or of the frame store, and the data set a version."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.config import load_config
from edgeloop.dataset import DatasetVersion
from tasks.arrivals import list_arrivals
from tasks.ingest import ingest as ingest_set
from tasks.ingest import register_frames
from tasks.version import commit_version


@flow(name="ingest")
def ingest(sources: list[Path] | None = None, config_path: Path | None = None) -> DatasetVersion | None:
    """Take in labelled sets and folders of production frames; the new version, None when no labelled set came.

    Args:
        sources: folders; what lies in the configuration's inbox when None.
        config_path: a config.yaml; the nearest when None.
    """
    config, version = load_config(config_path), None
    for arrival in list_arrivals(sources, config):
        if arrival.labelled:
            report = ingest_set(arrival.folder, config)
            version = commit_version(config, report.state)
        else:
            register_frames(arrival.folder, config)
    return version
