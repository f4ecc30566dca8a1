"""What a line does to a picture: ten corruptions at five severities, the same bytes for the same frame and seed.

In the manner of COCO-C (Michaelis et al., Benchmarking Robustness in Object Detection, 2019), but of what changes on an
inspection line: its lamps, its lens, its belt, its mounting, its cable. Weather and pixelation are left out. Lengths
are shares of the shorter side, so that 192 and 1920 pixels suffer alike. The random part of a corruption does not
depend on the severity: a higher one is the same accident, worse.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.boxes import Floats
from edgeloop.edge.frame import Image
from edgeloop.frames import LabelledFrame
from edgeloop.warping import Matrix, boxes_in_picture, perspective, rotation, warp

Corruption = Literal[
    "darker", "brighter", "haze", "motion-blur", "defocus", "noise", "jpeg", "dirt", "rotation", "perspective"
]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
SEVERITIES = (1, 2, 3, 4, 5)
SUITE = 1  # raise it when a corruption gives other bytes: what was detected before is then not used again

GEOMETRIC: frozenset[Corruption] = frozenset(("rotation", "perspective"))

Levels = tuple[float, float, float, float, float]
LESS_LIGHT: Levels = (0.5, 1.0, 1.5, 2.25, 3.0)  # photographic stops, each a factor of two
MORE_LIGHT: Levels = (0.25, 0.5, 0.8, 1.15, 1.5)  # less, because white clips
AIRLIGHT = 0.8  # what haze adds, linear
TRANSMISSION: Levels = (0.85, 0.7, 0.55, 0.42, 0.3)  # contrast that is left (Koschmieder's law)
STREAK: Levels = (0.01, 0.02, 0.035, 0.05, 0.08)  # length of the motion, share of the shorter side
DISC: Levels = (0.006, 0.012, 0.018, 0.026, 0.04)  # radius of the circle of confusion, share of the shorter side
FULL_WELL: Levels = (400, 150, 60, 25, 10)  # electrons at white: shot noise
READ_NOISE: Levels = (0.005, 0.01, 0.02, 0.035, 0.06)  # sigma, share of white
QUALITY: Levels = (40, 25, 15, 10, 6)  # of libjpeg
COVERED: Levels = (0.02, 0.05, 0.1, 0.17, 0.25)  # share of the picture under dirt
DEGREES: Levels = (1, 2, 4, 7, 10)
TILT: Levels = (0.01, 0.02, 0.04, 0.06, 0.09)  # how far corners move, share of the side
DIRT_GREY, DIRT_GRAIN, DIRT_EDGE = 45.0, 12, 0.6  # level; cells along a side; softness in standard deviations


@dataclass(frozen=True)
class Source:
    """Where randomness comes from: one seed for the suite, the frame, and its camera, whose lens is dirty or not."""

    seed: int
    frame_id: str
    camera: str

    def of_frame(self, corruption: Corruption) -> np.random.Generator:
        """Equal for equal frames at every severity."""
        return self._generator(corruption, self.frame_id)

    def of_camera(self, corruption: Corruption) -> np.random.Generator:
        """Equal for all frames of a camera."""
        return self._generator(corruption, self.camera)

    def _generator(self, corruption: Corruption, key: str) -> np.random.Generator:
        words = [zlib.crc32(part.encode("utf-8", "surrogateescape")) for part in (corruption, key)]
        return np.random.default_rng([self.seed, *words])


def corrupt(image: Image, corruption: Corruption, severity: int, source: Source) -> Image:
    """One frame, corrupted: (H, W, 3) uint8 BGR, a new one of the same size.

    Args:
        image: (H, W, 3) uint8 BGR.
        corruption: which.
        severity: 1 (hardly visible) to 5 (a camera that needs service).
        source: of what is random.
    """
    if corruption in GEOMETRIC:
        return warp(image, _matrix(image.shape[:2], corruption, severity, source))
    return OF_PIXELS[corruption](image, severity - 1, source)


def move_labels(labelled: LabelledFrame, corruption: Corruption, severity: int, source: Source) -> LabelledFrame:
    """The frame with its labels where the corruption moves them; those that leave the picture are dropped.

    What is merely hidden, by dirt or by dark, stays: it is on the part whether the camera shows it or not.
    """
    if corruption not in GEOMETRIC:
        return labelled
    height, width = labelled.frame.height, labelled.frame.width
    boxes = np.array([label.box for label in labelled.labels], np.float32).reshape(-1, 4)
    matrix = _matrix((height, width), corruption, severity, source)
    moved, kept = boxes_in_picture(boxes, matrix, (width, height))
    labels = [
        replace(labelled.labels[index], box=tuple(box))
        for index, box in zip(kept.tolist(), moved.tolist(), strict=True)
    ]
    return replace(labelled, labels=tuple(labels))


def _matrix(shape: tuple[int, ...], corruption: Corruption, severity: int, source: Source) -> Matrix:
    random, level = source.of_frame(corruption), severity - 1
    if corruption == "rotation":
        return rotation(shape, DEGREES[level], random)
    return perspective(shape, TILT[level], random)


def _darker(image: Image, level: int, _: Source) -> Image:
    return _tone(image, lambda light: light * 2 ** -LESS_LIGHT[level])


def _brighter(image: Image, level: int, _: Source) -> Image:
    return _tone(image, lambda light: light * 2 ** MORE_LIGHT[level])


def _haze(image: Image, level: int, _: Source) -> Image:
    left = TRANSMISSION[level]
    return _tone(image, lambda light: light * left + AIRLIGHT * (1 - left))


def _tone(image: Image, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Image:
    """A change of linear light, through a table: sRGB to light and back (IEC 61966-2-1)."""
    levels = np.arange(256) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    changed = np.clip(change(light), 0, 1)
    encoded = np.where(changed <= 0.0031308, changed * 12.92, 1.055 * changed ** (1 / 2.4) - 0.055)
    table: Image = np.rint(encoded * 255).astype(np.uint8)
    return _same(cv2.LUT(image, table))


def _motion_blur(image: Image, level: int, source: Source) -> Image:
    angle = source.of_frame("motion-blur").uniform(0, 180)
    length = STREAK[level] * min(image.shape[:2])
    return _filtered(image, _streak(length, angle))


def _streak(length: float, angle: float) -> Floats:
    """A line of `length` pixels through the middle, antialiased, that sums to 1."""
    half = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    turn = np.deg2rad(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    kernel: Floats = (inside / inside.sum()).astype(np.float32)
    return kernel


def _defocus(image: Image, level: int, _: Source) -> Image:
    radius = DISC[level] * min(image.shape[:2])
    half = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return _filtered(image, (disc / disc.sum()).astype(np.float32))


def _filtered(image: Image, kernel: Floats) -> Image:
    return _same(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def _noise(image: Image, level: int, source: Source) -> Image:
    """Shot and read noise as one Gaussian whose variance is a x + b (Foi et al., Poissonian-Gaussian, 2008)."""
    levels = image.astype(np.float32) / np.float32(255)
    sigma = np.sqrt(levels / np.float32(FULL_WELL[level]) + np.float32(READ_NOISE[level] ** 2))
    grey = np.array_equal(image[:, :, 0], image[:, :, 1]) and np.array_equal(image[:, :, 1], image[:, :, 2])
    channels = 1 if grey else 3  # a grey camera's noise is grey
    field = source.of_frame("noise").standard_normal((*image.shape[:2], channels), np.float32)
    return _same(np.rint(np.clip(levels + sigma * field, 0, 1) * 255))


def _jpeg(image: Image, level: int, _: Source) -> Image:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(QUALITY[level])])[1]
    return _same(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def _dirt(image: Image, level: int, source: Source) -> Image:
    """Blurred patches on the lens, at the same place in every frame of a camera; a higher severity grows them."""
    height, width = image.shape[:2]
    coarse = source.of_camera("dirt").standard_normal((DIRT_GRAIN, DIRT_GRAIN), np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    edge, softness = np.quantile(field, 1 - COVERED[level]), DIRT_EDGE * max(float(field.std()), 1e-6)
    cover = np.clip((field - edge) / softness + 0.5, 0, 1)[:, :, None]
    return _same(np.rint(image * (1 - cover) + DIRT_GREY * cover))


def _same(image: Any) -> Image:
    return np.asarray(image, np.uint8)


OF_PIXELS: dict[Corruption, Callable[[Image, int, Source], Image]] = {
    "darker": _darker,
    "brighter": _brighter,
    "haze": _haze,
    "motion-blur": _motion_blur,
    "defocus": _defocus,
    "noise": _noise,
    "jpeg": _jpeg,
    "dirt": _dirt,
}
