"""Calibration: which training frames are looked at, and how far each activation reaches on them.

ONNX Runtime's own percentile and entropy calibrators keep every activation of every frame in memory. Here one histogram
of magnitudes a tensor is kept instead: memory does not grow with the frames, and one pass serves all three methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.artifact import InputKind
from edgeloop.card import QuantizeCard
from edgeloop.edge.runtime import Batch
from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.frames import LabelledFrame
from edgeloop.progress import bar

BINS = 4096
LEVELS = 128  # magnitudes that symmetric int8 can hold, TensorRT's number for its entropy calibration
SMALLEST_LIMIT = 2.0**-60  # every histogram begins there, so that its width follows from the largest magnitude alone
ENTROPY_BINS = 2048  # TensorRT's number
ENTROPY_STEP = 8  # thresholds tried: every 8th bin, 241 of them
BRIGHTNESS_BANDS = 5


@dataclass(frozen=True)
class CalibrationFrame:
    """A frame that may be calibrated on.

    Attributes:
        image: the file.
        camera: which camera took it.
        classes: ids of the classes on it; none for a background.
        brightness: mean grey value, 0..255.
    """

    image: Path
    camera: str
    classes: frozenset[int]
    brightness: float


def choose_frames(frames: Sequence[CalibrationFrame], number: int, seed: int = 0) -> tuple[Path, ...]:
    """Choose `number` frames so that cameras, classes, backgrounds and brightness bands are all well covered.

    Greedy: always the frame whose traits are the rarest among those chosen so far; equal ones in an order that the seed
    fixes. All frames come back when there are not more than `number`.
    """
    ordered = sorted(frames, key=lambda frame: hashlib.sha256(f"{seed}:{frame.image.name}".encode()).digest())
    if len(ordered) <= number:
        return tuple(frame.image for frame in ordered)
    traits = _trait_matrix(ordered)
    per_frame = np.maximum(traits.sum(axis=1), 1)
    counts, chosen = np.zeros(traits.shape[1]), []
    left = np.ones(len(ordered), bool)
    for _ in range(number):
        value = np.where(left, traits @ (1 / (1 + counts)) / per_frame, -1.0)
        best = int(value.argmax())
        left[best] = False
        counts += traits[best]
        chosen.append(ordered[best].image)
    return tuple(chosen)


def describe_frames(frames: Sequence[LabelledFrame]) -> list[CalibrationFrame]:
    """Look at each frame once, at an eighth of its size, for its brightness.

    Raises:
        BadInput: an image cannot be read.
    """
    return [
        CalibrationFrame(
            image=frame.frame.image,
            camera=frame.frame.camera,
            classes=frozenset(label.class_id for label in frame.labels),
            brightness=_brightness(frame.frame.image),
        )
        for frame in bar(frames, "look at calibration frames", len(frames))
    ]


def refuse_overlap(calibration: Sequence[tuple[str, Path]], evaluated: Collection[str]) -> None:
    """Refuse calibration frames that are evaluated on too: what was fitted to a frame cannot be judged by it.

    Args:
        calibration: ids and files.
        evaluated: ids.

    Raises:
        BadInput: any is.
    """
    shared = [image for identity, image in calibration if identity in evaluated]
    if shared:
        raise BadInput(
            f"{len(shared)} of {len(calibration)} calibration frames are on the evaluation side too, first "
            f"{printable(shared[0])}; expected none. Calibrate on the training side alone."
        )


def _brightness(image: Path) -> float:
    import cv2

    grey = cv2.imread(str(image), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if grey is None:
        raise BadInput(f"{image} is not an image that can be read; restore it or remove it from the data set.")
    return float(grey.mean())


def _trait_matrix(frames: Sequence[CalibrationFrame]) -> npt.NDArray[np.float64]:
    """(frames, traits) of 0 and 1."""
    edges = np.quantile([frame.brightness for frame in frames], np.linspace(0, 1, BRIGHTNESS_BANDS + 1)[1:-1])
    named = [
        {
            f"camera {frame.camera}",
            f"brightness {int(np.searchsorted(edges, frame.brightness))}",
            *(f"class {index}" for index in frame.classes or ("none",)),
        }
        for frame in frames
    ]
    columns = {trait: index for index, trait in enumerate(sorted(set().union(*named)))}
    matrix = np.zeros((len(frames), len(columns)))
    for row, traits in enumerate(named):
        matrix[row, [columns[trait] for trait in traits]] = 1
    return matrix


class Reach:
    """How far one tensor reaches: a histogram of its magnitudes.

    The histogram's width doubles when a larger magnitude comes; merging bins is exact.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.counts = np.zeros(BINS, np.int64)
        self.limit = SMALLEST_LIMIT
        self.maximum = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count the magnitudes of `values`, of any shape.

        Raises:
            BadInput: one of them is not a finite number.
        """
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        top = float(magnitudes.max(initial=0.0))
        if not np.isfinite(top):
            raise BadInput(f"the activation {self.name} reaches {top} on a calibration frame; train the model again.")
        self._widen(top)
        self.maximum = max(self.maximum, top)
        magnitudes *= np.float32(BINS / self.limit)  # a power of two: exact
        self.counts += np.bincount(magnitudes.astype(np.int32), minlength=BINS)

    def _widen(self, top: float) -> None:
        while top >= self.limit:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros(BINS // 2, np.int64)])
            self.limit *= 2

    def threshold(self, card: QuantizeCard) -> float:
        """The magnitude that becomes int8's 127, by the card's method; 1 for a tensor that is always 0."""
        if self.maximum == 0:
            return 1.0
        if card.calibration == "minmax":
            return self.maximum
        found = self._percentile(card.percentile) if card.calibration == "percentile" else self._entropy()
        return min(found, self.maximum)

    def _percentile(self, percentile: float) -> float:
        below = np.cumsum(self.counts) / self.counts.sum()
        return float((np.searchsorted(below, percentile / 100) + 1) * self.limit / BINS)

    def _entropy(self) -> float:
        """TensorRT's threshold: the one whose 128-level version of the clipped distribution diverges least from it.

        Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 38 to 41.
        """
        counts = self.counts.reshape(ENTROPY_BINS, -1).sum(axis=1).astype(np.float64)
        used = int(np.flatnonzero(counts)[-1]) + 1
        candidates = list(range(LEVELS, used, ENTROPY_STEP)) or [used]
        divergences = [_divergence(counts, bins) for bins in candidates]
        return float(candidates[int(np.argmin(divergences))] * self.limit / ENTROPY_BINS)


def _divergence(counts: npt.NDArray[np.float64], bins: int) -> float:
    """Kullback-Leibler divergence of the first `bins` of a histogram from their version in LEVELS levels."""
    clipped = counts[:bins].copy()
    clipped[-1] += counts[bins:].sum()
    level = np.arange(bins) * LEVELS // bins
    filled = counts[:bins] > 0
    sums = np.bincount(level, counts[:bins], LEVELS)
    sizes = np.maximum(np.bincount(level, filled, LEVELS), 1)
    spread = np.where(filled, (sums / sizes)[level], 0)
    wanted, got = clipped / clipped.sum(), spread / max(spread.sum(), 1)
    both = (wanted > 0) & (got > 0)
    missed = wanted[(wanted > 0) & (got == 0)].sum()  # mass that no level represents: counted at a tiny probability
    return float((wanted[both] * np.log(wanted[both] / got[both])).sum() + missed * np.log(1e9))


def measure_reach(model: bytes, tensors: Sequence[str], inputs: Iterable[Batch]) -> dict[str, Reach]:
    """Run an ONNX model on `inputs` and record how far each of the named tensors reaches.

    Args:
        model: the ONNX bytes, with the tensors among its outputs.
        tensors: names of float tensors.
        inputs: arrays of the model's input shape, one run each; read one at a time.

    Raises:
        BadInput: an activation is not a finite number.
    """
    session = _session(model)
    source = session.get_inputs()[0].name
    own = [name for name in tensors if name != source]
    reach = {name: Reach(name) for name in tensors}
    for array in inputs:
        values = dict(zip(own, session.run(own, {source: array}) if own else [], strict=True)) | {source: array}
        for name, histogram in reach.items():
            histogram.add(values[name])
    return reach


@dataclass(frozen=True)
class Means:
    """Mean of each channel of a tensor, (channels,) float64: as it is, and as int8 stores it."""

    plain: npt.NDArray[np.float64]
    stored: npt.NDArray[np.float64]


def measure_means(model: bytes, scales: Mapping[str, float], inputs: Iterable[Batch]) -> dict[str, Means]:
    """Run an ONNX model on `inputs` and average the channels of the named tensors, before and after symmetric int8.

    Args:
        model: the ONNX bytes, with the tensors among its outputs.
        scales: of int8, by tensor name; the tensors are (N, channels, H, W).
        inputs: arrays of the model's input shape, one run each; read one at a time.
    """
    session = _session(model)
    source = session.get_inputs()[0].name
    own = [name for name in scales if name != source]
    sums: dict[str, list[npt.NDArray[np.float64]]] = {}
    count = 0
    for array in inputs:
        count += 1
        values = dict(zip(own, session.run(own, {source: array}) if own else [], strict=True)) | {source: array}
        for name, scale in scales.items():
            both = values[name], np.clip(np.rint(values[name] / np.float32(scale)), -LEVELS, LEVELS - 1)
            means = [one.mean(axis=(0, 2, 3), dtype=np.float64) for one in both]
            sums[name] = [kept + new for kept, new in zip(sums[name], means, strict=True)] if name in sums else means
    return {name: Means(plain / count, stored * scales[name] / count) for name, (plain, stored) in sums.items()}


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # sums in one order: the same ranges every time
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read_inputs(images: Iterable[Path], side: int, kind: InputKind = "float32-nchw") -> Iterator[Batch]:
    """Each image as the device's own preprocessing makes it for a file that takes `kind`: one letterboxed image."""
    from edgeloop.edge.frame import FrameBuffer, decode_image

    buffer = FrameBuffer(side, kind=kind)
    for image in images:
        buffer.fill(decode_image(image.read_bytes(), str(image)))
        yield buffer.array
