"""Pretraining scenes: plain shapes on plain noise, in any colour. They share no class and no surface with the line."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edgeloop.boxes import Floats
from edgeloop.edge.frame import Image
from edgeloop.sample import marks, texture
from edgeloop.sample.marks import Box, Points

SHAPES: tuple[str, ...] = ("disc", "ring", "stroke", "branch", "blob", "plate")


def draw_scene(rng: np.random.Generator, size: int) -> tuple[Image, list[tuple[int, Box]]]:
    """One scene of 0 to 6 shapes and some clutter that is no shape.

    Returns:
        The picture, (size, size, 3) uint8 BGR, and for each shape its index into `SHAPES` and its box, xyxy in pixels.
    """
    picture = _background(rng, size)
    _add_clutter(rng, picture)
    found: list[tuple[int, Box]] = []
    for _ in range(rng.choice(7, p=[0.06, 0.18, 0.22, 0.2, 0.16, 0.1, 0.08])):
        _add_shape(rng, picture, found)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.7))
    noisy = picture + rng.standard_normal(picture.shape, dtype=np.float32) * rng.uniform(0.003, 0.025)
    return np.clip(noisy * 255, 0, 255).astype(np.uint8), found


def _background(rng: np.random.Generator, size: int) -> Floats:
    """Noise of a random kind in a random colour around a mid brightness."""
    kind = rng.integers(3)
    if kind == 0:
        noise = texture.octaves(rng, size, int(rng.integers(2, 9)), int(rng.integers(2, 6)))
    elif kind == 1:
        noise = texture.streaks(rng, size, int(rng.integers(3, 60)) * 2 + 1, rng.uniform(0, 180))
    else:
        noise = texture.speckle(rng, size, rng.uniform(0.6, 3.0))
    slope = np.linspace(-1, 1, size, dtype=np.float32)
    ramp = slope[:, None] * rng.normal(0, 0.06) + slope[None, :] * rng.normal(0, 0.06)
    level = rng.uniform(0.4, 0.75) * rng.uniform(0.8, 1.1, 3)
    lit = 1 + rng.uniform(0.01, 0.09) * noise + ramp
    return (lit[:, :, None] * level).astype(np.float32)


def _add_shape(rng: np.random.Generator, picture: Floats, found: list[tuple[int, Box]]) -> None:
    """Draw one shape where it meets no other; after four misses the scene stays as it is."""
    size = picture.shape[0]
    shape = int(rng.integers(len(SHAPES)))
    for _ in range(4):
        mask = _DRAW[SHAPES[shape]](rng, rng.uniform(0.05, 0.95, 2).astype(np.float32) * size, size)
        box = marks.visible_box(mask)
        if box is None or min(box[2] - box[0], box[3] - box[1]) < 2 or marks.overlap(box, [b for _, b in found], 1):
            continue
        paint(rng, picture, mask)
        found.append((shape, box))
        return


def paint(rng: np.random.Generator, picture: Floats, mask: Floats) -> None:
    """Blend a random colour, clearly lighter or darker than the ground, into `picture` where `mask` says."""
    ground = picture[mask > marks.VISIBLE].mean(axis=0)
    contrast = rng.choice([-1, 1], p=[0.6, 0.4]) * rng.uniform(0.1, 0.5)
    colour = np.clip(ground * (1 + contrast) * rng.uniform(0.88, 1.12, 3), 0, 1)
    shade = mask[:, :, None] * rng.uniform(0.7, 1.0)
    picture *= 1 - shade
    picture += shade * colour.astype(np.float32)


def _add_clutter(rng: np.random.Generator, picture: Floats) -> None:
    """Soft lights and shadows and lone specks: what is there and is nothing."""
    size = picture.shape[0]
    for _ in range(rng.poisson(0.8)):
        outline = marks.ellipse(
            rng.uniform(0, size, 2).astype(np.float32), tuple(rng.uniform(15, 70, 2)), rng.uniform(0, 180)
        )
        soft = cv2.GaussianBlur(marks.filled(outline, size), (0, 0), rng.uniform(8, 16))
        picture *= 1 + soft[:, :, None] * rng.uniform(-0.25, 0.25)
    for _ in range(rng.poisson(4)):
        x, y = rng.integers(2, size - 2, 2)
        picture[y : y + 2, x : x + 2] *= rng.uniform(0.6, 1.4)


def _disc(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    radius = np.exp(rng.uniform(np.log(2.5), np.log(30)))
    return marks.filled(marks.ellipse(centre, (radius, radius * rng.uniform(0.7, 1)), rng.uniform(0, 180)), size)


def _ring(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    radius = np.exp(rng.uniform(np.log(7), np.log(36)))
    outline = marks.ellipse(centre, (radius, radius * rng.uniform(0.6, 1)), rng.uniform(0, 180))
    return marks.strokes([np.concatenate([outline, outline[:1]])], rng.uniform(1.2, 2 + radius / 8), size)


def _stroke(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    path = marks.curve(centre, rng.uniform(18, 110), rng.uniform(0, 180), rng.normal(0, 0.12))
    return marks.strokes([path], rng.uniform(1, 4), size)


def _branch(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    return marks.strokes(marks.fracture(rng, centre, rng.uniform(25, 90), rng.uniform(0, 360)), rng.uniform(1, 3), size)


def _blob(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    outline = marks.blob(
        rng, centre, np.exp(rng.uniform(np.log(6), np.log(32))), rng.uniform(1, 2.5), rng.uniform(0.2, 0.5)
    )
    soft: Floats = cv2.GaussianBlur(marks.filled(outline, size), (0, 0), rng.uniform(0.5, 3))
    return soft


def _plate(rng: np.random.Generator, centre: Points, size: int) -> Floats:
    corners = marks.ellipse(centre, tuple(rng.uniform(8, 38, 2)), rng.uniform(0, 180), int(rng.integers(3, 6)))
    return marks.filled(corners, size)


_DRAW: dict[str, Callable[[np.random.Generator, Points, int], Floats]] = {
    "disc": _disc,
    "ring": _ring,
    "stroke": _stroke,
    "branch": _branch,
    "blob": _blob,
    "plate": _plate,
}
