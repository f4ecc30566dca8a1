"""What a labelled set is made of: boxes by class, side and camera, how large they are, how bright the frames are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeloop.formats.images import Look
from edgeloop.frames import SPLITS, LabelledFrame, Split

SIZE_EDGES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)  # of the image's side
BRIGHTNESS_EDGES = tuple(float(value) for value in range(0, 257, 16))
RARE_BOXES = 50  # on the training side; below it one box moves the class's recall by more than two points


@dataclass(frozen=True)
class ClassBalance:
    """One class.

    Attributes:
        boxes: labelled boxes on each side.
        frames: frames on each side that show it.
        cameras: labelled boxes by camera.
    """

    name: str
    boxes: dict[Split, int]
    frames: dict[Split, int]
    cameras: dict[str, int]

    @property
    def total(self) -> int:
        """Boxes on all sides."""
        return sum(self.boxes.values())

    @property
    def rare(self) -> bool:
        """Fewer than 50 boxes to train on."""
        return self.boxes["train"] < RARE_BOXES


@dataclass(frozen=True)
class Histogram:
    """How one quantity is distributed.

    Attributes:
        name: whose.
        edges: (B + 1,) of the bins.
        counts: (B,) values in each; the last bin holds its upper edge too.
        quantiles: the 5th percentile, the median and the 95th; empty without values.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    quantiles: tuple[float, ...]

    @property
    def values(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


def class_balance(frames: Sequence[LabelledFrame], names: Sequence[str]) -> list[ClassBalance]:
    """Every class in the order of its id; every class has every side and every camera, with 0 where it is absent."""
    boxes = Counter((label.class_id, frame.split) for frame in frames for label in frame.labels)
    shown = Counter(
        (class_id, frame.split) for frame in frames for class_id in {label.class_id for label in frame.labels}
    )
    cameras = Counter((label.class_id, frame.frame.camera) for frame in frames for label in frame.labels)
    every = sorted({frame.frame.camera for frame in frames})
    return [
        ClassBalance(
            name,
            {side: boxes[index, side] for side in SPLITS},
            {side: shown[index, side] for side in SPLITS},
            {camera: cameras[index, camera] for camera in every},
        )
        for index, name in enumerate(names)
    ]


def frames_by_camera(frames: Iterable[LabelledFrame]) -> dict[str, dict[Split, int]]:
    """Frames of each camera on each side."""
    counts = Counter((frame.frame.camera, frame.split) for frame in frames)
    return {camera: {side: counts[camera, side] for side in SPLITS} for camera in sorted({one for one, _ in counts})}


def box_sizes(frames: Iterable[LabelledFrame], names: Sequence[str]) -> list[Histogram]:
    """Of each class: the square root of a box's share of its image's area, 0..1."""
    found: list[list[float]] = [[] for _ in names]
    for frame in frames:
        area = frame.frame.width * frame.frame.height
        for label in frame.labels:
            x1, y1, x2, y2 = label.box
            found[label.class_id].append(((x2 - x1) * (y2 - y1) / area) ** 0.5)
    return [histogram(name, values, SIZE_EDGES) for name, values in zip(names, found, strict=True)]


def brightness(frames: Iterable[LabelledFrame], looks: Mapping[str, Look]) -> list[Histogram]:
    """Of each camera: the mean grey value of its frames, 0..255; frames without statistics are left out."""
    found: dict[str, list[float]] = {}
    for frame in frames:
        if frame.frame.frame_id in looks:
            found.setdefault(frame.frame.camera, []).append(looks[frame.frame.frame_id].brightness)
    return [histogram(camera, found[camera], BRIGHTNESS_EDGES) for camera in sorted(found)]


def histogram(name: str, values: Sequence[float], edges: Sequence[float]) -> Histogram:
    """Count values into bins; those beyond the outer edges go into the outer bins."""
    array: npt.NDArray[np.float64] = np.clip(np.asarray(values, np.float64), edges[0], edges[-1])
    counts, _ = np.histogram(array, np.asarray(edges))
    quantiles = tuple(float(one) for one in np.quantile(array, (0.05, 0.5, 0.95))) if len(array) else ()
    return Histogram(name, tuple(edges), tuple(int(one) for one in counts), quantiles)
