"""Ingest: what arrived becomes part of the data set or of the frame store, and the data set a version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import Task, flow

from edgeloop.arrival import IngestReport, IngestSettings, makes_version
from edgeloop.config import Config, load_config
from edgeloop.dataset import DatasetVersion
from tasks.arrivals import list_arrivals
from tasks.ingest import ingest as ingest_set
from tasks.ingest import store_frames
from tasks.version import commit_version, require_remote

P = ParamSpec("P")
R = TypeVar("R")


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
    made = [version for _, version in take_in(sources, load_config(config_path), settings) if version]
    return made[-1] if made else None


def take_in(
    sources: Sequence[Path | str] | None, config: Config, settings: IngestSettings | None, *, alone: bool = False
) -> Iterator[tuple[IngestReport, DatasetVersion | None]]:
    """What each arrival came to, as it is taken in, and the version that it made, if any.

    Args:
        sources, settings: see `ingest`.
        config: the workspace.
        alone: outside a flow, without Prefect.
    """
    arrivals = _step(list_arrivals, alone)(sources, config, settings)
    if makes_version(arrivals, settings):
        _step(require_remote, alone)(config)
    for arrival in arrivals:
        take = _step(ingest_set if arrival.kind == "labelled" else store_frames, alone)
        report = take(arrival, config, settings)
        commits = report.state and not report.dry_run
        yield report, _step(commit_version, alone)(config, report.state) if commits else None


def _step(stage: Task[P, R], alone: bool) -> Callable[P, R]:
    return stage.fn if alone else stage
