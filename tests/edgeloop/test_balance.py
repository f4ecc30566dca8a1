"""What a labelled set is made of."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgeloop.balance import box_sizes, brightness, class_balance, frames_by_camera, histogram
from edgeloop.formats.images import Look
from edgeloop.frames import Frame, Label, LabelledFrame, Split

NAMES = ("scratch", "dent", "rust")


def frame(name: str, camera: str, split: Split, *labels: Label) -> LabelledFrame:
    moment = datetime(2026, 3, 1, tzinfo=timezone.utc)
    return LabelledFrame(Frame(name, Path(f"{name}.jpg"), 200, 100, camera, moment), labels, split)


FRAMES = [
    frame("a", "cam1", "train", Label(0, (0, 0, 20, 10)), Label(0, (50, 50, 70, 60))),
    frame("b", "cam2", "train", Label(1, (0, 0, 200, 100))),
    frame("c", "cam2", "audit", Label(0, (0, 0, 20, 10))),
    frame("d", "cam2", "val"),
]


def test_boxes_and_frames_are_counted_by_side_and_camera() -> None:
    """Two boxes on one frame are two boxes and one frame; a class and a camera without boxes stand there with 0."""
    scratch, dent, rust = class_balance(FRAMES, NAMES)
    assert scratch.boxes == {"train": 2, "val": 0, "test": 0, "audit": 1}
    assert scratch.frames == {"train": 1, "val": 0, "test": 0, "audit": 1}
    assert scratch.cameras == {"cam1": 2, "cam2": 1}
    assert (dent.total, rust.total, rust.cameras) == (1, 0, {"cam1": 0, "cam2": 0})
    assert frames_by_camera(FRAMES) == {
        "cam1": {"train": 1, "val": 0, "test": 0, "audit": 0},
        "cam2": {"train": 1, "val": 1, "test": 0, "audit": 1},
    }


def test_what_is_rare_is_rare_on_the_training_side() -> None:
    """Boxes that judge a detector do not help to train one."""
    plenty = [frame(str(index), "cam1", "audit", Label(2, (0, 0, 9, 9))) for index in range(80)]
    assert class_balance(plenty, NAMES)[2].rare
    moved = [frame(str(index), "cam1", "train", Label(2, (0, 0, 9, 9))) for index in range(50)]
    assert not class_balance(moved, NAMES)[2].rare


def test_box_sizes_are_shares_of_the_image() -> None:
    """A box of 20 x 10 pixels in 200 x 100 has a tenth of the side; one as large as the image has all of it."""
    scratch, dent, rust = box_sizes(FRAMES, NAMES)
    assert scratch.quantiles == pytest.approx((0.1, 0.1, 0.1))
    assert scratch.counts == (0, 0, 0, 0, 3, 0, 0, 0)
    assert dent.counts[-1] == 1, "the upper edge belongs to the last bin"
    assert (rust.values, rust.quantiles) == (0, ())


def test_brightness_leaves_out_what_was_not_looked_at() -> None:
    """Only frames with statistics count, each with its own camera."""
    looks = {"a": Look(10.0, 1.0, 1.0), "c": Look(250.0, 1.0, 1.0)}
    dark, light = brightness(FRAMES, looks)
    assert (dark.name, dark.values, light.name, light.values) == ("cam1", 1, "cam2", 1)
    assert (dark.counts[0], light.counts[-1]) == (1, 1)


def test_values_beyond_the_edges_are_not_lost() -> None:
    """They go into the outer bins."""
    assert histogram("x", (-5.0, 0.5, 9.0), (0.0, 1.0, 2.0)).counts == (2, 1)
