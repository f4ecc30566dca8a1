"""What is written in a format is what is read back, and no box that is read ever leaves its image."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.formats import coco, read, voc, yolo
from edgeloop.formats.check import settle
from edgeloop.formats.classes import folded
from edgeloop.frames import Frame, Label, LabelledFrame, Split, frame_id
from tests.labelled_sets import NAMES, yolo_set

WRITE = {"yolo": yolo.write_set, "voc": voc.write_set, "coco": coco.write_set}
APART = 0.05  # pixels between two boxes of a class: closer ones become one when decimals are cut


def tolerance(layout: str, side: int) -> float:
    """What each writer documents, in pixels, and the last digits of the arithmetic."""
    return {"yolo": 1e-6 * side, "voc": 0.005, "coco": 0.005}[layout] + 1e-9


@dataclass(frozen=True)
class Drawn:
    """A frame that is not a file yet."""

    stem: bytes
    width: int
    height: int
    labels: tuple[Label, ...]
    split: Split | None


@st.composite
def labels_on(draw: st.DrawFn, width: int, height: int, classes: int) -> tuple[Label, ...]:
    """Boxes with sides of at least a pixel, anywhere in the image."""
    labels: list[Label] = []
    for _ in range(draw(st.integers(0, 4))):
        x1, y1 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
        box = x1, y1, draw(st.floats(min(x1 + 1, width), width)), draw(st.floats(min(y1 + 1, height), height))
        labels.append(Label(draw(st.integers(0, classes - 1)), box))
    assume(all(math.dist(a.box, b.box) > APART for n, a in enumerate(labels) for b in labels[:n]))
    return tuple(labels)


FILE_NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: not set(name) & {0, ord("/")})
CLASS_NAMES = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"), exclude_characters="\ufffe\uffff"),
            min_size=1, max_size=12)
    | st.sampled_from(["<b>&amp;</b>", "]]>", "' \"", "null", "yes", "1", "~", "größe", "疵", "a: b", "#c", "{d}"])
).map(str.strip).filter(bool)  # fmt: skip


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[Drawn], list[str]]:
    """Class names in any script, and a few frames with sides, odd file names and boxes or none."""
    names = draw(st.lists(CLASS_NAMES, min_size=1, max_size=3, unique_by=folded))
    frames = []
    for _ in range(draw(st.integers(1, 3))):
        width, height = draw(st.integers(2, 90)), draw(st.integers(2, 90))
        labels = draw(labels_on(width, height, len(names)))
        split = draw(st.sampled_from([None, "train", "val", "test", "audit"]))
        frames.append(Drawn(draw(FILE_NAMES | st.just(b"same")), width, height, labels, split))
    return frames, names


def on_disk(folder: Path, drawn: Sequence[Drawn]) -> list[LabelledFrame]:
    """Pictures of noise, each in a folder of its own, so that names may repeat."""
    frames = []
    for number, frame in enumerate(drawn):
        pixels = np.random.default_rng(number).integers(0, 255, (frame.height, frame.width, 3), np.uint8)
        content = cv2.imencode(".png", pixels)[1].tobytes()
        image = folder / str(number) / os.fsdecode(frame.stem + b".png")
        image.parent.mkdir(parents=True)
        image.write_bytes(content)
        photo = Frame(frame_id(content), image, frame.width, frame.height, "c", datetime.now(timezone.utc))
        frames.append(LabelledFrame(photo, frame.labels, frame.split))
    return frames


def assert_same(found: Sequence[LabelledFrame], expected: Sequence[LabelledFrame], layout: str) -> None:
    """Equal frames, sizes and sides; boxes within the tolerance of the format."""
    if not any(frame.split == "val" for frame in expected):  # a train side alone is no split
        expected = [replace(frame, split=None if frame.split == "train" else frame.split) for frame in expected]
    by_id = {frame.frame.frame_id: frame for frame in found}
    assert len(by_id) == len(found) == len(expected)
    for frame in expected:
        other = by_id[frame.frame.frame_id]
        assert (other.split, other.frame.width, other.frame.height) == (
            frame.split, frame.frame.width, frame.frame.height
        )  # fmt: skip
        assert len(other.labels) == len(frame.labels)
        for label in frame.labels:
            same = [one for one in other.labels if one.class_id == label.class_id]
            nearest = min(max(abs(a - b) for a, b in zip(one.box, label.box, strict=True)) for one in same)
            assert nearest <= tolerance(layout, max(frame.frame.width, frame.frame.height))


@pytest.mark.parametrize("layout", WRITE)
@settings(max_examples=25, deadline=None)
@example(([Drawn(b"\\", 2, 2, (), None), Drawn(b"C:\\x", 3, 3, (), None)], ["0"]))
@given(sets())
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, layout: str, drawn_set: tuple[list[Drawn], list[str]]
) -> None:
    """Frames come back with their sides, sizes and boxes, and names with every character, whatever files are called."""
    drawn, names = drawn_set
    folder = tmp_path_factory.mktemp("set")
    frames = on_disk(folder / "source", drawn)
    WRITE[layout](folder / "set", frames, names)
    report = read(folder / "set", names=names if layout == "voc" else None)
    assert report.names == tuple(names)
    assert report.findings == ()
    assert_same(report.frames, frames, layout)


@settings(max_examples=15, deadline=None)
@given(sets(), st.permutations(list(WRITE)))
def test_round_trip_through_all_formats(
    tmp_path_factory: pytest.TempPathFactory, drawn_set: tuple[list[Drawn], list[str]], order: list[str]
) -> None:
    """From format to format in any order nothing is lost; the coarsest decides how exact boxes stay."""
    drawn, names = drawn_set
    folder = tmp_path_factory.mktemp("set")
    first = on_disk(folder / "source", drawn)
    frames: Sequence[LabelledFrame] = first
    for layout in order:
        WRITE[layout](folder / layout, frames, names)
        frames = read(folder / layout, names=names).frames
    by_id = {frame.frame.frame_id: frame for frame in frames}
    for frame in first:
        boxes = sorted((label.class_id, *label.box) for label in frame.labels)
        assert len(by_id[frame.frame.frame_id].labels) == len(boxes)
        for label in frame.labels:
            same = [one for one in by_id[frame.frame.frame_id].labels if one.class_id == label.class_id]
            assert any(np.allclose(one.box, label.box, atol=0.012) for one in same)


@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4) | st.tuples(*[st.floats(-200, 200)] * 4),
       st.integers(1, 150), st.integers(1, 150))  # fmt: skip
def test_settled_boxes_lie_inside(box: tuple[float, float, float, float], width: int, height: int) -> None:
    """Whatever comes, a box that is kept lies in its image and has an area, and one that is left out has a reason."""
    settled, problems = settle(box, width, height)
    if settled is None:
        assert problems[-1].kind in ("zero-area", "box-outside")
        assert not problems[-1].fix
        return
    x1, y1, x2, y2 = settled
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert all(problem.fix for problem in problems)


@given(st.floats(0, 90), st.floats(0, 90), st.floats(1, 60), st.floats(1, 60))
def test_a_good_box_is_not_touched(x: float, y: float, width: float, height: float) -> None:
    """A box inside its image comes back as it is, without a word."""
    box = x, y, x + width, y + height
    assert settle(box, 150, 150) == (box, [])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), *[st.floats(-0.5, 1.5)] * 4), max_size=6))
def test_fixed_sets_hold_no_box_outside(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[float, float, float, float, float]]
) -> None:
    """After --fix every box lies in its image, or the set is still refused; what was mended is listed."""
    text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
    folder = yolo_set(tmp_path_factory.mktemp("set"), {"a": text})
    try:
        report = read(folder, names=NAMES, fix=True)
    except BadInput as refused:
        assert "--fix would" not in str(refused) or "of the" in str(refused)  # noqa: PT017
        return
    for label in report.frames[0].labels:
        x1, y1, x2, y2 = label.box
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 48
    assert all(finding.fix for finding in report.mended)
