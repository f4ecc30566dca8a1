"""Three numbers that tell whether the picture itself has changed: brightness, contrast, sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2

from edgeloop.edge.frame import Image
from edgeloop.formats.images import LOOK_SIDE, Look, look

When = Literal["now", "later", "never"]  # later: by the thread that writes the log


@dataclass(frozen=True)
class ImageStatistics(Look):
    """The look of a frame, measured on a grey image of 128x128 pixels."""

    def compute(self) -> ImageStatistics:
        """Itself: nothing is left to compute."""
        return self


UNMEASURED = ImageStatistics(math.nan, math.nan, math.nan)


class DeferredStatistics:
    """The statistics of a frame, computed when somebody first asks: the log's thread, not the frame loop.

    Until then the image is held, not copied: do not write to it.
    """

    def __init__(self, image: Image) -> None:
        self._held: Image | ImageStatistics = image

    @property
    def brightness(self) -> float:
        return self.compute().brightness

    @property
    def contrast(self) -> float:
        return self.compute().contrast

    @property
    def sharpness(self) -> float:
        return self.compute().sharpness

    def compute(self) -> ImageStatistics:
        """The numbers; the image is let go. Two threads at once compute the same twice."""
        held = self._held
        if not isinstance(held, ImageStatistics):
            self._held = held = measure(held)
        return held


def measure(image: Image) -> ImageStatistics:
    """The statistics of an (H, W, 3) uint8 BGR image.

    Sampling is bilinear without smoothing first: fine texture stays visible as contrast between neighbours, so blur at
    the scale of the original shows, and it costs a thirtieth of averaging a 1080p frame.
    """
    grey = cv2.cvtColor(cv2.resize(image, (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY)
    found = look(grey)
    return ImageStatistics(found.brightness, found.contrast, found.sharpness)
