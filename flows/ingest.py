"""Ingest: what arrived becomes part of the data set or of the frame store, and the data set a version."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.arrival import IngestSettings, makes_version
from edgeloop.config import load_config
from edgeloop.dataset import DatasetVersion
from tasks.arrivals import list_arrivals
from tasks.ingest import ingest as ingest_set
from tasks.ingest import store_frames
from tasks.version import commit_version, require_remote


@flow(name="ingest")
def ingest(
    sources: list[Path | str] | None = None, settings: IngestSettings | None = None, config_path: Path | None = None
) -> DatasetVersion | None:
    """Take in labelled sets, images, videos and logs; the new version, None when no labelled set came.

    Args:
        sources: folders, files and fsspec URLs; what lies in the configuration's inbox when None.
        settings: what they are, what belongs together, what is mended.
        config_path: a config.yaml; the nearest when None.
    """
    config, version = load_config(config_path), None
    arrivals = list_arrivals(sources, config, settings)
    if makes_version(arrivals, settings):
        require_remote(config)
    for arrival in arrivals:
        take = ingest_set if arrival.kind == "labelled" else store_frames
        report = take(arrival, config, settings)
        if report.state and not report.dry_run:
            version = commit_version(config, report.state)
    return version
