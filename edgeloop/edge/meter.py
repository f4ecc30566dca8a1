"""What a running agent counts: frames, their times, and the state of everything around the loop."""

from __future__ import annotations

import math
import time
from collections import deque
from datetime import datetime

from edgeloop.record import Record

STEP = math.log(1.01)  # of the histogram: a percentile is right to one percent, in constant memory
RATE_SECONDS = 5.0  # frames per second are those of so many seconds
SHORTEST_MS = 1e-3
BUCKETS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 33.3, 50.0, 100.0, 200.0, 500.0, 1000.0)  # what a scraper sees


class Histogram:
    """Times of any number of frames, in about a thousand bins each one percent wide."""

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0
        self._bins: dict[int, int] = {}

    def add(self, milliseconds: float) -> None:
        place = math.ceil(math.log(max(milliseconds, SHORTEST_MS)) / STEP)
        self._bins[place] = self._bins.get(place, 0) + 1
        self.count += 1
        self.sum += milliseconds

    def percentile(self, share: float) -> float | None:
        """The time that this share of the frames did not pass, at most one percent too long; None without frames."""
        missing = math.ceil(share * self.count)
        for place, count in sorted(self._copy()):
            missing -= count
            if missing <= 0:
                return math.exp(place * STEP)
        return None

    def at_most(self, milliseconds: float) -> int:
        """How many frames took no longer."""
        return sum(count for place, count in self._copy() if math.exp(place * STEP) <= milliseconds)

    def _copy(self) -> list[tuple[int, int]]:
        """The bins as they are now: the loop adds to them while others look. One call of C, so none is missed."""
        return list(self._bins.items())


class Meter:
    """Counts frames in the loop; others read it at any time."""

    def __init__(self) -> None:
        self.frames, self.detections, self.errors = 0, 0, 0
        self.loop, self.inference = Histogram(), Histogram()
        self._begin: float | None = None
        self._moments: deque[float] = deque()

    def add(self, loop_ms: float, inference_ms: float, detections: int) -> None:
        """Count a frame: its time in the loop with everything, its time from image to boxes, its detections."""
        now = time.monotonic()
        self._begin = self._begin or now
        self.frames += 1
        self.detections += detections
        self.loop.add(loop_ms)
        self.inference.add(inference_ms)
        self._moments.append(now)
        while now - self._moments[0] > RATE_SECONDS:
            self._moments.popleft()

    def rate(self) -> float:
        """Frames per second in the last five seconds."""
        now = time.monotonic()
        recent = sum(now - moment <= RATE_SECONDS for moment in tuple(self._moments))
        return recent / min(RATE_SECONDS, max(now - (self._begin or now), 1e-3))


class AgentStatus(Record):
    """A running agent at one moment, or a finished one at its end.

    Attributes:
        source: where its frames come from.
        artifact_id, runtime: what runs.
        connected: whether frames can come; False while a camera is gone.
        frames: detected on and logged.
        detections: boxes that reached their thresholds.
        fps: of the last five seconds.
        loop_p50_ms, loop_p99_ms: a frame's time in the loop, from the frame in hand to its row in the log's hands.
        infer_p50_ms, infer_p99_ms: of it, image to boxes.
        dropped: frames of a live source that a newer one replaced.
        skipped: files or frames that are no usable image.
        errors: frames that the runtime failed on.
        disconnects: how often the camera was gone.
        clock_steps: how often the device's clock was set back.
        truncated: whether a video ended early.
        rows_flushed, rows_waiting, rows_lost: the log's.
        images_written, images_dropped: kept images; those that should have been kept and were not.
        images_evicted, rows_evicted, flags_evicted: what left the spool for want of room before it was uploaded.
        spool_files, spool_bytes, spool_oldest: what waits for the store.
        uploaded: files that the store has since the start.
        disk_free_bytes: on the device folder's file system.
        problems: sentences about what is wrong right now; none while all is well.
    """

    source: str
    artifact_id: str
    runtime: str
    connected: bool
    frames: int
    detections: int
    fps: float
    loop_p50_ms: float | None
    loop_p99_ms: float | None
    infer_p50_ms: float | None
    infer_p99_ms: float | None
    dropped: int
    skipped: int
    errors: int
    disconnects: int
    clock_steps: int
    truncated: bool
    rows_flushed: int
    rows_waiting: int
    rows_lost: int
    images_written: int
    images_dropped: int
    images_evicted: int
    rows_evicted: int
    flags_evicted: int
    spool_files: int
    spool_bytes: int
    spool_oldest: datetime | None
    uploaded: int
    disk_free_bytes: int
    problems: tuple[str, ...]

    def line(self) -> str:
        """The live line."""
        p99 = "-" if self.loop_p99_ms is None else f"{self.loop_p99_ms:.1f}"
        parts = [
            f"{self.frames} frames", f"{self.fps:.1f} FPS", f"p99 {p99} ms", f"dropped {self.dropped}",
            f"queue {self.spool_files} files {self.spool_bytes / 1e6:.1f} MB",
            f"disk {self.disk_free_bytes / 1e9:.1f} GB free", f"model {self.artifact_id}",
        ]  # fmt: skip
        return " | ".join([*parts, *self.problems])
