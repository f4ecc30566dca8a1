"""Benchmark: an artifact on the machine that this flow runs on, against a device profile."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from edgeloop.artifact import load_artifact
from edgeloop.card import load_profile
from edgeloop.config import load_config
from edgeloop.measures import BenchmarkReport
from tasks.benchmark import benchmark as measure


@flow(name="benchmark")
def benchmark(
    artifact_path: Path, images: Path, profile: Path | None = None, config_path: Path | None = None
) -> tuple[BenchmarkReport, ...]:
    """Measure an artifact where this runs: start it on the device pool for a device.

    Args:
        artifact_path: the ONNX file with its record beside it.
        images: a folder of real frames.
        profile: the device profile; the configuration's when None.
        config_path: a config.yaml; the nearest when None.
    """
    config = load_config(config_path)
    device = load_profile(profile or config.path(config.device))
    return measure((load_artifact(artifact_path),), images, device, config.workspace.artifacts)
