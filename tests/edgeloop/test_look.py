"""What inspection sees of a picture besides whether it decodes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.edge.statistics import measure
from edgeloop.formats.images import ImageFacts, inspect_content
from edgeloop.near_duplicates import NEAR, perceptual_hash
from tests.labelled_sets import smooth


def facts(image: np.ndarray, suffix: str = ".jpg") -> ImageFacts:
    found = inspect_content(Path("a" + suffix), cv2.imencode(suffix, image)[1].tobytes())
    assert isinstance(found, ImageFacts)
    return found


@pytest.mark.parametrize("side", [40, 64, 100, 128, 192, 256, 640])
@pytest.mark.parametrize("seed", range(3))
def test_a_reduced_decode_gives_the_hash_of_the_whole_picture(side: int, seed: int) -> None:
    """However far a JPEG of that size is reduced, its hash is near that of all its pixels."""
    image = smooth(seed, side, side)
    whole, reduced = perceptual_hash(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)), facts(image).perceptual_hash
    assert whole is not None
    assert reduced is not None
    assert bin(whole ^ reduced).count("1") <= NEAR // 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_brightness_and_contrast_are_close_to_the_logs(suffix: str) -> None:
    """A frame's file and its inference record tell the same light."""
    image = smooth(5, 640, 640)
    found, logged = facts(image, suffix).look, measure(image)
    assert found is not None
    assert found.brightness == pytest.approx(logged.brightness, abs=3)
    assert found.contrast == pytest.approx(logged.contrast, rel=0.1)


def test_a_blurred_file_is_less_sharp() -> None:
    """Of two files of one picture, the blurred one has the smaller sharpness."""
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    sharp, blurred = facts(image).look, facts(cv2.GaussianBlur(image, (0, 0), 6)).look
    assert sharp is not None
    assert blurred is not None
    assert blurred.sharpness < sharp.sharpness / 2


@pytest.mark.parametrize("mode", ["grey", "alpha", "16-bit", "16-bit grey"])
def test_other_colour_modes_are_looked_at_too(mode: str) -> None:
    """Whatever OpenCV decodes to 8-bit grey has a hash and statistics, those of the same picture in colour."""
    image = smooth(3, 200, 200)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    other = {
        "grey": grey,
        "alpha": cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
        "16-bit": image.astype(np.uint16) * 257,
        "16-bit grey": grey.astype(np.uint16) * 257,
    }[mode]
    found, expected = facts(other, ".png"), facts(image, ".png")
    assert found.perceptual_hash is not None
    assert expected.perceptual_hash is not None
    assert bin(found.perceptual_hash ^ expected.perceptual_hash).count("1") <= 2
