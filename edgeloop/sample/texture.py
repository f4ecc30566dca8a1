"""Surfaces as a camera meets them: reflectance around 1.0, drawn from noise, one function a material."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from edgeloop.boxes import Floats

Material = Literal["brushed", "cast", "matte", "laminate"]


def octaves(rng: np.random.Generator, size: int, first: int = 3, count: int = 4) -> Floats:
    """Cloudy noise: `count` layers, each twice as fine and 0.55 times as strong as the one before.

    Args:
        rng: the only source of chance.
        size: side in pixels.
        first: cells of the coarsest layer along one side.
        count: layers.

    Returns:
        (size, size) float32 with mean about 0 and standard deviation about 1.
    """
    total = np.zeros((size, size), np.float32)
    for layer in range(count):
        cells = min(first * 2**layer, size)
        coarse = rng.standard_normal((cells, cells), dtype=np.float32)
        total += 0.55**layer * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return _normed(total)


def streaks(rng: np.random.Generator, size: int, length: int, angle: float) -> Floats:
    """Noise smeared along one direction, as brushing or rolling leaves it.

    Args:
        rng: the only source of chance.
        size: side in pixels.
        length: how far the noise is smeared, pixels, odd.
        angle: direction in degrees, 0 is horizontal.

    Returns:
        (size, size) float32 with mean about 0 and standard deviation about 1.
    """
    side = int(size * 1.42) + 2  # the square must cover the frame at any angle
    smeared = cv2.blur(rng.standard_normal((side, side), dtype=np.float32), (length, 1))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    turn[:, 2] -= (side - size) / 2
    return _normed(cv2.warpAffine(smeared, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def speckle(rng: np.random.Generator, size: int, grain: float) -> Floats:
    """Isotropic grain of about `grain` pixels: (size, size) float32, mean about 0, standard deviation about 1."""
    return _normed(cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), grain))


def surface(rng: np.random.Generator, material: Material, size: int, angle: float) -> Floats:
    """A clean piece of `material` whose grain runs along `angle` degrees: (size, size) float32 around 1.0."""
    relative: Floats = 1.0 + _MATERIALS[material](rng, size, angle)
    return relative


def _brushed(rng: np.random.Generator, size: int, angle: float) -> Floats:
    fine, coarse = streaks(rng, size, 61, angle), streaks(rng, size, 121, angle + rng.normal(0, 0.7))
    steel: Floats = 0.055 * fine + 0.03 * coarse + 0.03 * octaves(rng, size, 2, 2)
    return steel


def _cast(rng: np.random.Generator, size: int, angle: float) -> Floats:
    bumps = speckle(rng, size, 1.6)
    shifted = np.roll(bumps, 1, axis=0) - bumps  # light from above shows slopes, not heights
    relief: Floats = 0.05 * shifted + 0.045 * bumps + 0.05 * octaves(rng, size, 4, 4)
    return relief


def _matte(rng: np.random.Generator, size: int, angle: float) -> Floats:
    return 0.025 * speckle(rng, size, 0.8) + 0.05 * octaves(rng, size, 3, 4)


def _laminate(rng: np.random.Generator, size: int, angle: float) -> Floats:
    waves = streaks(rng, size, 91, angle) + 0.6 * octaves(rng, size, 3, 3)
    figure: Floats = 0.045 * np.sin(2.2 * waves) + 0.02 * speckle(rng, size, 0.7)
    return figure


def _normed(noise: Floats) -> Floats:
    return noise / max(float(noise.std()), 1e-6)


_MATERIALS: dict[Material, Callable[[np.random.Generator, int, float], Floats]] = {
    "brushed": _brushed,
    "cast": _cast,
    "matte": _matte,
    "laminate": _laminate,
}
MATERIALS: tuple[Material, ...] = tuple(_MATERIALS)
