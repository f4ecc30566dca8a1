"""Evaluation of a real ONNX file on real images: what is reported, what is saved, what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.accuracy import Run, score
from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, freeze, load
from edgeloop.boxes import Detections
from edgeloop.card import DeviceProfile, EvaluationCard
from edgeloop.coco import coco_average_precision
from edgeloop.errors import BadInput
from edgeloop.evaluation import evaluate
from edgeloop.frames import Label
from edgeloop.matching import Truths, count_at, match
from edgeloop.predictions import load_predictions, renumber
from tests import scenes
from tests.audits import colour_artifact, write_audit

PROFILE = DeviceProfile(name="cpu", runtimes=("onnxruntime",))
CARD = EvaluationCard()


@pytest.fixture
def frames(tmp_path: Path) -> AuditFrames:
    return load(freeze("clean", write_audit(tmp_path / "audit", 30)))


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return colour_artifact(tmp_path / "model")


def test_bright_squares_are_found_and_dark_ones_missed(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """The report's rates are those that counting pixels gives: bright enough for the threshold, or not."""
    report = evaluate(artifact, frames, PROFILE, tmp_path / "out")
    shown = [_is_bright(frame.frame.image, label) for frame in frames.frames for label in frame.labels]
    assert report.frames == 30
    assert report.missed_per_1000_frames == pytest.approx((len(shown) - sum(shown)) / 30 * 1000)
    assert sum(item.truths for item in report.classes) == len(shown)
    assert report.map50 > 0.8
    assert report.audit_digest == frames.digest


def _is_bright(path: Path, label: Label) -> bool:
    """Whether the mean of the label's colour over its cell reaches 0.4 and is the brightest of the three."""
    x1, y1, x2, y2 = label.box
    column, row = (int(x2) if x1 == 0 else int(x1) + 16) - 12, (int(y2) if y1 == 0 else int(y1) + 16) - 12
    means = cv2.imread(str(path))[row : row + 8, column : column + 8].mean(axis=(0, 1))[::-1] / 255
    return bool(means[label.class_id] >= 0.4 and means.argmax() == label.class_id)


def test_predictions_read_back_as_they_were(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """What was saved gives the same report again, frame by frame, also for frames without detections."""
    report = evaluate(artifact, frames, PROFILE, tmp_path / "out")
    seen = load_predictions(report.predictions, artifact.id, frames)
    assert len(seen) == 30
    assert score(artifact, frames, seen, Run(report.predictions, report.runtime), CARD) == report


def test_predictions_of_other_frames_are_refused(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """Detections belong to one artifact and one content of the set."""
    report = evaluate(artifact, frames, PROFILE, tmp_path / "out")
    with pytest.raises(BadInput, match="expected predictions of"):
        load_predictions(report.predictions, artifact.id, frames.half("score"))
    with pytest.raises(BadInput, match="expected predictions of"):
        load_predictions(report.predictions, "0" * 12, frames)


def test_broken_predictions_are_refused(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """Half a file is one sentence, not a traceback."""
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(BadInput, match="cannot be read as predictions"):
        load_predictions(path, artifact.id, frames)


def test_a_class_without_truth_has_no_score(artifact: Artifact, tmp_path: Path) -> None:
    """None instead of 0, and mAP is over the classes that have a truth."""
    folder = write_audit(tmp_path / "audit", 12)
    for path in (folder / "labels").iterdir():
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("2 ")))
    report = evaluate(artifact, load(freeze("clean", folder)), PROFILE, tmp_path / "out")
    red, green, blue = report.classes
    assert (blue.truths, blue.ap50, blue.ap50_95, blue.recall) == (0, None, None, None)
    assert report.map50 == pytest.approx((red.ap50 + green.ap50) / 2)


def test_classes_are_matched_by_name(artifact: Artifact, tmp_path: Path) -> None:
    """Another order of the names, a class only the set knows and one only the artifact knows."""
    plain = evaluate(artifact, load(freeze("a", write_audit(tmp_path / "a", 12))), PROFILE, tmp_path / "out")
    folder = write_audit(tmp_path / "b", 12, names=("green", "red", "violet"))
    for path in (folder / "labels").iterdir():  # the same boxes: red is 1 here, green 0, what was blue is violet
        swap = {"0": "1", "1": "0", "2": "2"}
        path.write_text("".join(swap[line[0]] + line[1:] for line in path.read_text().splitlines(True)))
    report = evaluate(artifact, load(freeze("b", folder)), PROFILE, tmp_path / "out")
    assert [item.name for item in report.classes] == ["green", "red", "violet", "blue"]
    assert report.classes[1].ap50 == plain.classes[0].ap50
    assert (report.classes[2].ap50, report.classes[2].recall) == (0.0, 0.0)
    assert report.classes[3].truths == 0


def test_no_class_in_common_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    """An audit set of another product judges nothing here."""
    frames = load(freeze("other", write_audit(tmp_path / "audit", 8, names=("cat", "dog", "bird"))))
    with pytest.raises(BadInput, match="knows a class of the audit set other"):
        evaluate(artifact, frames, PROFILE, tmp_path / "out")


def test_a_set_without_labels_is_refused(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """Nothing to judge by is an error, never a score."""
    with pytest.raises(BadInput, match="0 frames and no labelled box"):
        evaluate(artifact, AuditFrames("empty", frames.names, ()), PROFILE, tmp_path / "out")


def test_a_missing_image_is_refused(artifact: Artifact, frames: AuditFrames, tmp_path: Path) -> None:
    """An image that went away after the set was read."""
    frames.frames[0].frame.image.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        evaluate(artifact, frames, PROFILE, tmp_path / "out")


def test_a_detector_that_sees_nothing_scores_zero() -> None:
    """No detection at all is evaluable: 0 for every class with a truth."""
    truths = scenes.frames_of_truths(10)
    precision = coco_average_precision([Detections.empty()] * 10, truths, 5)
    counts = match([Detections.empty()] * 10, truths, 5).truths.sum(axis=0)
    assert np.array_equal(np.isnan(precision[:, 0]), counts == 0)
    assert np.nansum(precision) == 0


def test_renumbering_drops_what_is_not_scored() -> None:
    """Class ids follow the names; a class that is not scored leaves its detections behind."""
    seen = Detections(np.zeros((3, 4), np.float32), np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 2]))
    moved = renumber([seen], ("a", "b", "c"), ("c", "a"))[0]
    assert moved.classes.tolist() == [1, 0]
    assert moved.scores.tolist() == pytest.approx([0.9, 0.7])


def test_rates_count_every_frame() -> None:
    """A frame without anything counts in the thousand."""
    empty = Truths(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    ghost = Detections(np.array([[0, 0, 9, 9]], np.float32), np.array([0.9], np.float32), np.array([0]))
    matches = match([ghost, Detections.empty()], [empty, empty], 1)
    assert count_at(matches, [0.5]).false.sum() / matches.frame_count * 1000 == 500
