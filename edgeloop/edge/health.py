"""Whether a new artifact does well: a self-test before its first frame, then a window of frames under observation."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from edgeloop.edge.detector import Detector, Inference
from edgeloop.edge.frame import Image
from edgeloop.errors import BadInput
from edgeloop.record import Record

SELF_TEST_RUNS = 20
TEST_SIZE = (480, 640, 3)
BASELINE_FRAMES = 1000  # of the artifact before
BLIND = 1e-6  # so unlikely must it be that the scene merely emptied
ENOUGH = 50  # frames before a percentile or a share is believed


class HealthLimits(Record):
    """What a new artifact must keep during its first frames.

    Attributes:
        frames: how long it is watched.
        maximum_errors: share of frames that its runtime may fail on; the first two failures are forgiven.
        maximum_p99_ms: image to boxes; None asks only `slower`.
        slower: how many times the median of the artifact before its own may be.
    """

    frames: int = Field(default=300, ge=1)
    maximum_errors: float = Field(default=0.01, ge=0, le=1)
    maximum_p99_ms: float | None = Field(default=None, gt=0)
    slower: float = Field(default=3.0, gt=1)


class Baseline:
    """The last thousand frames of what answers now: how long they took, and on how many of them it saw something."""

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=BASELINE_FRAMES)
        self._seen: deque[bool] = deque(maxlen=BASELINE_FRAMES)

    def add(self, inference: Inference, thresholds: Sequence[float]) -> None:
        self.times.append(inference.timing.total)
        self._seen.append(len(inference.detections.above(thresholds)) > 0)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def seen(self) -> int:
        """On how many of the frames it saw something."""
        return sum(self._seen)

    @property
    def seeing(self) -> float:
        """The share of frames it saw something on, as far as it is sure: 0 while it has seen fewer than fifty."""
        return self.seen / len(self._seen) if len(self._seen) >= ENOUGH else 0.0


class Window:
    """The first frames of a new artifact."""

    def __init__(self, limits: HealthLimits, before: Baseline) -> None:
        self.limits, self._before, self.own = limits, before, Baseline()
        self._errors = 0

    def add(self, inference: Inference, thresholds: Sequence[float]) -> None:
        """Count an answer."""
        self.own.add(inference, thresholds)

    def fail(self, frames: int) -> None:
        """Count frames that the runtime failed on."""
        self._errors += frames

    @property
    def is_over(self) -> bool:
        return len(self.own) + self._errors >= self.limits.frames

    def complaint(self) -> str | None:
        """What is wrong with the artifact, as soon as it is certain enough; None while nothing is."""
        return self._failing() or self._slow() or self._blind()

    def _failing(self) -> str | None:
        share = self._errors / self.limits.frames
        if self._errors > 2 and share > self.limits.maximum_errors:
            return f"its runtime failed on {self._errors} of the first {len(self.own) + self._errors} frames"
        return None

    def _slow(self) -> str | None:
        if len(self.own) < min(ENOUGH, self.limits.frames):
            return None
        p99, median = (float(np.percentile(self.own.times, q, method="higher")) for q in (99, 50))
        limit = self.limits.maximum_p99_ms
        if limit is not None and self.is_over and p99 > limit:
            return f"its p99 is {p99:.1f} ms, allowed are {limit:.1f} ms"
        before = float(np.median(self._before.times)) if len(self._before) >= ENOUGH else math.inf
        if median > self.limits.slower * before:
            return f"its median is {median:.1f} ms, before it was {before:.1f} ms"
        return None

    def _blind(self) -> str | None:
        count, share = len(self.own), self._before.seeing
        if self.own.seen == 0 and share > 0 and (share >= 1 or count * math.log1p(-share) < math.log(BLIND)):
            return f"it saw nothing on {count} frames; the one before saw something on {100 * share:.0f} % of them"
        return None


def self_test(detector: Detector, image: Image | None, maximum_p99_ms: float | None) -> None:
    """Run a detector on a real frame, or on noise, before it may answer.

    `edgeloop.edge.self_test` asks a runtime about its raw output; this asks about final boxes, on a frame of the
    camera, and about time. Neither holds the other: boxes below the floor and preprocessing are seen by one only.

    Raises:
        BadInput: it fails, its numbers are not finite, it answers the same frame differently, or it is too slow.
    """
    frame = np.random.default_rng(0).integers(0, 256, TEST_SIZE, np.uint8) if image is None else image
    taken, answers = [], []
    for _ in range(SELF_TEST_RUNS):
        begin = time.perf_counter()
        answers.append(detector.detect_batch([frame] * detector.batch)[0].detections)
        taken.append((time.perf_counter() - begin) * 1000 / detector.batch)
    first, last = answers[0], answers[-1]
    if not all(np.isfinite(found.boxes).all() and np.isfinite(found.scores).all() for found in (first, last)):
        raise BadInput(f"{detector.artifact.id} answers with numbers that are not finite; export it again.")
    if len(first) != len(last) or not np.allclose(first.scores, last.scores, atol=1e-3):
        raise BadInput(f"{detector.artifact.id} answers the same frame differently; its runtime is not sound.")
    median = float(np.median(taken))
    if maximum_p99_ms is not None and median > maximum_p99_ms:
        raise BadInput(f"{detector.artifact.id} takes {median:.1f} ms a frame, allowed are {maximum_p99_ms:.1f} ms.")
