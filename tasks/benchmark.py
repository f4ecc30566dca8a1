"""Stage benchmark: latency, memory and size of artifacts on this machine, against a device profile."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.edge.bench import load_images
from edgeloop.edge.benchmark import compare
from edgeloop.measures import BenchmarkReport
from tasks.stage import stage


@stage
def benchmark(
    artifacts: tuple[Artifact, ...], images: Path, profile: DeviceProfile, out: Path, batch: int = 1
) -> tuple[BenchmarkReport, ...]:
    """Measure the artifacts in every runtime of the profile that is installed, all in one interleaved run.

    Args:
        artifacts: what to compare, FP32 and INT8 of one candidate say.
        images: a folder of real frames; evenly chosen, at most 64 are used.
        profile: runtimes, threads, number of timed frames.
        out: folder for the reports, one JSON file each.
        batch: images in a call.

    Returns:
        One report for each artifact and runtime.

    Raises:
        BadInput: no image, no runtime of the profile installed, or a file that has changed or does not run.
    """
    reports = compare([artifact.verify() for artifact in artifacts], profile, load_images(images), batch)
    for report in reports:
        report.save(out / f"{report.artifact_id}-{profile.name}-{report.runtime}-batch{batch}.json")
    return reports
