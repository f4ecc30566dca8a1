"""What looks like a defect and is none: dust, lint, grinding marks, reflections and joints. Never labelled."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edgeloop.boxes import Floats
from edgeloop.sample import marks
from edgeloop.sample.defects import Layer

Draw = Callable[[np.random.Generator, int, float], list[Layer]]


def draw(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """What lies on or in one piece besides defects; `angle` is the direction of its grain in degrees."""
    layers: list[Layer] = []
    for often, one in _OFTEN:
        for _ in range(rng.poisson(often)):
            layers += one(rng, size, angle)
    return layers


def _dust(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """A few specks, smaller than any pit and without its lit edge."""
    mask = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(2, 9)):
        centre = rng.uniform(2, size - 2, 2).astype(np.float32)
        mask = np.maximum(mask, marks.filled(marks.ellipse(centre, (rng.uniform(0.5, 2.0),) * 2, 0, 10), size))
    return [Layer(mask, (rng.choice([-0.3, 0.35]),) * 3)]


def _lint(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """A short, strongly curled fibre."""
    centre = rng.uniform(8, size - 8, 2).astype(np.float32)
    angle, bend = rng.uniform(0, 360), rng.choice([-1, 1]) * rng.uniform(0.2, 0.6)
    first, second = (marks.curve(centre, rng.uniform(7, 18), angle, side) for side in (bend, -bend))
    path = np.concatenate([first, second - second[0] + first[-1]]) if rng.random() < 0.5 else first
    return [Layer(marks.strokes([path], 1.0, size), (rng.uniform(0.12, 0.35),) * 3)]


def _grinding(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """A band of faint parallel lines along the grain, from edge to edge of the frame."""
    across = np.radians(angle + 90)
    middle = rng.uniform(0.15, 0.85, 2) * size
    lines = []
    for offset in np.cumsum(rng.uniform(2, 7, rng.integers(3, 8))):
        at = (middle + offset * np.array([np.cos(across), -np.sin(across)])).astype(np.float32)
        lines.append(marks.curve(at, 3.0 * size, -angle + rng.normal(0, 0.6), 0.0))
    return [Layer(marks.strokes(lines, 1.0, size), (rng.choice([-1, 1]) * rng.uniform(0.05, 0.13),) * 3)]


def _reflection(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """Soft glare of a lamp: as large as a stain or larger, but bright, smooth and without an edge."""
    centre = rng.uniform(0, size, 2).astype(np.float32)
    outline = marks.ellipse(centre, (rng.uniform(12, 50), rng.uniform(8, 25)), rng.uniform(0, 180))
    return [Layer(_soft(marks.filled(outline, size), rng.uniform(7, 13)), (rng.uniform(0.12, 0.32),) * 3)]


def _shadow(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """The soft shadow of a fixture: grey where a stain is brown, and without an edge."""
    centre = rng.uniform(0, size, 2).astype(np.float32)
    outline = marks.ellipse(centre, (rng.uniform(20, 60), rng.uniform(12, 35)), rng.uniform(0, 180))
    return [Layer(_soft(marks.filled(outline, size), rng.uniform(6, 13)), (-rng.uniform(0.08, 0.22),) * 3)]


def _joint(rng: np.random.Generator, size: int, angle: float) -> list[Layer]:
    """A straight dark seam between two plates, from edge to edge: as dark as a crack, but straight."""
    at = (rng.uniform(0.1, 0.9, 2) * size).astype(np.float32)
    line = marks.curve(at, 3.0 * size, -angle + rng.choice([0, 90]) + rng.normal(0, 1.0), 0.0)
    return [Layer(marks.strokes([line], rng.uniform(1.0, 2.0), size), (-rng.uniform(0.2, 0.4),) * 3)]


def _soft(mask: Floats, sigma: float) -> Floats:
    """Blur at a quarter of the resolution: a wide blur of a full mask would take half the time of a frame."""
    small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide: Floats = cv2.resize(
        cv2.GaussianBlur(small, (0, 0), sigma / 4), mask.shape[::-1], interpolation=cv2.INTER_LINEAR
    )
    return wide


# Mean number of each on one frame.
_OFTEN: tuple[tuple[float, Draw], ...] = (
    (0.9, _dust),
    (0.6, _lint),
    (0.3, _grinding),
    (0.5, _reflection),
    (0.35, _shadow),
    (0.12, _joint),
)
