"""The report of a data set: its counts, its repeats, what is worth a look; nothing loaded from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pytest

from edgeloop.dataset import DatasetVersion, count_boxes
from edgeloop.formats.findings import Finding, warning
from edgeloop.formats.images import ImageFacts, inspect
from edgeloop.frames import SPLITS, Frame, Label, LabelledFrame, Split
from edgeloop.reports.data import write_data_report
from tests.labelled_sets import smooth

NAMES = ("dent", "<script>rust</script>")


def photo(path: Path, seed: int, quality: int = 95) -> ImageFacts:
    path.write_bytes(cv2.imencode(".jpg", smooth(seed, 128, 128), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
    found = inspect(path)
    assert isinstance(found, ImageFacts)
    return found


@pytest.fixture
def frames(tmp_path: Path) -> list[tuple[LabelledFrame, ImageFacts]]:
    """Six frames on two cameras; the last nearly shows what the first shows."""
    found = []
    sides: tuple[Split, ...] = ("train", "train", "train", "val", "audit", "train")
    for number, side in enumerate(sides):
        path = tmp_path / f"{number}.jpg"
        facts = photo(path, number % 5, 95 - 40 * (number == 5))
        moment = datetime(2026, 3, 1, tzinfo=timezone.utc)
        frame = Frame(facts.frame_id, path, 128, 128, f"cam{number % 2}", moment)
        labels = (Label(0, (8, 8, 40, 40)),) + ((Label(1, (0, 0, 128, 128)),) if number == 0 else ())
        found.append((LabelledFrame(frame, labels, side), facts))
    return found


def page(tmp_path: Path, frames: list[tuple[LabelledFrame, ImageFacts]], doubts: list[Finding]) -> str:
    labelled = [frame for frame, _ in frames]
    version = DatasetVersion(
        root=tmp_path, md5="0" * 32, names=NAMES,
        frames={side: sum(frame.split == side for frame in labelled) for side in SPLITS},
        boxes={side: count_boxes([frame for frame in labelled if frame.split == side], NAMES) for side in SPLITS},
    )  # fmt: skip
    facts = {found.frame_id: found for _, found in frames}
    return write_data_report(tmp_path / "data.html", version, labelled, facts, doubts).read_text(encoding="utf-8")


def test_counts_and_repeats_are_told(tmp_path: Path, frames: list[tuple[LabelledFrame, ImageFacts]]) -> None:
    """Frames, boxes and cameras are those of the set; the two that nearly show the same stand together."""
    html = page(tmp_path, frames, [])
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "6 frames, 7 boxes, 2 classes" in text
    assert "No group of near duplicates lies on two sides" in text
    assert "2 frames in 1 group" in text
    assert "cam0" in text
    assert html.count("data:image/jpeg;base64,") == 2


def test_a_leak_is_said_first(tmp_path: Path, frames: list[tuple[LabelledFrame, ImageFacts]]) -> None:
    """The same two frames on two sides."""
    last, facts = frames[-1]
    html = page(tmp_path, [*frames[:-1], (replace(last, split="val"), facts)], [])
    assert "1 group of near duplicates lies on two sides of the split and leaks" in html
    assert "train and val" in html


def test_what_is_worth_a_look_is_shown(tmp_path: Path, frames: list[tuple[LabelledFrame, ImageFacts]]) -> None:
    """Each with its picture and its reason; a path that is no frame of the set is counted and not opened."""
    doubts = [
        warning("zero-area", frames[0][0].frame.image, "as large as <the image>"),
        warning("zero-area", tmp_path / "gone.jpg", "elsewhere"),
    ]
    html = page(tmp_path, frames, doubts)
    assert "as large as &lt;the image&gt;" in html
    assert "2 × zero-area" in html
    assert html.count("data:image/jpeg;base64,") == 3


def test_nothing_is_loaded_and_names_are_escaped(
    tmp_path: Path, frames: list[tuple[LabelledFrame, ImageFacts]]
) -> None:
    """The page works without a network, and a class name is text."""
    html = page(tmp_path, frames, [])
    assert "<script" not in html
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html)
