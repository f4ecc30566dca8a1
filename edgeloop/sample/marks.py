"""Shapes as soft masks: what a mark covers, 0..1 a pixel, and the tight box of what can be seen of it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.boxes import Floats

Box = tuple[float, float, float, float]
Points = npt.NDArray[np.float32]
FINE = 2  # masks are drawn at twice the resolution and averaged down, so that edges are soft
SUBPIXEL = 4  # fractional bits of the coordinates that OpenCV draws with
VISIBLE = 0.35  # a pixel belongs to the mark's box where the mask reaches this share


def strokes(lines: list[Points], width: float, size: int) -> Floats:
    """Polylines of (N, 2) points in pixels, `width` pixels wide: (size, size) float32 mask."""
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    scaled = [_fixed(line) for line in lines]
    cv2.polylines(canvas, scaled, False, 255, max(round(width * FINE), 1), cv2.LINE_AA, SUBPIXEL)
    return _down(canvas, size)


def filled(outline: Points, size: int) -> Floats:
    """The inside of a closed outline of (N, 2) points in pixels: (size, size) float32 mask."""
    canvas = np.zeros((size * FINE, size * FINE), np.uint8)
    cv2.fillPoly(canvas, [_fixed(outline)], 255, cv2.LINE_AA, SUBPIXEL)
    return _down(canvas, size)


def ellipse(centre: Points, radii: tuple[float, float], angle: float, points: int = 36) -> Points:
    """The outline of an ellipse turned by `angle` degrees: (points, 2) in pixels."""
    around = np.linspace(0, 2 * np.pi, points, endpoint=False)
    flat = np.stack([radii[0] * np.cos(around), radii[1] * np.sin(around)], axis=1)
    return (centre + flat @ _turn(angle)).astype(np.float32)


def blob(rng: np.random.Generator, centre: Points, radius: float, stretch: float, wobble: float) -> Points:
    """An irregular closed outline: an ellipse whose radius wobbles in its first harmonics.

    Args:
        rng: the only source of chance.
        centre: (2,) in pixels.
        radius: mean radius in pixels.
        stretch: long axis over short axis, at least 1.
        wobble: standard deviation of the radius, as a share of it.
    """
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones_like(around)
    for harmonic in range(2, 7):
        reach += wobble / harmonic * rng.normal() * np.cos(harmonic * around + rng.uniform(0, 2 * np.pi)) * 1.6
    reach = np.clip(reach, 0.35, 1.9) * radius
    flat = np.stack([reach * np.cos(around) * stretch**0.5, reach * np.sin(around) / stretch**0.5], axis=1)
    return (centre + flat @ _turn(rng.uniform(0, 180))).astype(np.float32)


def curve(centre: Points, length: float, angle: float, bend: float) -> Points:
    """A quadratic arc of about `length` pixels whose middle is off the chord by `bend` times the length: (24, 2)."""
    along = np.linspace(-0.5, 0.5, 24)
    flat = np.stack([along * length, bend * length * (4 * along**2 - 1 / 3)], axis=1)
    return (centre + flat @ _turn(angle)).astype(np.float32)


def fracture(rng: np.random.Generator, centre: Points, length: float, angle: float) -> list[Points]:
    """A jagged path that wanders around `angle` degrees, with one to three jagged branches off it."""
    steps = max(int(length / 5), 5)
    trunk = _wander(rng, np.zeros(2), steps, length / steps, angle)
    trunk += centre - (trunk.min(axis=0) + trunk.max(axis=0)) / 2
    lines = [trunk.astype(np.float32)]
    for _ in range(rng.integers(1, 4)):
        at = trunk[rng.integers(1, len(trunk) - 1)]
        turned = angle + rng.choice([-1, 1]) * rng.uniform(35, 75)
        lines.append(_wander(rng, at, max(steps // 3, 2), length / steps, turned).astype(np.float32))
    return lines


def visible_box(mask: Floats, least: float = VISIBLE) -> Box | None:
    """The tight box, xyxy in pixels, around the pixels where `mask` reaches `least`; None where none does."""
    x, y, width, height = cv2.boundingRect((mask >= least).astype(np.uint8))
    return None if width == 0 else (float(x), float(y), float(x + width), float(y + height))


def overlap(box: Box, others: list[Box], margin: float = 3.0) -> bool:
    """Whether `box`, grown by `margin` pixels, meets any of `others`."""
    x1, y1, x2, y2 = box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin
    return any(x1 < o[2] and o[0] < x2 and y1 < o[3] and o[1] < y2 for o in others)


def _wander(rng: np.random.Generator, start: npt.ArrayLike, steps: int, stride: float, angle: float) -> Points:
    headings = np.radians(angle + rng.normal(0, 32, steps))
    moves = stride * rng.uniform(0.6, 1.4, (steps, 1)) * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)]) + np.asarray(start)
    return np.asarray(path, np.float32)


def _turn(angle: float) -> Points:
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([[cosine, sine], [-sine, cosine]], np.float32)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    """Pixels to OpenCV's fixed-point coordinates on the fine canvas; pixel centres lie at half coordinates."""
    return np.asarray(np.round((points * FINE - 0.5) * 2**SUBPIXEL), np.int32).reshape(-1, 1, 2)


def _down(canvas: npt.NDArray[np.uint8], size: int) -> Floats:
    small: Floats = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return small
