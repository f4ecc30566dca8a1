"""One part under one camera: surface, defects, what is no defect, photograph. Labels are known, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeloop.edge.frame import Image
from edgeloop.frames import Label
from edgeloop.sample import defects, distractors, marks
from edgeloop.sample.camera import Camera, conditions, photograph
from edgeloop.sample.defects import NAMES, Defect, Layer
from edgeloop.sample.marks import Box
from edgeloop.sample.texture import Material, surface

# Gain of blue, green and red of each material's plain surface.
COLOURS: dict[Material, tuple[float, float, float]] = {
    "brushed": (1.02, 1.00, 0.98),
    "cast": (0.86, 0.86, 0.88),
    "matte": (1.06, 1.02, 0.96),
    "laminate": (0.84, 0.95, 1.06),
}
TRIES = 40  # placements tried for a defect before it is left out
LEAST_SIDE = 4.0  # pixels; a defect cut down to less by the frame's edge is placed again


@dataclass(frozen=True)
class Part:
    """What passes under a camera.

    Attributes:
        material: of its surface.
        defects: kinds of defect on it, in the order they are drawn.
    """

    material: Material
    defects: tuple[Defect, ...]


def photograph_part(
    rng: np.random.Generator, part: Part, camera: Camera, size: int, severity: float
) -> tuple[Image, tuple[Label, ...]]:
    """The picture that `camera` takes of `part`, and its true labels.

    Args:
        rng: the only source of chance.
        part: what passes.
        camera: who looks.
        size: side of the picture in pixels.
        severity: how far the line has drifted, 0..1.

    Returns:
        (size, size, 3) uint8 BGR and one label a defect, each box tight around what can be seen and inside the picture.
    """
    angle = camera.angle + rng.normal(0, 2)
    reflectance = surface(rng, part.material, size, angle)[:, :, None] * np.array(COLOURS[part.material], np.float32)
    state = conditions(severity)
    defects.apply(reflectance, distractors.draw(rng, size, angle))
    labels: list[Label] = []
    for kind in part.defects:
        placed = _place(rng, kind, [label.box for label in labels], size, bool(rng.random() < state.variant))
        if placed is not None:
            layers, box = placed
            defects.apply(reflectance, layers)
            labels.append(Label(NAMES.index(kind), box))
    return photograph(rng, reflectance, camera, state), tuple(labels)


def _place(
    rng: np.random.Generator, kind: Defect, taken: list[Box], size: int, variant: bool
) -> tuple[list[Layer], Box] | None:
    """Draw a defect where it meets no other; None when there is no room for it."""
    for _ in range(TRIES):
        layers = defects.draw(rng, kind, rng.uniform(0.06, 0.94, 2).astype(np.float32) * size, size, variant)
        box = defects.box_of(layers)
        if box is None or min(box[2] - box[0], box[3] - box[1]) < _least(kind) or marks.overlap(box, taken):
            continue
        return layers, box
    return None


def _least(kind: Defect) -> float:
    """A straight scratch is as thin as its line; everything else must show some area."""
    return 1.5 if kind == "scratch" else LEAST_SIDE
