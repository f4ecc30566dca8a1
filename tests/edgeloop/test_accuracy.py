"""What an evaluation states beyond mAP: sizes, weights, rates and calibration, against other ways to compute them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeloop.accuracy import Run, score
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, freeze, load
from edgeloop.bootstrap import average_precision, mean_over_classes
from edgeloop.boxes import Detections
from edgeloop.calibration_error import BINS, FLOOR, calibration, class_errors, relative_boxes
from edgeloop.card import EvaluationCard
from edgeloop.coco import AREAS, coco_by_area
from edgeloop.errors import BadInput
from edgeloop.matching import Matches, Truths, match, rank
from edgeloop.measures import EvaluationReport
from edgeloop.prevalence import weighted
from edgeloop.rates import totals
from edgeloop.sizes import RANGES, match_by_size
from tests import scenes
from tests.audits import colour_artifact, write_audit

CLASSES = len(scenes.SHARES)
LIMITS = range(10)
RUN = Run(Path("p.parquet"), "onnxruntime")


def varied(frames: int, seed: int = 0, largest: float = 160.0) -> tuple[list[Detections], list[Truths]]:
    """Boxes of 5 to `largest` pixels, so that all of COCO's sizes occur, and a detector that is often a little off."""
    rng = np.random.default_rng(seed)
    truths, seen = [], []
    for _ in range(frames):
        count = int(rng.integers(0, 6))
        corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(5, largest, (count, 2))
        boxes = np.concatenate([corner, corner + size], axis=1)
        classes = rng.integers(0, CLASSES, count)
        truths.append(Truths(boxes.astype(np.float32), classes))
        near = np.repeat(boxes, 2, axis=0)
        near = near + rng.normal(0, 0.1, near.shape) * np.tile(near[:, 2:] - near[:, :2], 2)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        ghosts = rng.uniform(0, 200, (5, 2))
        ghosts = np.concatenate([ghosts, ghosts + rng.uniform(5, largest, (5, 2))], axis=1)
        scores = rng.random(len(near) + 5).astype(np.float32)
        kinds = np.concatenate([np.repeat(classes, 2), rng.integers(0, CLASSES, 5)])
        both = Detections(np.concatenate([near, ghosts]).astype(np.float32), scores, kinds)
        seen.append(both.select(np.argsort(-scores, kind="stable")))
    return seen, truths


class TestSizes:
    @pytest.mark.parametrize("seed", range(3))
    def test_pixels_are_those_of_coco(self, seed: int) -> None:
        """Average precision of small, medium and large boxes is what faster-coco-eval computes."""
        seen, truths = varied(40, seed)
        expected = coco_by_area(seen, truths, CLASSES)
        found = match_by_size(seen, truths, [300 * 300] * 40, CLASSES)
        ones = np.ones((1, 40), np.int64)
        for one in (one for one in RANGES if one.scale == "pixels"):
            ours = average_precision(found[one], ones, LIMITS)[0]
            np.testing.assert_allclose(ours, expected[AREAS.index(one.name)], rtol=0, atol=1e-12)

    def test_shares_do_not_know_pixels(self) -> None:
        """Frames and boxes of three times the size have the same sizes by share."""
        seen, truths = varied(30)
        larger = [Detections(one.boxes * 3, one.scores, one.classes) for one in seen]
        labels = [Truths(one.boxes * 3, one.classes) for one in truths]
        small, big = (
            match_by_size(detections, boxes, [area] * 30, CLASSES)
            for detections, boxes, area in ((seen, truths, 250_000), (larger, labels, 2_250_000))
        )
        for one in (one for one in RANGES if one.scale == "share"):
            assert np.array_equal(small[one].truths, big[one].truths)
            assert np.array_equal(small[one].hits, big[one].hits)

    def test_every_box_has_a_size(self) -> None:
        """The ranges of a scale together hold each label once."""
        seen, truths = varied(30)
        found = match_by_size(seen, truths, [307_200] * 30, CLASSES)
        everything = match(seen, truths, CLASSES).truths
        for scale in ("pixels", "share"):
            assert np.array_equal(sum(found[one].truths for one in RANGES if one.scale == scale), everything)

    def test_frames_without_anything(self) -> None:
        """No frame, no label and no detection are fine."""
        assert match_by_size([], [], [], CLASSES)[RANGES[0]].frame_count == 0
        nothing = Truths(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        found = match_by_size([Detections.empty()], [nothing], [100], CLASSES)[RANGES[0]]
        assert np.isnan(average_precision(found, np.ones((1, 1), np.int64))).all()


class TestWeights:
    def test_a_weight_is_that_many_frames(self) -> None:
        """Weights of 1, 2 and 3 give what a set gives that holds the frames once, twice and thrice."""
        seen, truths = varied(25)
        weights = np.random.default_rng(1).integers(1, 4, 25)
        again = np.repeat(np.arange(25), weights)
        repeated = match([seen[i] for i in again], [truths[i] for i in again], CLASSES)
        once = match(seen, truths, CLASSES)
        whole = average_precision(repeated, np.ones((1, len(again)), np.int64), LIMITS)
        for rows in (weights[None], weights[None].astype(np.float64), weights[None] * 0.37):
            np.testing.assert_allclose(average_precision(once, rows, LIMITS), whole, rtol=0, atol=1e-9)
        thresholds = [0.4] * CLASSES
        expected = totals(repeated, thresholds, np.ones((1, len(again)), np.int64))
        found = totals(once, thresholds, weights[None] * 0.37)
        for name in ("recall", "precision", "false_per_1000", "missed_per_1000"):
            np.testing.assert_allclose(getattr(found, name)(), getattr(expected, name)())

    def test_weights_below_one_reach_full_recall(self) -> None:
        """A detector that finds everything has an average precision of 1, however small the weights are."""
        truths = scenes.frames_of_truths(20)
        perfect = [Detections(one.boxes, np.full(len(one.classes), 0.9, np.float32), one.classes) for one in truths]
        weights = np.random.default_rng(0).uniform(0.001, 0.01, (3, 20))
        found = average_precision(match(perfect, truths, CLASSES), weights, LIMITS)
        np.testing.assert_allclose(mean_over_classes(found.mean(axis=2)), 1.0)

    def test_oversampled_frames_weigh_what_they_occur(self, tmp_path: Path) -> None:
        """A stratum that was drawn ten times too often counts a tenth, and the rates are production's again."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        rows = [f"{one.frame.frame_id},{'rare' if index < 20 else 'rest'}" for index, one in enumerate(frames.frames)]
        populations = {"rare": 20, "rest": 980}
        lines = [f"{row},{populations[row.rpartition(',')[2]]}" for row in rows]
        table = tmp_path / "w.csv"
        table.write_text("\n".join(["frame,stratum,population", *lines]))
        found = weighted(frames, table)
        assert found.weights == (1.0,) * 20 + (98.0,) * 10
        assert found.at([0, 29]).weights == (1.0, 98.0)
        assert len(found.half("score").weights) == len(found.half("score").frames)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("name,weight\na,1", "columns frame,weight"),
            ("", "came nothing"),
            ("frame,weight\nsomething,1", "no row for"),
            ("frame,weight\n{all}0", "positive weight"),
            ("frame,weight\n{all}many", "positive weight"),
        ],
    )
    def test_tables_that_do_not_fit_are_refused(self, text: str, reason: str, tmp_path: Path) -> None:
        """One sentence that names the table."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 3)))
        if "{all}" in text:
            head, value = text.split("{all}")
            text = head + "\n".join(f"{one},{value}" for one in frames.ids)
        table = tmp_path / "w.csv"
        table.write_text(text)
        with pytest.raises(BadInput, match=reason):
            weighted(frames, table)


class TestReport:
    @pytest.fixture
    def artifact(self, tmp_path: Path) -> Artifact:
        return colour_artifact(tmp_path / "model")

    def report(
        self, artifact: Artifact, frames: AuditFrames, weights: tuple[float, ...] = (), **card: object
    ) -> EvaluationReport:
        seen = [Detections(one.boxes, np.full(len(one.classes), 0.9, np.float32), one.classes) for one in
                frames.truths(artifact.names)]  # fmt: skip
        seen = [one if index % 3 else Detections.empty() for index, one in enumerate(seen)]  # every third is missed
        audit = replace(frames, weights=weights)
        return score(artifact, audit, seen, RUN, EvaluationCard.from_document({"resamples": 50, **card}, "test"))

    def test_intervals_hold_their_values(self, artifact: Artifact, tmp_path: Path) -> None:
        """Every stated number of the whole set and of each class has an interval around it."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        report = self.report(artifact, frames, critical=("blue", "green"))
        assert set(report.intervals) == {
            "map50", "map50_95", "false_positives_per_1000_frames", "missed_per_1000_frames", "critical_miss_rate",
        }  # fmt: skip
        for name, interval in report.intervals.items():
            assert interval.value == pytest.approx(getattr(report, name))
            assert interval.low <= interval.value <= interval.high
        assert report.classes[0].intervals["recall"].value == report.classes[0].recall
        assert self.report(artifact, frames, resamples=0).intervals == {}

    def test_critical_misses_are_those_of_the_named_classes(self, artifact: Artifact, tmp_path: Path) -> None:
        """The miss rate over the boxes of the critical classes alone; a name that nobody knows is refused."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        report = self.report(artifact, frames, critical=("green",))
        green = report.classes[1]
        assert report.critical_miss_rate == pytest.approx(1 - green.recall)
        with pytest.raises(BadInput, match="violet, which neither"):
            self.report(artifact, frames, critical=("violet",))

    def test_weights_of_one_change_nothing(self, artifact: Artifact, tmp_path: Path) -> None:
        """Equal weights of any size give the plain report, up to rounding, and as many effective frames."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        plain, same = self.report(artifact, frames), self.report(artifact, frames, (0.3,) * 30)
        assert same.effective_frames == pytest.approx(30)
        assert plain.effective_frames is None
        assert same.map50_95 == pytest.approx(plain.map50_95, abs=1e-9)
        assert same.missed_per_1000_frames == pytest.approx(plain.missed_per_1000_frames)
        assert same.intervals["map50"].low == pytest.approx(plain.intervals["map50"].low, abs=1e-9)

    def test_cameras_are_sets_of_their_own(self, artifact: Artifact, tmp_path: Path) -> None:
        """A camera's numbers are those of its frames alone; one camera is the whole set and no part of it."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        assert self.report(artifact, frames).cameras == ()
        two = replace(
            frames,
            frames=tuple(
                replace(one, frame=replace(one.frame, camera=f"cam{index % 3 == 0}"))
                for index, one in enumerate(frames.frames)
            ),
        )
        blind, seeing = sorted(self.report(artifact, two).cameras, key=lambda one: one.recall.value)
        assert (blind.recall.value, seeing.recall.value, seeing.map50.value) == (0.0, 1.0, 1.0)
        assert (blind.frames, seeing.frames) == (10, 20)
        assert blind.truths + seeing.truths == frames.boxes

    def test_a_detector_that_sees_nothing(self, artifact: Artifact, tmp_path: Path) -> None:
        """Everything is missed, nothing is falsely shown, and there is no confidence to judge."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 9)))
        report = score(artifact, frames, [Detections.empty()] * 9, RUN, EvaluationCard(resamples=20))
        assert (report.map50, report.false_positives_per_1000_frames, report.calibration) == (0.0, 0.0, None)
        assert report.missed_per_1000_frames == pytest.approx(1000 * frames.boxes / 9)

    def test_old_reports_load(self, artifact: Artifact, tmp_path: Path) -> None:
        """A report that was stored before there were intervals is still a report."""
        frames = load(freeze("clean", write_audit(tmp_path / "audit", 30)))
        new = self.report(artifact, frames)
        document = new.model_dump(mode="json")
        later = ("intervals", "cameras", "sizes", "critical", "critical_miss_rate", "calibration", "effective_frames")
        for name in (*later, "resamples"):
            document.pop(name)
        assert EvaluationReport.from_document(document, "old").map50 == new.map50
        assert EvaluationReport.load(new.save(tmp_path / "r.json")) == new


def claimed(count: int, seed: int, right: float = 1.0) -> tuple[Matches, np.ndarray]:
    """One detection a frame; it is right as often as it claims times `right`. Boxes anywhere."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.uniform(0.1, 1, count).astype(np.float32))[::-1]
    hits = np.repeat((rng.random(count) < scores * right)[:, None], 10, axis=1)
    boxes = rng.uniform(0.2, 0.8, (count, 4)).astype(np.float32)
    frames = np.arange(count)
    return Matches(frames, np.zeros(count, np.int64), scores, hits, np.ones((count, 1), np.int64)), boxes


class TestCalibration:
    def test_it_is_the_sum_over_bins(self) -> None:
        """The value is what the definition gives, bin by bin in plain Python."""
        matches, boxes = claimed(400, 0, right=0.7)
        found = calibration(matches, boxes, np.ones((1, 400), np.int64), 0.95)
        expected = 0.0
        for index in range(BINS):
            rows = [row for row in range(400) if min(int(float(matches.scores[row]) * BINS), BINS - 1) == index]
            if rows:
                claim = sum(float(matches.scores[row]) for row in rows) / len(rows)
                right = sum(bool(matches.hits[row, 0]) for row in rows) / len(rows)
                expected += len(rows) / 400 * abs(right - claim)
        assert found.error.value == pytest.approx(expected)
        assert found.detections == sum(one.detections for one in found.bins) == 400
        assert class_errors(matches, np.ones((1, 400), np.int64)) == [pytest.approx(expected)]

    def test_a_perfect_detector_shows_what_chance_gives(self) -> None:
        """Over many calibrated detectors the mean error is `by_chance`, with and without the box."""
        ones = np.ones((1, 4000), np.int64)
        found = [calibration(*claimed(4000, seed), ones, 0.95) for seed in range(20)]
        assert np.mean([one.error.value for one in found]) == pytest.approx(found[0].by_chance, rel=0.15)
        for index in range(3):
            grid = [one.conditional[index] for one in found]
            assert np.mean([one.error for one in grid]) == pytest.approx(grid[0].by_chance, rel=0.15)

    def test_an_overconfident_detector_is_told(self) -> None:
        """Right half as often as claimed: an error near half of the mean confidence, far above chance."""
        matches, boxes = claimed(2000, 3, right=0.5)
        found = calibration(matches, boxes, np.ones((1, 2000), np.int64), 0.95)
        assert found.error.value == pytest.approx(matches.scores.mean() / 2, abs=0.03)
        assert found.by_chance < 0.2 * found.error.value

    def test_only_where_the_box_is_tells_this_one(self) -> None:
        """Too sure on the left and too modest on the right: fine by confidence alone, wrong by position."""
        rng = np.random.default_rng(5)
        boxes = rng.uniform(0.2, 0.8, (4000, 4)).astype(np.float32)
        boxes[:, 0] = rng.uniform(0, 1, 4000)
        scores = np.full(4000, 0.5, np.float32)
        hits = np.repeat((rng.random(4000) < np.where(boxes[:, 0] < 0.5, 0.2, 0.8))[:, None], 10, axis=1)
        plain = np.zeros(4000, np.int64)
        matches = Matches(np.arange(4000), plain, scores, hits, np.ones((4000, 1), np.int64))
        found = calibration(matches, boxes, np.ones((1, 4000), np.int64), 0.95)
        position = next(one for one in found.conditional if one.given == "position")
        assert found.error.value < 0.05
        assert position.error == pytest.approx(0.3, abs=0.06)

    def test_what_no_device_logs_is_left_out(self) -> None:
        """Scores below the floor hide nothing; without any above it there is no calibration."""
        matches, boxes = claimed(100, 0)
        low = replace(matches, scores=np.full(100, FLOOR / 2, np.float32))
        assert calibration(low, boxes, np.ones((1, 100), np.int64), 0.95) is None
        assert class_errors(low, np.ones((1, 100), np.int64)) == [None]

    def test_boxes_follow_their_detections(self) -> None:
        """Boxes in the order of the matches, as shares of their frames."""
        seen, truths = varied(10)
        matches, boxes = match(seen, truths, CLASSES), rank(seen).detections.boxes
        for row in range(0, len(boxes), 7):
            frame = seen[matches.frames[row]]
            here = np.flatnonzero(frame.scores == matches.scores[row])
            assert boxes[row].tolist() in frame.boxes[here].tolist()
        relative = relative_boxes(boxes, matches.frames, [(400, 200)] * 10)
        assert relative[0].tolist() == pytest.approx(
            [boxes[0, [0, 2]].mean() / 400, boxes[0, [1, 3]].mean() / 200, (boxes[0, 2] - boxes[0, 0]) / 400,
             (boxes[0, 3] - boxes[0, 1]) / 200], abs=1e-5,
        )  # fmt: skip
