"""Stage benchmark: latency, memory and size of artifacts on this machine, against a device profile."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.edge.benchmark import compare
from edgeloop.edge.frame import Image, decode_image
from edgeloop.errors import BadInput
from edgeloop.formats.assemble import images_below
from edgeloop.measures import BenchmarkReport
from tasks.stage import stage

IMAGES = 64  # decoded ones are kept in memory; more would not change the percentiles


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
        One report for each artifact and runtime; `edgeloop.edge.benchmark.fastest` picks a device's.

    Raises:
        BadInput: no image, no runtime of the profile installed, or a file that has changed or does not run.
    """
    reports = compare([artifact.verify() for artifact in artifacts], profile, load_images(images), batch)
    for report in reports:
        report.save(out / f"{report.artifact_id}-{profile.name}-{report.runtime}-batch{batch}.json")
    return reports


def load_images(folder: Path) -> list[Image]:
    """At most 64 images of a folder, evenly chosen over its sorted names.

    Raises:
        BadInput: no such folder, no image in it, or a chosen one cannot be read.
    """
    paths = list(images_below(folder)) if folder.is_dir() else []
    if not paths:
        raise BadInput(f"{folder} holds no frames: expected a folder with .jpg, .png, .bmp, .webp or .tif files.")
    step = max(len(paths) / IMAGES, 1)
    chosen = [paths[int(index * step)] for index in range(min(len(paths), IMAGES))]
    return [decode_image(path.read_bytes(), str(path)) for path in chosen]
