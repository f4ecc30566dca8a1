"""The detector on a file whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import RUNTIMES, RuntimeName, open_runtime
from edgeloop.edge.statistics import When, measure
from edgeloop.errors import BadInput

Make = Callable[..., Artifact]


def with_square(colour: tuple[int, int, int], x: int, y: int, size: int = 16) -> np.ndarray:
    """A black 128x128 BGR image with one square."""
    image = np.zeros((128, 128, 3), np.uint8)
    image[y : y + size, x : x + size] = colour
    return image


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(("colour", "expected"), [((0, 0, 255), "red"), ((0, 255, 0), "green"), ((255, 0, 0), "blue")])
def test_finds_the_square(
    colour_artifact: Make, name: RuntimeName, colour: tuple[int, int, int], expected: str
) -> None:
    """A BGR square of one colour is one detection of that colour, in pixels of the original image."""
    artifact = colour_artifact(64)
    found = Detector(artifact, open_runtime(artifact.path, name)).detect(with_square(colour, 32, 64)).detections
    assert [artifact.names[index] for index in found.classes] == [expected]
    assert found.scores.tolist() == pytest.approx([1.0])
    assert found.boxes.tolist() == [[24, 56, 56, 88]]  # the 16-pixel cell, twice as large, around its centre


def test_timing_adds_up(colour_artifact: Make) -> None:
    """Three positive parts; the statistics come with the frame's size."""
    artifact = colour_artifact(64)
    result = Detector(artifact, open_runtime(artifact.path, "onnxruntime")).detect(with_square((255, 255, 255), 0, 0))
    parts = result.timing.preprocess, result.timing.inference, result.timing.postprocess
    assert min(parts) > 0
    assert result.timing.total == pytest.approx(sum(parts))
    assert (result.width, result.height) == (128, 128)
    assert 0 < result.statistics.brightness < 255


@pytest.mark.parametrize("name", RUNTIMES)
def test_batch_equals_one_by_one(colour_artifact: Make, name: RuntimeName) -> None:
    """Four images of different sizes in one batch give what they give one at a time."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, 90, 3), np.uint8) for height in (60, 90, 120, 30)]
    open_batch, single = colour_artifact(64, "N"), colour_artifact(64)
    together = Detector(open_batch, open_runtime(open_batch.path, name), batch=4).detect_batch(images)
    alone = Detector(single, open_runtime(single.path, name))
    for image, found in zip(images, together, strict=True):
        expected = alone.detect(image).detections
        assert np.allclose(found.detections.boxes, expected.boxes, atol=1e-3)
        assert np.allclose(found.detections.scores, expected.scores, atol=1e-5)


def test_multi_label_gives_an_anchor_several_classes(colour_artifact: Make) -> None:
    """A yellow square is red and green when evaluating, one of them when predicting."""
    artifact = colour_artifact(64)
    runtime = open_runtime(artifact.path, "onnxruntime")
    image = with_square((0, 255, 255), 32, 32)
    assert sorted(Detector(artifact, runtime, multi_label=True).detect(image).detections.classes) == [0, 1]
    assert len(Detector(artifact, runtime).detect(image).detections) == 1


def test_record_of_another_file_is_refused(colour_artifact: Make) -> None:
    """Input size and number of classes are checked before the first frame."""
    artifact = colour_artifact(64)
    runtime = open_runtime(artifact.path, "onnxruntime")
    with pytest.raises(BadInput, match="says 96 pixels, the file takes 64x64"):
        Detector(artifact.model_copy(update={"imgsz": 96}), runtime)
    with pytest.raises(BadInput, match="does not belong to this file"):
        Detector(artifact.model_copy(update={"names": ("red",)}), runtime)


def test_wrong_number_of_images_is_refused(colour_artifact: Make) -> None:
    """A batch is whole."""
    artifact = colour_artifact(64)
    with pytest.raises(BadInput, match="expected 1 images, came 2"):
        Detector(artifact, open_runtime(artifact.path, "onnxruntime")).detect_batch([with_square((0, 0, 0), 0, 0)] * 2)


@pytest.mark.parametrize("when", ["now", "later"])
def test_statistics_are_of_the_image_whenever_they_are_computed(colour_artifact: Make, when: When) -> None:
    """Measured in the loop or after it, the numbers are the image's."""
    artifact = colour_artifact()
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    detector = Detector(artifact, open_runtime(artifact.path, "onnxruntime"), statistics=when)
    assert detector.detect(image).statistics.compute() == measure(image)


def test_statistics_that_nobody_needs_are_not_made(colour_artifact: Make) -> None:
    """They are NaN then, which no reader takes for a measurement."""
    artifact = colour_artifact()
    detector = Detector(artifact, open_runtime(artifact.path, "onnxruntime"), statistics="never")
    assert np.isnan(detector.detect(np.zeros((8, 8, 3), np.uint8)).statistics.brightness)
