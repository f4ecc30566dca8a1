"""Image statistics tell a darker, flatter or softer picture from the one before."""

from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.edge.statistics import DeferredStatistics, measure

TEXTURE = np.random.default_rng(0).integers(60, 200, (480, 640, 3), np.uint8)


@given(grey=st.integers(0, 255), width=st.integers(1, 400), height=st.integers(1, 400))
def test_flat_image(grey: int, width: int, height: int) -> None:
    """A flat image of any size has its grey as brightness, no contrast and no sharpness."""
    found = measure(np.full((height, width, 3), grey, np.uint8))
    assert found.brightness == pytest.approx(grey, abs=1)
    assert found.contrast == pytest.approx(0, abs=1e-6)
    assert found.sharpness == pytest.approx(0, abs=1e-6)


def test_less_light_lowers_brightness() -> None:
    """Half the light, half the brightness."""
    assert measure(TEXTURE // 2).brightness == pytest.approx(measure(TEXTURE).brightness / 2, abs=1)


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_blur_lowers_sharpness(sigma: int) -> None:
    """Blur of one pixel of the original already shows."""
    assert measure(cv2.GaussianBlur(TEXTURE, (0, 0), sigma)).sharpness < 0.5 * measure(TEXTURE).sharpness


def test_size_of_the_camera_matters_little() -> None:
    """The same large-scale picture at two resolutions gives about the same numbers."""
    small = cv2.GaussianBlur(TEXTURE, (0, 0), 24)
    large = cv2.resize(small, (1280, 960), interpolation=cv2.INTER_LINEAR)
    assert measure(large).brightness == pytest.approx(measure(small).brightness, rel=0.02)
    assert measure(large).contrast == pytest.approx(measure(small).contrast, rel=0.1)


def test_deferred_numbers_are_the_same() -> None:
    """What the log's thread computes is what the loop would have, and the image is let go."""
    frame = TEXTURE.copy()
    later, image = DeferredStatistics(frame), weakref.ref(frame)
    expected = measure(frame)
    assert later.compute() == expected
    assert (later.brightness, later.contrast, later.sharpness) == tuple(vars(expected).values())
    del frame
    assert image() is None
