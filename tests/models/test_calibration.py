"""Calibration covers the training side and bounds its memory; its thresholds are those of the values themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.card import QuantizeCard
from edgeloop.errors import BadInput
from models.calibration import BINS, CalibrationFrame, Reach, choose_frames, measure_means, measure_reach, read_inputs
from tests.detectors import SIDE, float_detector

MINMAX = QuantizeCard(calibration="minmax")


def frame(
    name: str, camera: str = "cam1", classes: tuple[int, ...] = (0,), brightness: float = 100
) -> CalibrationFrame:
    return CalibrationFrame(Path(name), camera, frozenset(classes), brightness)


@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50), min_size=1, max_size=6))
def test_minmax_is_the_largest_magnitude(parts: list[list[float]]) -> None:
    """Fed in any pieces, the histogram knows the exact largest magnitude and has counted every value once."""
    reach = Reach()
    for part in parts:
        reach.add(np.array(part, np.float32))
    values = np.abs(np.concatenate([np.array(part, np.float32) for part in parts]))
    assert reach.maximum == values.max()
    assert reach.counts.sum() == len(values)
    assert reach.threshold(MINMAX) == (values.max() or 1.0)


@given(st.integers(0, 50), st.floats(90, 99.99), st.floats(1e-3, 1e3))
def test_percentile_is_within_a_bin(seed: int, percentile: float, spread: float) -> None:
    """The percentile of the histogram is numpy's, at most two bins above it and never below by more."""
    values = np.random.default_rng(seed).normal(0, spread, 5000).astype(np.float32)
    reach = Reach()
    for part in np.array_split(values, 7):
        reach.add(part)
    found = reach.threshold(QuantizeCard(calibration="percentile", percentile=percentile))
    truth = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
    assert abs(found - truth) <= 2 * reach.limit / BINS


def test_order_of_frames_does_not_matter() -> None:
    """The same values in another order give the same histogram, whatever width it started with."""
    parts = [np.full(10, 10.0**power, np.float32) for power in range(-3, 4)]
    forward, backward = Reach(), Reach()
    for part in parts:
        forward.add(part)
    for part in parts[::-1]:
        backward.add(part)
    assert forward.limit == backward.limit
    np.testing.assert_array_equal(forward.counts, backward.counts)


def test_means_are_those_of_all_values_before_and_after_int8() -> None:
    """Fed frame by frame, the means are those over all frames and pixels, plain and as int8 has them."""
    values = np.random.default_rng(0).normal(0, 1, (6, 3, SIDE, SIDE)).astype(np.float32)
    model = float_detector().SerializeToString()
    means = measure_means(model, {"images": 0.02}, (frame[None] for frame in values))["images"]
    stored = np.clip(np.rint(values / np.float32(0.02)), -128, 127) * 0.02
    np.testing.assert_allclose(means.plain, values.mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(means.stored, stored.mean(axis=(0, 2, 3)), atol=1e-6)


def test_entropy_clips_a_lonely_outlier() -> None:
    """One value at a hundred times the spread of the rest does not set the scale; without it hardly anything is cut."""
    values = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
    entropy = QuantizeCard(calibration="entropy")
    plain, outlier = Reach(), Reach()
    plain.add(values)
    outlier.add(np.append(values, np.float32(100)))
    assert outlier.threshold(MINMAX) == 100
    assert 3 < outlier.threshold(entropy) < 15
    assert 3 < plain.threshold(entropy) <= plain.maximum


def test_always_zero_has_a_usable_scale() -> None:
    """A tensor that is always 0 gets a threshold above 0 by every method, so that its scale is one."""
    for method in ("minmax", "percentile", "entropy"):
        reach = Reach()
        reach.add(np.zeros(100, np.float32))
        assert reach.threshold(QuantizeCard(calibration=method)) == 1


def test_rare_classes_and_cameras_are_covered() -> None:
    """Frames of a rare class, a second camera, backgrounds and the dark are all among a few chosen from many."""
    common = [frame(f"{index}.jpg", brightness=100 + index % 7) for index in range(500)]
    rare = [frame("rare.jpg", classes=(3,)), frame("other.jpg", camera="cam2"), frame("empty.jpg", classes=())]
    dark = [frame(f"dark{index}.jpg", brightness=10) for index in range(20)]
    chosen = {path.name for path in choose_frames([*common, *rare, *dark], 30)}
    assert len(chosen) == 30
    assert {"rare.jpg", "other.jpg", "empty.jpg"} <= chosen
    assert any(name.startswith("dark") for name in chosen)


def test_choice_ignores_the_order_of_the_files() -> None:
    """The choice follows from the frames and the seed, not from the order in which a file system lists them."""
    frames = [frame(f"{index}.jpg", classes=(index % 5,), brightness=index) for index in range(60)]
    assert choose_frames(frames, 20) == choose_frames(frames[::-1], 20)
    assert choose_frames(frames, 20, seed=0) != choose_frames(frames, 20, seed=1)
    assert sorted(choose_frames(frames, 100)) == sorted(item.image for item in frames)


def test_reach_of_the_input_is_the_inputs() -> None:
    """The reach that a run records for a tensor is that of its values, here of the model's own input."""
    arrays = [np.full((1, 3, SIDE, SIDE), value, np.float32) for value in (0.1, 0.7)]
    reach = measure_reach(float_detector().SerializeToString(), ["images"], arrays)
    assert reach["images"].maximum == np.float32(0.7)
    assert reach["images"].counts.sum() == 2 * 3 * SIDE * SIDE


def test_activations_that_are_not_finite_are_refused() -> None:
    """A model that overflows is refused with the tensor's name instead of getting an endless scale."""
    array = np.full((1, 3, SIDE, SIDE), np.inf, np.float32)
    with pytest.raises(BadInput, match="images"):
        measure_reach(float_detector().SerializeToString(), ["images"], [array])


def test_calibration_sees_what_the_device_sees(tmp_path: Path) -> None:
    """A calibration input is the device's own: letterboxed with grey, RGB, 0..1."""
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), np.full((16, 32, 3), (255, 0, 0), np.uint8))  # blue, twice as wide as high
    (array,) = (item.copy() for item in read_inputs([path], SIDE))
    assert array.shape == (1, 3, SIDE, SIDE)
    np.testing.assert_allclose(array[0, :, 0, 0], 114 / 255)
    np.testing.assert_allclose(array[0, :, SIDE // 2, SIDE // 2], [0, 0, 1])
