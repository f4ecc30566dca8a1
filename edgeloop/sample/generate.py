"""Generate the sample: an inspection line in order, and the same line after its lamps, lens and stains have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeloop.files import atomic_directory
from edgeloop.formats.names import stamped_name
from edgeloop.frames import Split
from edgeloop.progress import bar
from edgeloop.sample.camera import CAMERAS
from edgeloop.sample.defects import NAMES, Defect
from edgeloop.sample.line import Part, photograph_part
from edgeloop.sample.scene import (
    SCENE_FILE,
    SUBSETS,
    SampleSize,
    Scene,
    Subset,
    SubsetCount,
    SubsetWriter,
    require_sample_folder,
)
from edgeloop.sample.texture import MATERIALS, Material
from edgeloop.sample.timetable import severity_at, time_at

# Share of each class among the boxes of every sub-set; the rare one is below 3 %.
SHARES: dict[Defect, float] = {"scratch": 0.36, "pit": 0.33, "stain": 0.282, "crack": 0.028}
# Share of frames with 0, 1, 2, … defects. A labelled set was put together by people, who leave empty frames out.
PRODUCTION = (0.42, 0.21, 0.16, 0.12, 0.09)
CURATED = (0.10, 0.27, 0.28, 0.20, 0.15)
RUN = 6  # parts of one material in a row


K = TypeVar("K")


@dataclass(frozen=True)
class Planned:
    """One frame before it is drawn: everything about it that other frames have a say in."""

    part: Part
    camera: int
    time: datetime
    severity: float
    split: Split | None


def generate(out: Path, size: SampleSize, seed: int) -> Scene:
    """Write the sample into `out`, which then holds it whole or, when anything fails, what it held before.

    The same size and seed give the same bytes on one machine. A frame's content follows from the seed, its sub-set and
    its number alone, and no two frames share any of it.

    Args:
        out: folder to write; a sample that is there is replaced.
        size: `DEMO`, `TINY` or your own.
        seed: any whole number from 0 up.

    Raises:
        BadInput: `out` holds something else, or could not be written.
    """
    require_sample_folder(out)
    with atomic_directory(out) as folder:
        counts = {subset: _write(folder / subset, subset, size, seed) for subset in SUBSETS}
        scene = Scene(root=out, names=NAMES, source="generated", seed=seed, counts=counts)
        scene.save(folder / SCENE_FILE)
    return scene


def _write(folder: Path, subset: Subset, size: SampleSize, seed: int) -> SubsetCount:
    stream = [seed, SUBSETS.index(subset)]
    plan = list(plan_subset(np.random.default_rng(stream), subset, size))
    writer = SubsetWriter(folder, tuple(NAMES))
    for index, planned in enumerate(bar(plan, f"photograph {subset}", len(plan))):
        camera = CAMERAS[planned.camera]
        rng = np.random.default_rng([*stream, index + 1])
        picture, labels = photograph_part(rng, planned.part, camera, size.side, planned.severity)
        writer.add(stamped_name(camera.name, planned.time), picture, labels, planned.split)
    return writer.close()


def plan_subset(rng: np.random.Generator, subset: Subset, size: SampleSize) -> Iterator[Planned]:
    """Decide what passes, when and under which camera; class and material shares are exact, only their order is drawn.

    The cameras take turns, materials come in short runs, and times carry a jitter of a fifth of the period.
    """
    frames = size.train + size.val if subset == "labelled" else size.audit if "audit" in subset else size.stream
    numbers = _deck(rng, dict(enumerate(CURATED if subset == "labelled" else PRODUCTION)), frames)
    kinds = iter(_deck(rng, SHARES, sum(numbers)))
    materials = _materials(rng, frames)
    splits = _splits(rng, size) if subset == "labelled" else [None] * frames
    for index in range(frames):
        yield Planned(
            part=Part(materials[index], tuple(next(kinds) for _ in range(numbers[index]))),
            camera=index % len(CAMERAS),
            time=time_at(rng, subset, index),
            severity=severity_at(subset, index / frames),
            split=splits[index],
        )


def _deck(rng: np.random.Generator, shares: Mapping[K, float], count: int) -> list[K]:
    """`count` keys in random order, each as often as its share says (largest remainders get what rounding leaves)."""
    exact = np.array(list(shares.values())) * count
    whole = np.floor(exact).astype(int)
    for index in np.argsort(whole - exact)[: count - whole.sum()]:
        whole[index] += 1
    cards = [key for key, often in zip(shares, whole, strict=True) for _ in range(often)]
    return [cards[index] for index in rng.permutation(count)]


def _materials(rng: np.random.Generator, frames: int) -> list[Material]:
    """Runs of one material; every block of runs holds each material once, so that no window lacks one."""
    order: list[Material] = []
    while len(order) < frames:
        for index in rng.permutation(len(MATERIALS)):
            order += [MATERIALS[index]] * RUN
    return order[:frames]


def _splits(rng: np.random.Generator, size: SampleSize) -> list[Split | None]:
    validation = set(rng.permutation(size.train + size.val)[: size.val].tolist())
    return ["val" if index in validation else "train" for index in range(size.train + size.val)]
