"""Cameras over the line: what each does to the light that reaches it, and what changes when the line drifts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeloop.boxes import Floats
from edgeloop.edge.frame import Image


@dataclass(frozen=True)
class Camera:
    """One camera's lasting character.

    Attributes:
        name: the first part of its frames' file names.
        exposure: mean grey value of a plain surface, 0..1.
        vignette: share of the light lost in the corners.
        blur: standard deviation of the lens' blur in pixels.
        grain: standard deviation of the sensor's noise, 0..1, at full light.
        angle: how the line's direction lies in its picture, degrees.
        tint: gain of blue, green and red.
    """

    name: str
    exposure: float
    vignette: float
    blur: float
    grain: float
    angle: float
    tint: tuple[float, float, float]


CAMERAS: tuple[Camera, ...] = (
    Camera("cam1", 0.56, 0.14, 0.35, 0.012, 0.0, (1.00, 1.00, 1.00)),
    Camera("cam2", 0.50, 0.22, 0.50, 0.016, 90.0, (1.03, 1.00, 0.96)),
    Camera("cam3", 0.60, 0.10, 0.42, 0.014, 35.0, (0.96, 1.00, 1.03)),
)


@dataclass(frozen=True)
class Conditions:
    """The state of the line at one moment.

    Attributes:
        light: share of the lamps' light that is left.
        slope: how much darker one side of the picture is than the other, as a share.
        blur: blur added by a lens out of focus, standard deviation in pixels.
        warmth: share by which red gains and blue loses, as tired lamps do.
        variant: share of stains that have dried to a pale film.
    """

    light: float = 1.0
    slope: float = 0.0
    blur: float = 0.0
    warmth: float = 0.0
    variant: float = 0.0


def conditions(severity: float) -> Conditions:
    """The state of the line between in order (0) and fully drifted (1)."""
    return Conditions(
        light=1 - 0.55 * severity,
        slope=0.35 * severity,
        blur=1.15 * severity,
        warmth=0.06 * severity,
        variant=0.8 * severity,
    )


def photograph(rng: np.random.Generator, surface: Floats, camera: Camera, state: Conditions) -> Image:
    """What `camera` makes of a surface, (size, size, 3) float32 reflectance around 1.0: a uint8 BGR picture."""
    size = surface.shape[0]
    tint = np.array(camera.tint) * (1 - state.warmth, 1, 1 + state.warmth)
    gain = camera.exposure * state.light * rng.normal(1, 0.03)
    light = (_falloff(size, camera.vignette) * _slope(size, state.slope))[:, :, None] * (gain * tint).astype(np.float32)
    blur = float(np.hypot(camera.blur, state.blur))
    seen = cv2.GaussianBlur(surface * light, (0, 0), blur)
    # Read noise stays as it is, shot noise goes with the root of the light; the cameras' gain is fixed.
    grain = camera.grain * (0.35 + 0.65 * state.light**0.5)
    seen += (grain * rng.standard_normal((size, size, 1), dtype=np.float32)).astype(np.float32)
    return np.asarray(np.clip(seen * 255 + 0.5, 0, 255), np.uint8)


def _falloff(size: int, vignette: float) -> Floats:
    """Light lost towards the corners, growing with the square of the distance from the middle."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.asarray(1 - vignette * (axis[:, None] ** 2 + axis[None, :] ** 2) / 2, np.float32)


def _slope(size: int, slope: float) -> Floats:
    return np.linspace(1 - slope / 2, 1 + slope / 2, size, dtype=np.float32)[None, :]
