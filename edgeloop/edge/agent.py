"""The device's agent: source -> detector -> log and kept images -> spool -> store, until it is told to stop.

Only the loop itself runs in the caller's thread. Reading a camera, writing the log, encoding images, uploading, loading
a new artifact and answering HTTP each have a thread of their own, and none of them makes a frame wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from edgeloop.artifact import Artifact
from edgeloop.boxes import Detections
from edgeloop.edge.detector import Inference
from edgeloop.edge.frame import Image, as_bgr
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.meter import AgentStatus, Meter
from edgeloop.edge.model import Model
from edgeloop.edge.picture import draw
from edgeloop.edge.recorder import Recorder
from edgeloop.edge.sources import Source, SourceFrame, Warn
from edgeloop.errors import BadInput, EdgeloopError

FAILURES_IN_A_ROW = 30  # a second of a camera: a runtime that fails for so long does not recover by itself


class Screen(Protocol):
    """Where annotated frames go."""

    def show(self, picture: Image) -> bool:
        """Show a frame; False ends the run."""
        ...

    def close(self) -> None: ...


class Agent:
    """One run over one source.

    Attributes:
        source, model, recorder: what it works with; `close` closes them.
        meter: counts.
    """

    def __init__(
        self, source: Source, model: Model, recorder: Recorder, warn: Warn, screens: Sequence[Screen] = ()
    ) -> None:
        self.source, self.model, self.recorder, self.meter = source, model, recorder, Meter()
        self._warn, self._screens = warn, screens
        self._failures = 0
        self._batch = model.detector.batch
        self.stopped = False

    def stop(self) -> None:
        """End after the frames in hand. Safe in a signal handler and in any thread."""
        self.stopped = True
        self.source.stop()

    def run(self, max_frames: int | None = None) -> None:
        """Work until the source ends, `stop` is called or `max_frames` frames are through.

        Raises:
            EdgeloopError: the runtime failed on thirty batches in a row.
        """
        for frames in in_batches(islice(self._usable(), max_frames), self._batch):
            begin = time.perf_counter()
            found = self._detect(frames)
            if found:
                self._record(frames, found, begin)

    def status(self) -> AgentStatus:
        """How it goes; any thread may ask."""
        meter, counts, detector = self.meter, self.source.counts, self.model.detector
        facts = self.recorder.facts()
        away = () if counts.connected else (f"{self.source.name} does not answer",)
        facts["problems"] = (*away, *self.model.problems(), *facts["problems"])
        return AgentStatus(
            source=self.source.name,
            artifact_id=detector.artifact.id,
            runtime=detector.runtime.name,
            connected=counts.connected,
            frames=meter.frames,
            detections=meter.detections,
            fps=meter.rate(),
            loop_p50_ms=meter.loop.percentile(0.5),
            loop_p99_ms=meter.loop.percentile(0.99),
            infer_p50_ms=meter.inference.percentile(0.5),
            infer_p99_ms=meter.inference.percentile(0.99),
            dropped=counts.dropped,
            skipped=counts.skipped,
            errors=meter.errors,
            disconnects=counts.disconnects,
            clock_steps=counts.clock_steps,
            truncated=counts.truncated,
            **facts,
        )

    def close(self, drain_seconds: float) -> AgentStatus:
        """End everything, uploading for at most so long; returns how it ended."""
        for screen in self._screens:
            screen.close()
        self.source.close()
        self.recorder.close(drain_seconds)
        status = self.status()
        self.model.close()
        return status

    def _usable(self) -> Iterator[SourceFrame]:
        """Frames that are images: a driver may hand out an empty one."""
        for frame in self.source:
            try:
                image = as_bgr(frame.image)
            except BadInput as problem:
                self.source.counts.skipped += 1
                self._warn(f"skipped a frame of {frame.camera}: {problem}")
                continue
            yield frame if image is frame.image else SourceFrame(frame.frame_id, frame.camera, frame.time, image)

    def _detect(self, frames: Sequence[SourceFrame]) -> list[Inference]:
        """What the model says; nothing, counted and said, when the runtime fails."""
        images = [frame.image for frame in frames]
        padding = [images[-1]] * (self._batch - len(images))  # the last frames of a source that ends within a batch
        try:
            found = self.model.detect_batch([*images, *padding])
        except Exception as problem:  # runtimes raise Exceptions of their own
            self._failures += 1
            self.meter.errors += len(frames)
            if self._failures >= FAILURES_IN_A_ROW:
                raise EdgeloopError(f"the runtime failed {self._failures} times in a row: {problem}") from problem
            self._warn(f"{len(frames)} frames without an answer: {problem}")
            return []
        self._failures = 0
        return found

    def _record(self, frames: Sequence[SourceFrame], found: Sequence[Inference], begin: float) -> None:
        artifact = self.model.detector.artifact
        counts = []
        for frame, inference in zip(frames, found, strict=False):
            record = InferenceRecord(
                frame.frame_id, frame.camera, frame.time, artifact.id, inference, artifact.thresholds
            )
            self.recorder.take(record, frame.image)
            counts.append(len(inference.detections.above(artifact.thresholds)))
        share = (time.perf_counter() - begin) * 1000 / len(frames)
        for frame, inference, count in zip(frames, found, counts, strict=False):
            self.meter.add(share, inference.timing.total, count)
            self._show(frame.image, inference.detections, artifact)

    def _show(self, image: Image, found: Detections, artifact: Artifact) -> None:
        if self._screens:
            picture = draw(image, found, artifact)
            going_on = [screen.show(picture) for screen in self._screens]  # each of them gets every frame
            if not all(going_on):
                self.stop()


def in_batches(frames: Iterable[SourceFrame], size: int) -> Iterator[list[SourceFrame]]:
    """Frames in lists of `size`; the last one may be shorter."""
    rest = iter(frames)
    while batch := list(islice(rest, size)):
        yield batch
