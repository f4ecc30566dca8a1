"""Latency of artifacts on this machine, from the decoded image to the final boxes, all of them taking turns in one run.

On a machine that does other work too, two runs minutes apart cannot be compared: INT8 against FP32 is a ratio only when
both met the same minutes. So every artifact and runtime has a lane, and the lanes take turns in short blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.edge.detector import Detector, Timing
from edgeloop.edge.frame import Image
from edgeloop.edge.machine import instructions, machine, throttle_count
from edgeloop.edge.memory import measure_memory
from edgeloop.edge.runtime import RuntimeName, installed, open_runtime
from edgeloop.errors import BadInput
from edgeloop.measures import BenchmarkReport, Latency
from edgeloop.progress import bar

BLOCK = 16  # timed batches in a turn: long enough to run warm, short enough that a slow second meets every lane
WARM_UP = 2  # untimed batches at the start of a turn: the other lanes have emptied the caches


@dataclass
class Lane:
    """One artifact in one runtime, and the times it took: one entry a batch, milliseconds of the whole batch."""

    artifact: Artifact
    detector: Detector
    times: list[Timing] = field(default_factory=list)

    def run(self, images: Sequence[Image], batch: int, timed: int) -> None:
        """Take a turn of `timed` batches, each of the next images."""
        for number in range(-WARM_UP, timed):
            first = len(self.times) * batch
            frames = [images[(first + slot) % len(images)] for slot in range(batch)]
            share = self.detector.detect_batch(frames)[0].timing
            if number >= 0:
                self.times.append(Timing(share.preprocess * batch, share.inference * batch, share.postprocess * batch))


def benchmark(
    artifact: Artifact, profile: DeviceProfile, images: Sequence[Image], batch: int = 1
) -> tuple[BenchmarkReport, ...]:
    """Measure one artifact in every runtime of the profile that is installed here; see `compare`."""
    return compare([artifact], profile, images, batch)


def compare(
    artifacts: Sequence[Artifact], profile: DeviceProfile, images: Sequence[Image], batch: int = 1
) -> tuple[BenchmarkReport, ...]:
    """Measure several artifacts in every runtime of the profile that is installed here, in one interleaved run.

    Args:
        artifacts: what to measure.
        profile: threads, runtimes and how many frames are timed.
        images: (H, W, 3) uint8 BGR, decoded; used over and over. Real frames: postprocessing depends on them.
        batch: images in a call; percentiles are then of whole batches, frames per second of images.

    Returns:
        One report for each artifact and runtime, artifacts in their order, runtimes in the profile's.

    Raises:
        BadInput: no image, no runtime of the profile is installed, or a file does not load or fit its record.
    """
    if not images:
        raise BadInput("expected at least one image to measure with, came none; name a folder with frames.")
    names = runtimes_of(profile)
    heat = throttle_count()
    with _threads(profile.threads):
        lanes = [
            Lane(artifact, _detector(artifact, name, profile.threads, batch))
            for artifact in artifacts
            for name in names
        ]
        _take_turns(lanes, images, batch, profile.timed_frames)
        throttled = None if heat is None else (throttle_count() or 0) > heat
        for lane in lanes:
            lane.detector.runtime.close()
    return tuple(_report(lane, profile, batch, throttled) for lane in lanes)


def _detector(artifact: Artifact, name: RuntimeName, threads: int, batch: int) -> Detector:
    return Detector(artifact, open_runtime(artifact.path, name, threads, batch=batch), batch=batch)


def runtimes_of(profile: DeviceProfile) -> tuple[RuntimeName, ...]:
    """The profile's runtimes that are installed here.

    Raises:
        BadInput: none is.
    """
    return tuple(sorted(installed(profile.runtimes), key=profile.runtimes.index))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """OpenCV's threads are the process's, so they are put back."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _take_turns(lanes: Sequence[Lane], images: Sequence[Image], batch: int, frames: int) -> None:
    """Blocks of all lanes, each round beginning with another lane, until every lane has its frames."""
    batches = -(-frames // batch)
    rounds = -(-batches // BLOCK)
    turns = [(number, offset) for number in range(rounds) for offset in range(len(lanes))]
    for number, offset in bar(turns, "benchmark", len(turns)):
        lane = lanes[(number + offset) % len(lanes)]
        lane.run(images, batch, min(BLOCK, batches - len(lane.times)))


def _report(lane: Lane, profile: DeviceProfile, batch: int, throttled: bool | None) -> BenchmarkReport:
    artifact, name = lane.artifact, lane.detector.runtime.name
    total = [time.total for time in lane.times]
    return BenchmarkReport(
        artifact_id=artifact.id,
        precision=artifact.precision,
        device=profile.name,
        machine=machine(),
        instructions=instructions(),
        runtime=name,
        threads=profile.threads,
        batch=batch,
        timed_frames=len(total) * batch,
        total=latency(total),
        preprocess=latency([time.preprocess for time in lane.times]),
        inference=latency([time.inference for time in lane.times]),
        postprocess=latency([time.postprocess for time in lane.times]),
        frames_per_second=1000 * batch * len(total) / sum(total),
        memory_mb=measure_memory(artifact, name, profile.threads, batch),
        size_mb=artifact.path.stat().st_size / 2**20,
        throttled=throttled,
    )


def latency(milliseconds: Sequence[float]) -> Latency:
    """Percentiles that occurred: the next higher sample, never an interpolation below it."""
    p50, p90, p99 = (float(np.percentile(milliseconds, q, method="higher")) for q in (50, 90, 99))
    return Latency(p50=p50, p90=p90, p99=p99, maximum=max(milliseconds))
