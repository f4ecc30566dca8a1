"""The four kinds of defect, and the fifth look that one of them takes on when the line drifts.

A defect is drawn as layers that brighten or darken the surface under it; its box is the tight box of what they touch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgeloop.boxes import Floats
from edgeloop.sample import marks
from edgeloop.sample.marks import Box, Points

Defect = Literal["scratch", "pit", "stain", "crack"]
NAMES: tuple[Defect, ...] = ("scratch", "pit", "stain", "crack")
RARE: Defect = "crack"


@dataclass(frozen=True)
class Layer:
    """What one layer of a mark does to the light that comes back.

    Attributes:
        mask: (size, size) float32, 0..1.
        change: relative change of reflectance at mask 1 in blue, green and red; negative darkens.
    """

    mask: Floats
    change: tuple[float, float, float]


def draw(rng: np.random.Generator, kind: Defect, centre: Points, size: int, variant: bool = False) -> list[Layer]:
    """The layers of one defect of `kind` around `centre`, (2,) in pixels; `variant` asks for a stain's new look."""
    return _dried_film(rng, centre, size) if variant and kind == "stain" else _DRAW[kind](rng, centre, size)


def apply(surface: Floats, layers: list[Layer]) -> None:
    """Change `surface`, (size, size, 3) float32, in place."""
    for layer in layers:
        box = marks.visible_box(layer.mask, 1 / 255)
        if box is not None:
            x1, y1, x2, y2 = map(int, box)
            surface[y1:y2, x1:x2] *= 1 + layer.mask[y1:y2, x1:x2, None] * np.asarray(layer.change, np.float32)


def box_of(layers: list[Layer]) -> Box | None:
    """The tight box, xyxy in pixels, of what the layers visibly touch; None when that is nothing."""
    return marks.visible_box(np.maximum.reduce([layer.mask for layer in layers]))


def _scratch(rng: np.random.Generator, centre: Points, size: int) -> list[Layer]:
    """A thin, gently bent line of bare material, with a shadow along one flank."""
    path = marks.curve(centre, rng.uniform(24, 95), rng.uniform(0, 180), rng.normal(0, 0.06))
    width = rng.uniform(1.0, 2.2)
    strength = rng.uniform(0.10, 0.34)
    flank = marks.strokes([path + np.float32(0.9 * width)], width, size)
    return [Layer(flank, _even(-0.5 * strength)), Layer(marks.strokes([path], width, size), _even(strength))]


def _pit(rng: np.random.Generator, centre: Points, size: int) -> list[Layer]:
    """A small hole: dark inside, and a bright edge where the lamp, above, meets the far wall."""
    radius = rng.uniform(2.4, 7.0)
    hole = marks.filled(marks.blob(rng, centre, radius, rng.uniform(1, 1.4), 0.15), size)
    lit = np.clip(np.roll(hole, max(round(radius / 3), 1), axis=0) - hole, 0, 1)
    strength = rng.uniform(0.14, 0.42)
    return [Layer(hole, _even(-strength)), Layer(lit, _even(0.7 * strength))]


def _stain(rng: np.random.Generator, centre: Points, size: int) -> list[Layer]:
    """A soft-edged brownish blotch, as oil leaves it."""
    radius = rng.uniform(9, 24)
    outline = marks.blob(rng, centre, radius, rng.uniform(1, 2), 0.38)
    soft = cv2.GaussianBlur(marks.filled(outline, size), (0, 0), rng.uniform(1.2, 2.8))
    strength = rng.uniform(0.09, 0.28)
    return [Layer(soft, (-1.25 * strength, -strength, -0.75 * strength))]


def _dried_film(rng: np.random.Generator, centre: Points, size: int) -> list[Layer]:
    """The stain's new variant: coolant dried to a pale film with a thin rim, where only glare was pale before."""
    outline = marks.blob(rng, centre, rng.uniform(9, 24), rng.uniform(1, 2), 0.38)
    film = cv2.GaussianBlur(marks.filled(outline, size), (0, 0), rng.uniform(0.8, 1.6))
    rim = marks.strokes([np.concatenate([outline, outline[:1]])], 1.2, size)
    strength = rng.uniform(0.14, 0.32)
    return [Layer(film, _even(strength)), Layer(rim, _even(0.3 * strength))]


def _crack(rng: np.random.Generator, centre: Points, size: int) -> list[Layer]:
    """A dark jagged line that forks."""
    lines = marks.fracture(rng, centre, rng.uniform(32, 85), rng.uniform(0, 360))
    return [Layer(marks.strokes(lines, rng.uniform(1.1, 2.2), size), _even(-rng.uniform(0.3, 0.55)))]


def _even(change: float) -> tuple[float, float, float]:
    return (change, change, change)


_DRAW: dict[Defect, Callable[[np.random.Generator, Points, int], list[Layer]]] = {
    "scratch": _scratch,
    "pit": _pit,
    "stain": _stain,
    "crack": _crack,
}
