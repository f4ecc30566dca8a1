"""Play production on a user's own labelled set: a part of it is held back, and half of that drifts synthetically.

Every source frame goes to exactly one of the five sub-sets, and frames of one group go together. What cannot be played
is a new kind of object: the drifted side has less light, an unsharp lens and more noise, and the same objects.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from edgeloop.edge.frame import Image, decode_image
from edgeloop.errors import BadInput
from edgeloop.files import atomic_directory
from edgeloop.formats.names import UNKNOWN_CAMERA, stamped_name
from edgeloop.frames import HELD_OUT, LabelledFrame, Split
from edgeloop.progress import bar
from edgeloop.sample.scene import SCENE_FILE, SUBSETS, Scene, Subset, SubsetCount, SubsetWriter, require_sample_folder
from edgeloop.sample.timetable import severity_at, time_at
from edgeloop.splits import group_of

MINIMUM_FRAMES, MINIMUM_GROUPS, MINIMUM_BOXES = 60, 15, 30
SHARES: dict[Subset, float] = {
    "labelled": 0.53,
    "stream-clean": 0.09,
    "stream-drifted": 0.14,
    "audit-clean": 0.12,
    "audit-drifted": 0.12,
}
SIDES: dict[Split, float] = {"train": 0.8, "val": 0.2}  # of the labelled part, where the user's set does not say
STREAM_FRAMES = 600  # three windows of the drift check; fewer source frames are replayed
LIGHT_LOST, BLUR, NOISE = 0.45, 0.006, 4.0  # at full drift: share, share of the shorter side, grey levels
JITTER_LIGHT, JITTER_NOISE = 0.03, 1.2  # from frame to frame in production: share, grey levels
K = TypeVar("K", bound=str)


def hold_back(labelled: Sequence[LabelledFrame], names: Sequence[str], out: Path, seed: int) -> Scene:
    """Divide a labelled set into `out`: a labelled part, and streams and audit sets in order and drifted.

    Frames keep their size and their labels. Labelled and clean audit frames keep their bytes; streams are replayed with
    another exposure and noise each time until they are `STREAM_FRAMES` long. Frames marked for audit are never part of
    the labelled side.

    Args:
        labelled: at least 60 frames in at least 15 groups, with at least 30 boxes.
        names: class names, index is the class id.
        out: folder to write, whole or not at all; a sample that is there is replaced.
        seed: decides who goes where.

    Raises:
        BadInput: too few frames, groups or boxes, an image that can no longer be read, or `out` holds something else.
    """
    require_sample_folder(out)
    _require_enough(labelled)
    dealt = divide(labelled, len(names), seed)
    with atomic_directory(out) as folder:
        counts = {subset: _write(folder / subset, subset, dealt[subset], (tuple(names), seed)) for subset in SUBSETS}
        scene = Scene(root=out, names=tuple(names), source="held-back", seed=seed, counts=counts)
        scene.save(folder / SCENE_FILE)
    return scene


def divide(labelled: Sequence[LabelledFrame], classes: int, seed: int) -> dict[Subset, list[LabelledFrame]]:
    """Which frames go to which sub-set; the classes of each come as near to the whole's as its groups allow.

    Raises:
        BadInput: the groups are so uneven that a sub-set gets no box.
    """
    groups: dict[str, list[LabelledFrame]] = {}
    for frame in labelled:
        groups.setdefault(group_of(frame), []).append(frame)
    sides = _deal(groups, SHARES, (classes, seed))
    dealt: dict[Subset, list[LabelledFrame]] = {subset: [] for subset in SUBSETS}
    for name, subset in sides.items():
        dealt[subset] += groups[name]
    bare = [subset for subset, frames in dealt.items() if not any(frame.labels for frame in frames)]
    if bare:
        raise BadInput(
            f"the {len(labelled)} labelled frames form {len(groups)} groups, so uneven that no box is left for "
            f"{bare[0]}; expected groups below a tenth of the set. Split it into finer groups, or label more."
        )
    return dealt


def _deal(groups: Mapping[str, list[LabelledFrame]], shares: Mapping[K, float], looks: tuple[int, int]) -> dict[str, K]:
    """Give each group to the side that is furthest below its share, rare classes first so that every side has some."""
    total = sum(map(len, groups.values()))
    given: Counter[K] = Counter()
    dealt: dict[str, K] = {}
    for name in _order(groups, looks):
        frames = groups[name]
        largest = max(shares, key=lambda side: shares[side])
        if len(frames) > min(shares.values()) * total:
            side = largest  # it would fill a small side alone
        else:
            open_sides = [s for s in shares if s != "labelled" or any(f.split not in HELD_OUT for f in frames)]
            side = min(open_sides, key=lambda side: (given[side] + len(frames) / 2) / shares[side])
        given[side] += len(frames)
        dealt[name] = side
    return dealt


def _order(groups: Mapping[str, list[LabelledFrame]], looks: tuple[int, int]) -> list[str]:
    """Groups by the rarest class in them, then at random."""
    classes, seed = looks
    often = Counter(label.class_id for frames in groups.values() for frame in frames for label in frame.labels)
    rank = {class_id: place for place, (class_id, _) in enumerate(reversed(often.most_common()))}

    def key(name: str) -> tuple[int, str]:
        rarest = min((rank[label.class_id] for f in groups[name] for label in f.labels), default=classes)
        return rarest, hashlib.sha256(f"hold back {seed} {name}".encode("utf-8", "surrogateescape")).hexdigest()

    return sorted(groups, key=key)


def _write(
    folder: Path, subset: Subset, frames: list[LabelledFrame], scene: tuple[tuple[str, ...], int]
) -> SubsetCount:
    names, seed = scene
    rng = np.random.default_rng([seed, SUBSETS.index(subset)])
    writer = SubsetWriter(folder, names)
    if subset == "labelled":
        sides = _sides(frames, (len(names), seed))
        for frame in bar(frames, "copy labelled", len(frames)):
            writer.copy(_unique_name(frame), frame, sides[group_of(frame)])
        return writer.close()
    played = list(_replayed(rng, frames, STREAM_FRAMES if "stream" in subset else len(frames)))
    for index, frame in enumerate(bar(played, f"photograph {subset}", len(played))):
        camera = "cam1" if frame.frame.camera == UNKNOWN_CAMERA else frame.frame.camera
        name = stamped_name(camera, time_at(rng, subset, index), frame.frame.image.suffix)
        if subset == "audit-clean":
            writer.copy(name, frame)
        else:
            writer.add(name, _photograph(rng, frame, subset, index / len(played)), frame.labels)
    return writer.close()


def _sides(frames: list[LabelledFrame], looks: tuple[int, int]) -> dict[str, Split]:
    """Train and val of the labelled part: as the user's set says, and dealt where it says nothing."""
    said = {group_of(frame): frame.split for frame in frames if frame.split in ("train", "val")}
    groups: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        groups.setdefault(group_of(frame), []).append(frame)
    if {"train", "val"} <= set(said.values()) and len(said) == len(groups):
        return {group: split for group, split in said.items() if split}
    return _deal(groups, SIDES, looks)


def _replayed(rng: np.random.Generator, frames: list[LabelledFrame], least: int) -> Iterable[LabelledFrame]:
    """The frames in random order, and again in another, until there are `least`; all of them at least once."""
    count, left = max(least, len(frames)), 0
    while left < count:
        for index in rng.permutation(len(frames))[: count - left]:
            yield frames[index]
        left += len(frames)


def _photograph(rng: np.random.Generator, source: LabelledFrame, subset: Subset, progress: float) -> Image:
    """The source as production would see it again: another exposure, other noise, and the drift of that moment."""
    severity = severity_at(subset, progress)
    picture = decode_image(source.frame.image.read_bytes(), str(source.frame.image))
    if severity > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), max(BLUR * severity * min(picture.shape[:2]), 0.1))
    gain = (1 - LIGHT_LOST * severity) * rng.normal(1, JITTER_LIGHT)
    noise = JITTER_NOISE + NOISE * severity
    grain = rng.standard_normal((*picture.shape[:2], 1), np.float32)
    return np.asarray(np.clip(picture * np.float32(gain) + np.float32(noise) * grain + 0.5, 0, 255), np.uint8)


def _unique_name(frame: LabelledFrame) -> str:
    """The user's file name; its id in front keeps equal names of two folders apart."""
    return f"{frame.frame.frame_id}_{frame.frame.image.name}"


def _require_enough(labelled: Sequence[LabelledFrame]) -> None:
    groups, boxes = {group_of(frame) for frame in labelled}, sum(len(frame.labels) for frame in labelled)
    if len(labelled) < MINIMUM_FRAMES or len(groups) < MINIMUM_GROUPS or boxes < MINIMUM_BOXES:
        raise BadInput(
            f"expected at least {MINIMUM_FRAMES} labelled frames in {MINIMUM_GROUPS} groups with "
            f"{MINIMUM_BOXES} boxes; came {len(labelled)} frames in {len(groups)} groups with {boxes} boxes. "
            f"Label more, or run the demo on its own sample data."
        )
