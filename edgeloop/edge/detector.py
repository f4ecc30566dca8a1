"""An artifact and a runtime together: from a decoded image to detections, with the time that each part took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgeloop.artifact import Artifact
from edgeloop.boxes import Detections
from edgeloop.edge.decode import Decoder
from edgeloop.edge.frame import FrameBuffer, Geometry, Image, as_bgr
from edgeloop.edge.runtime import Runtime
from edgeloop.edge.statistics import UNMEASURED, DeferredStatistics, ImageStatistics, When, measure
from edgeloop.errors import BadInput

LOG_FLOOR = 0.05  # what is logged: low enough to move thresholds later without running again
WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one frame; in a batch, its share: the batch's time divided by the frames in it.

    Attributes:
        preprocess: decoded image to model input.
        inference: model input to raw output.
        postprocess: raw output to final boxes.
    """

    preprocess: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        """Decoded image to final boxes."""
        return self.preprocess + self.inference + self.postprocess


@dataclass(frozen=True)
class Inference:
    """What one frame gave.

    Attributes:
        detections: down to the detector's floor, not to the artifact's thresholds.
        timing: without the image statistics, which belong to the log.
        statistics: of the image.
        width, height: of the image, pixels.
    """

    detections: Detections
    timing: Timing
    statistics: ImageStatistics | DeferredStatistics
    width: int
    height: int


class Detector:
    """Runs one artifact in one loop; not for several threads at once, because the input buffer is reused.

    Attributes:
        artifact: what runs.
        runtime: what runs it.
        floor: detections at or below this score are dropped.
    """

    def __init__(
        self,
        artifact: Artifact,
        runtime: Runtime,
        floor: float = LOG_FLOOR,
        *,
        multi_label: bool = False,
        batch: int = 1,
        statistics: When = "now",
    ) -> None:
        """Prepare buffers and warm the runtime up.

        Args:
            artifact: the record of the file that `runtime` has loaded.
            runtime: from `open_runtime`.
            floor: detections at or below this score are dropped.
            multi_label: an anchor may answer for several classes, as Ultralytics does when it evaluates.
            batch: how many images `detect_batch` takes.
            statistics: when the image is measured. "later" takes no time of the loop; the image is held until the
                statistics are asked for and must not be written to before. "never" gives NaN.

        Raises:
            BadInput: the file takes another input size or batch, or its output does not fit the record.
        """
        if any(side not in (None, artifact.imgsz) for side in runtime.shape[2:]):
            raise BadInput(
                f"the record of {artifact.path.name} says {artifact.imgsz} pixels, the file takes "
                f"{runtime.shape[3]}x{runtime.shape[2]}; export it again."
            )
        self.artifact, self.runtime, self.floor = artifact, runtime, floor
        self._statistics = statistics
        self._decoder = Decoder.of(artifact, floor, multi_label)
        self._buffer = FrameBuffer(artifact.imgsz, batch)
        geometry = Geometry.of(artifact.imgsz, artifact.imgsz, artifact.imgsz)
        for _ in range(WARM_UP):
            self._decoder.decode(runtime(self._buffer.array)[0], geometry)

    def detect(self, image: Image) -> Inference:
        """Detect on one (H, W, 3) uint8 BGR image; grey, alpha and 16-bit images are converted.

        Raises:
            BadInput: not an image, empty, or more than 100 megapixels.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        """Detect on as many images as the detector's batch, of any sizes.

        Raises:
            BadInput: another number of images, or one of them is none.
        """
        if len(images) != len(self._buffer.array):
            raise BadInput(f"expected {len(self._buffer.array)} images, came {len(images)}; set the detector's batch.")
        begin = time.perf_counter_ns()
        frames = [as_bgr(image) for image in images]
        geometries = [self._buffer.fill(frame, slot) for slot, frame in enumerate(frames)]
        filled = time.perf_counter_ns()
        raw = self.runtime(self._buffer.array)
        inferred = time.perf_counter_ns()
        found = [self._decoder.decode(one, geometry) for one, geometry in zip(raw, geometries, strict=True)]
        decoded = time.perf_counter_ns()
        milliseconds = 1e6 * len(images)
        timing = Timing(
            (filled - begin) / milliseconds, (inferred - filled) / milliseconds, (decoded - inferred) / milliseconds
        )
        return [
            Inference(detections, timing, self._look(frame), frame.shape[1], frame.shape[0])
            for detections, frame in zip(found, frames, strict=True)
        ]

    def _look(self, frame: Image) -> ImageStatistics | DeferredStatistics:
        if self._statistics == "now":
            return measure(frame)
        return DeferredStatistics(frame) if self._statistics == "later" else UNMEASURED
