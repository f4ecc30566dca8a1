"""Nothing is learned from a frame that judges, nor from a picture like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.dataset import merge
from edgeloop.errors import BadInput
from edgeloop.formats import read
from edgeloop.held_out import HeldOut
from edgeloop.manifest import read_manifest
from tests.training_sets import write_set


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set with two audit frames, a test frame and two train frames."""
    report = read(write_set(tmp_path / "source", train=5, val=0).parent)
    sides = ("audit", "audit", "test", "train", "train")
    merge(tmp_path / "data", [replace(f, split=s) for f, s in zip(report.frames, sides, strict=True)], report.names)
    return tmp_path / "data"


def on(data: Path, side: str) -> list[Path]:
    return [data / row.file for row in read_manifest(data) if row.split == side]


@pytest.mark.parametrize("side", ["audit", "test"])
def test_a_data_set_knows_what_it_judges_by(data: Path, side: str) -> None:
    """Without anything being named, an image that a manifest holds out is refused; train images are not."""
    HeldOut().refuse(on(data, "train"), "trained on")
    with pytest.raises(BadInput, match=r"is the held-out frame [0-9a-f]{16} and would be calibrated on"):
        HeldOut().refuse([*on(data, "train"), *on(data, side)], "calibrated on")


@pytest.mark.parametrize("side", ["audit", "test"])
def test_content_is_known_wherever_it_lies(data: Path, tmp_path: Path, side: str) -> None:
    """A copy of a held-out frame under another name in another folder is refused by its content."""
    copy = tmp_path / "elsewhere.jpg"
    copy.write_bytes(on(data, side)[0].read_bytes())
    with pytest.raises(BadInput, match=r"elsewhere\.jpg is the held-out frame"):
        HeldOut.of(data).refuse([copy], "trained on")
    HeldOut.of(data).refuse(on(data, "train"), "trained on")


def test_audit_sets_elsewhere_count(tmp_path: Path) -> None:
    """A folder that every gate judges by is held out too: its files, and what looks like them."""
    audits = tmp_path / "audits/images"
    audits.mkdir(parents=True)
    cv2.imwrite(str(audits / "a.png"), picture(0))
    other, alike = tmp_path / "other.png", tmp_path / "alike.jpg"
    cv2.imwrite(str(other), picture(1))
    cv2.imwrite(str(alike), picture(0), [cv2.IMWRITE_JPEG_QUALITY, 60])
    held_out = HeldOut.of(None, [tmp_path / "audits"])
    held_out.refuse([other], "trained on")
    with pytest.raises(BadInput, match=r"alike\.jpg looks like the held-out frame"):
        held_out.refuse([other, alike], "trained on")


def test_near_duplicates_from_outside(tmp_path: Path) -> None:
    """An image from outside that looks like an audit frame of the data set is refused."""
    source = tmp_path / "source"
    for part in ("images", "labels"):
        (source / part).mkdir(parents=True)
    cv2.imwrite(str(source / "images/a.png"), picture(3))
    (source / "labels/a.txt").write_text("")
    (source / "classes.txt").write_text("dent\n")
    (one,) = read(source).frames
    merge(tmp_path / "data", [replace(one, split="audit")], ("dent",))
    alike = tmp_path / "alike.jpg"
    cv2.imwrite(str(alike), picture(3), [cv2.IMWRITE_JPEG_QUALITY, 70])
    with pytest.raises(BadInput, match=r"alike\.jpg looks like the held-out frame"):
        HeldOut.of(tmp_path / "data").refuse([alike], "calibrated on")
