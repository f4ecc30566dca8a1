"""Audit sets: frozen by content, halved for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.audit import freeze, half_of, load, pooled_weights
from edgeloop.errors import BadInput
from tests.audits import write_audit, write_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "audit", 40)


def test_a_frozen_set_reads_back(folder: Path) -> None:
    """Names, frames and digest are those that were frozen."""
    audit = freeze("clean", folder)
    frames = load(audit)
    assert (audit.frames, frames.digest, frames.names) == (40, audit.digest, ("red", "green", "blue"))


def test_a_changed_label_is_refused(folder: Path) -> None:
    """A digest covers the labels, not only the images."""
    audit = freeze("clean", folder)
    labels = next(path for path in sorted((folder / "labels").iterdir()) if path.read_text())
    labels.write_text("")
    with pytest.raises(BadInput, match="has changed"):
        load(audit)


def test_a_renamed_class_is_refused(folder: Path) -> None:
    """The same boxes under another name are other labels."""
    audit = freeze("clean", folder)
    (folder / "data.yaml").write_text((folder / "data.yaml").read_text().replace("blue", "teal"))
    with pytest.raises(BadInput, match="has changed"):
        load(audit)


def test_the_digest_does_not_know_file_names(folder: Path, tmp_path: Path) -> None:
    """Equal content in another place and under other names is the same set."""
    twin = tmp_path / "elsewhere"
    for part in ("images", "labels"):
        (twin / part).mkdir(parents=True)
        for path in (folder / part).iterdir():
            (twin / part / f"renamed-{path.name}").write_bytes(path.read_bytes())
    (twin / "data.yaml").write_bytes((folder / "data.yaml").read_bytes())
    assert freeze("clean", twin).digest == freeze("clean", folder).digest


def test_halves_are_disjoint_complete_and_about_equal(folder: Path) -> None:
    """Every frame is on exactly one half."""
    frames = load(freeze("clean", folder))
    tune, score = set(frames.half("tune").ids), set(frames.half("score").ids)
    assert not tune & score
    assert tune | score == set(frames.ids)
    assert 10 <= len(tune) <= 30


def test_a_frame_never_changes_its_half_when_the_set_grows(folder: Path) -> None:
    """The half follows from the frame alone."""
    before = {frame.frame.frame_id: half_of(frame) for frame in load(freeze("clean", folder)).frames}
    for number in range(20):
        cv2.imwrite(str(folder / "images" / f"new_{number}.png"), np.full((64, 64, 3), number, np.uint8))
        (folder / "labels" / f"new_{number}.txt").write_text("")
    after = {frame.frame.frame_id: half_of(frame) for frame in load(freeze("clean", folder)).frames}
    assert len(after) == 60
    assert before.items() <= after.items()


def test_frames_of_a_group_stay_together(folder: Path) -> None:
    """A clip is not tuned on with one frame and scored on with the next."""
    frames = [replace(frame, group="clip-7") for frame in load(freeze("clean", folder)).frames]
    assert len({half_of(frame) for frame in frames}) == 1


class TestWeights:
    def test_they_are_frozen_with_the_set(self, folder: Path, tmp_path: Path) -> None:
        """They read back on either half; another table is another content, one in another unit is not."""
        table = write_weights(tmp_path / "drawn.csv", folder, 9)
        audit = freeze("clean", folder, None, table)
        frames = load(audit)
        assert audit.digest != freeze("clean", folder).digest
        assert sorted(set(frames.weights)) == [1, 9]
        halves = [frames.half("tune"), frames.half("score")]
        assert sorted(weight for half in halves for weight in half.weights) == sorted(frames.weights)
        write_weights(table, folder, 3)
        with pytest.raises(BadInput, match="has changed"):
            load(audit)
        table.write_text(table.read_text().replace(",1\n", ",10\n").replace(",3\n", ",90\n"))
        assert load(audit).half("score").digest == halves[1].digest

    def test_a_frame_without_a_row_is_refused(self, folder: Path, tmp_path: Path) -> None:
        """It would count as 1 among thousands."""
        table = write_weights(tmp_path / "drawn.csv", folder, 9)
        table.write_text("\n".join(table.read_text().splitlines()[:-1]))
        with pytest.raises(BadInput, match="no row"):
            freeze("clean", folder, None, table)

    def test_a_set_counts_as_its_frames_in_any_unit(self, folder: Path, tmp_path: Path) -> None:
        """Pooled, weights of one set do not outweigh another, and a set without weights counts as before."""
        plain = load(freeze("plain", folder)).scored
        assert pooled_weights([plain, plain]) == ()
        heavy = load(freeze("heavy", folder, None, write_weights(tmp_path / "drawn.csv", folder, 1e6))).scored
        pooled = pooled_weights([plain, heavy])
        assert pooled[:40] == (1.0,) * 40
        assert sum(pooled[40:]) == pytest.approx(40)
