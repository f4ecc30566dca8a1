"""Corruptions: the same bytes every time, worse with severity, labels that stay right; and what the suite states."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.audit import AuditFrames, freeze, load
from edgeloop.card import EvaluationCard, RobustnessSettings
from edgeloop.corruptions import CORRUPTIONS, GEOMETRIC, SEVERITIES, Source, corrupt, move_labels
from edgeloop.edge.runtime import open_runtime
from edgeloop.errors import BadInput
from edgeloop.frames import Frame, Label, LabelledFrame
from edgeloop.measures import RobustnessReport
from edgeloop.robustness import Trial, robustness, subset
from edgeloop.warping import boxes_in_picture, move_boxes, perspective, rotation, warp
from tests.audits import colour_artifact, write_audit

SOURCE = Source(0, "0123456789abcdef", "cam1")
CARD = EvaluationCard(resamples=50)


def picture(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth shapes on a grey gradient with fine grain, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(60, 180, (6, 8, 3)).astype(np.float32), (width, height))
    for _ in range(6):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(coarse, (x, y), int(rng.integers(4, 20)), rng.uniform(20, 230, 3).tolist(), -1)
    return np.clip(coarse + rng.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)


def labelled(boxes: list[tuple[float, float, float, float]], width: int = 160, height: int = 120) -> LabelledFrame:
    frame = Frame("0123456789abcdef", Path("x.png"), width, height, "cam1", datetime(2026, 1, 1, tzinfo=timezone.utc))
    return LabelledFrame(frame, tuple(Label(index % 3, box) for index, box in enumerate(boxes)))


class TestPictures:
    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_the_same_seed_gives_the_same_bytes(self, corruption) -> None:
        """Same frame and seed, same picture; the original stays as it was; size and type do too."""
        image = picture()
        before = image.copy()
        first, second = (corrupt(image, corruption, 3, SOURCE) for _ in range(2))
        assert first.tobytes() == second.tobytes()
        assert (first.shape, first.dtype) == (image.shape, np.uint8)
        assert np.array_equal(image, before)
        assert not np.array_equal(first, image)

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_a_higher_severity_is_further_away(self, corruption) -> None:
        """The mean distance from the original grows with severity, over a few pictures."""
        distances = [
            np.mean([_distance(picture(seed=seed), corruption, severity, seed) for seed in range(4)])
            for severity in SEVERITIES
        ]
        assert distances == sorted(distances)
        assert distances[0] > 0

    @pytest.mark.parametrize("corruption", ["noise", "motion-blur", "rotation", "perspective"])
    def test_frames_differ(self, corruption) -> None:
        """What is random differs between frames and between seeds."""
        image = picture(seed=1)
        other_frame, other_seed = (replace(SOURCE, frame_id="f" * 16), replace(SOURCE, seed=1))
        mine = corrupt(image, corruption, 5, SOURCE)
        several = [corrupt(image, corruption, 5, replace(SOURCE, frame_id=f"{n}" * 16)) for n in range(6)]
        assert any(not np.array_equal(mine, one) for one in several)
        if corruption != "rotation":  # which turns one way or the other
            assert not np.array_equal(mine, corrupt(image, corruption, 5, other_frame))
            assert not np.array_equal(mine, corrupt(image, corruption, 5, other_seed))

    def test_dirt_sticks_to_the_camera(self) -> None:
        """Every frame of a camera is covered at the same place, another camera elsewhere, and dirt only grows."""
        image = picture(seed=2)
        here = [corrupt(image, "dirt", 3, replace(SOURCE, frame_id=one * 16)) for one in "ab"]
        assert np.array_equal(*here)
        assert not np.array_equal(here[0], corrupt(image, "dirt", 3, replace(SOURCE, camera="cam2")))
        white = np.full((100, 100, 3), 255, np.uint8)
        covers = [corrupt(white, "dirt", severity, SOURCE) < 255 for severity in SEVERITIES]
        assert all((less <= more).all() for less, more in pairwise(covers))

    def test_a_grey_camera_stays_grey(self) -> None:
        """The noise of a grey picture has no colour."""
        grey = np.repeat(picture()[:, :, :1], 3, axis=2)
        noisy = corrupt(grey, "noise", 5, SOURCE)
        assert np.array_equal(noisy[:, :, 0], noisy[:, :, 2])

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    @pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300, 3)])
    def test_odd_pictures(self, corruption, shape: tuple[int, ...]) -> None:
        """A single pixel and a strip come out in their own size."""
        assert corrupt(np.full(shape, 90, np.uint8), corruption, 5, SOURCE).shape == shape


def _distance(image: np.ndarray, corruption, severity: int, seed: int) -> float:
    moved = corrupt(image, corruption, severity, replace(SOURCE, frame_id=f"{seed:016x}"))
    return float(np.abs(moved.astype(np.int64) - image).mean())


class TestLabels:
    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    @pytest.mark.parametrize("severity", SEVERITIES)
    def test_boxes_stay_valid(self, corruption, severity: int) -> None:
        """Inside the picture, with area, never more than there were; where nothing moves they are untouched."""
        rng = np.random.default_rng(severity)
        corner, size = rng.uniform(0, 100, (40, 2)), rng.uniform(1, 20, (40, 2))
        boxes = [tuple(row) for row in np.concatenate([corner, corner + size], axis=1).tolist()]
        before = labelled(boxes)
        after = move_labels(before, corruption, severity, SOURCE)
        found = np.array([label.box for label in after.labels])
        assert 0 < len(found) <= 40
        assert (found[:, :2] >= 0).all()
        assert (found[:, 2:] <= [160, 120]).all() or corruption not in GEOMETRIC
        assert (found[:, 2:] > found[:, :2]).all()
        assert {label.class_id for label in after.labels} <= {0, 1, 2}
        assert corruption in GEOMETRIC or after is before

    @pytest.mark.parametrize("corruption", sorted(GEOMETRIC))
    @pytest.mark.parametrize("severity", SEVERITIES)
    def test_boxes_go_where_the_picture_goes(self, corruption, severity: int) -> None:
        """A bright disc is found at its moved label: the box around its pixels is the label's, within a pixel."""
        image = np.zeros((240, 320, 3), np.uint8)
        cv2.circle(image, (200, 90), 30, (255, 255, 255), -1)
        ys, xs = np.nonzero(image[:, :, 0])
        box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        moved = corrupt(image, corruption, severity, SOURCE)
        ys, xs = np.nonzero(moved[:, :, 0] > 127)
        (label,) = move_labels(labelled([box], 320, 240), corruption, severity, SOURCE).labels
        assert label.box == pytest.approx((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), abs=1.5)

    def test_nothing_moves_nowhere(self) -> None:
        """The identity leaves a picture and its boxes, and no box is fine."""
        image, boxes = picture(), np.array([[10, 20, 50, 60]], np.float32)
        assert np.array_equal(warp(image, np.eye(3)), image)
        np.testing.assert_allclose(move_boxes(boxes, np.eye(3)), boxes, atol=1e-4)
        assert boxes_in_picture(boxes[:0], np.eye(3), (160, 120))[0].shape == (0, 4)

    def test_what_leaves_the_picture_is_dropped(self) -> None:
        """A box of which less than a quarter stays is no label any more; the others keep their places."""
        shift = np.array([[1.0, 0, 30], [0, 1, 0], [0, 0, 1]])
        boxes = np.array([[100, 10, 140, 50], [125, 10, 155, 50], [10, 10, 30, 30]], np.float32)
        found, kept = boxes_in_picture(boxes, shift, (160, 120))
        assert kept.tolist() == [0, 2]
        assert found[0].tolist() == pytest.approx([130, 10, 160, 50], abs=0.1)

    def test_turns_go_both_ways(self) -> None:
        """Over frames a camera is knocked to either side."""
        turns = {float(np.sign(rotation((10, 10), 4, np.random.default_rng(seed))[0, 1])) for seed in range(20)}
        assert turns == {-1.0, 1.0}
        assert perspective((10, 10), 0.0, np.random.default_rng(0)) == pytest.approx(np.eye(3))


class TestSuite:
    @pytest.fixture
    def trial(self, tmp_path: Path) -> Trial:
        artifact = colour_artifact(tmp_path / "model")
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 24)))
        return Trial(artifact, open_runtime(artifact.path, "onnxruntime"), frames, tmp_path / "out")

    def test_darkness_blinds_the_detector_of_bright_squares(self, trial: Trial) -> None:
        """Less light loses recall, more with severity; mPC and rPC are the means of what is stated."""
        settings = RobustnessSettings(corruptions=("darker", "jpeg"), severities=(1, 3, 5))
        report = robustness(trial, settings, CARD)
        dark = [one for one in report.conditions if one.corruption == "darker"]
        assert [one.severity for one in dark] == [1, 3, 5]
        assert dark[0].recall.value > dark[2].recall.value
        values = [one.map50_95.value for one in report.conditions]
        assert report.mpc.value == pytest.approx(np.mean(values))
        assert report.rpc.value == pytest.approx(np.mean(values) / report.clean.value)
        assert all(one.mean.low <= one.mean.value <= one.mean.high for one in report.corruptions)
        assert RobustnessReport.load(report.save(trial.out / "r.json")) == report

    def test_it_goes_on_where_it_was_stopped(self, trial: Trial) -> None:
        """What is kept is not detected again: with the pictures gone, the same report comes out."""
        settings = RobustnessSettings(corruptions=("rotation", "noise"), severities=(2,))
        first = robustness(trial, settings, CARD)
        for frame in trial.audit.frames:
            frame.frame.image.unlink()
        assert robustness(trial, settings, CARD) == first
        with pytest.raises(BadInput, match="cannot be read"):
            robustness(trial, settings.model_copy(update={"seed": 1}), CARD)

    def test_a_part_of_the_frames(self, trial: Trial) -> None:
        """At most so many frames, the same ones every time, in their order."""
        part = subset(trial.audit, 10)
        assert part == subset(trial.audit, 10)
        assert len(part.frames) == 10
        assert list(part.ids) == sorted(part.ids)
        assert set(part.ids) < set(subset(trial.audit, 15).ids)
        assert subset(trial.audit, 99) is trial.audit

    def test_a_severity_that_is_none(self) -> None:
        """One sentence, before anything is trained: a card names it."""
        with pytest.raises(BadInput, match=r"robustness\.severities\.0: input should be less than or equal to 5"):
            EvaluationCard.from_document({"robustness": {"severities": [6]}}, "card.yaml")

    def test_nothing_to_judge_by(self, trial: Trial) -> None:
        """A set without labels is refused before anything is detected."""
        with pytest.raises(BadInput, match="no labelled box"):
            robustness(replace(trial, audit=AuditFrames("empty", trial.audit.names, ())), RobustnessSettings(), CARD)
