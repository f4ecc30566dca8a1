"""The frame path: letterbox, BGR to RGB, 0..255 to 0..1 and HWC to CHW into one buffer that is allocated once.

A file that takes uint8 has all but the letterbox in its graph, so its buffer gets the resized bytes and nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.artifact import InputKind
from edgeloop.boxes import Floats
from edgeloop.errors import BadInput
from edgeloop.formats.images import MAXIMUM_PIXELS, header_size

Image = npt.NDArray[np.uint8]

GREY = 114  # what Ultralytics' LetterBox pads with
PADDING = np.float32(GREY / 255)
TO_UNIT = np.float32(1 / 255)


@dataclass(frozen=True)
class Geometry:
    """How one image lies in the square input; rounding as in Ultralytics' LetterBox(auto=False, center=True).

    Attributes:
        width, height: of the original image, pixels.
        resized_width, resized_height: of the image inside the square, pixels.
        left, top: padding before it, pixels.
    """

    width: int
    height: int
    resized_width: int
    resized_height: int
    left: int
    top: int

    @classmethod
    def of(cls, width: int, height: int, side: int) -> Geometry:
        """The geometry of a `width` x `height` image in a square of `side` pixels."""
        gain = min(side / height, side / width)
        resized_width, resized_height = max(round(width * gain), 1), max(round(height * gain), 1)
        left, top = round((side - resized_width) / 2 - 0.1), round((side - resized_height) / 2 - 0.1)
        return cls(width, height, resized_width, resized_height, left, top)

    def to_original(self, boxes: Floats) -> Floats:
        """xyxy boxes (N, 4) in pixels of the square to pixels of the original image, clipped to it."""
        moved: Floats = np.clip((boxes - self._padding) / self._gain, 0, self._limits)
        return moved

    # A camera's geometry never changes: these are made once, not for every frame.
    @cached_property
    def _padding(self) -> Floats:
        return np.array([self.left, self.top] * 2, np.float32)

    @cached_property
    def _gain(self) -> Floats:
        return np.array([self.resized_width / self.width, self.resized_height / self.height] * 2, np.float32)

    @cached_property
    def _limits(self) -> Floats:
        return np.array([self.width, self.height] * 2, np.float32)


class FrameBuffer:
    """The model's input, filled in place frame by frame.

    A buffer belongs to one loop: the array that `fill` writes is the one that the runtime reads.

    Attributes:
        side: of the square input, pixels.
        array: C-contiguous, for the input "float32-nchw" (batch, 3, side, side) float32, RGB in 0..1; for "uint8-nhwc"
            (batch, side, side, 3) uint8, BGR.
    """

    def __init__(self, side: int, batch: int = 1, kind: InputKind = "float32-nchw") -> None:
        self.side = side
        self.kind = kind
        self.array: Floats | Image = (
            np.full((batch, side, side, 3), GREY, np.uint8)
            if kind == "uint8-nhwc"
            else np.full((batch, 3, side, side), PADDING, np.float32)
        )
        self._slots: list[_FloatSlot | _ByteSlot | None] = [None] * batch

    def fill(self, image: npt.NDArray[Any], slot: int = 0) -> Geometry:
        """Write one image into a slot of the batch.

        Args:
            image: (H, W, 3) uint8 BGR; grey, alpha and 16-bit images are converted.
            slot: index in the batch.

        Raises:
            BadInput: not an image, empty, or more than 100 megapixels.
        """
        bgr = as_bgr(image)
        state = self._slots[slot]
        if state is None or (state.geometry.height, state.geometry.width) != bgr.shape[:2]:
            state = self._slots[slot] = self._prepare(bgr.shape[1], bgr.shape[0], slot)
        state.write(bgr)
        return state.geometry

    def _prepare(self, width: int, height: int, slot: int) -> _FloatSlot | _ByteSlot:
        """Padding and scratch buffers depend on the image size alone, which a camera does not change."""
        geometry = Geometry.of(width, height, self.side)
        rows = slice(geometry.top, geometry.top + geometry.resized_height)
        columns = slice(geometry.left, geometry.left + geometry.resized_width)
        if self.kind == "uint8-nhwc":
            self.array[slot] = GREY
            return _ByteSlot(geometry, self.array[slot, rows, columns])
        self.array[slot] = PADDING
        return _FloatSlot(geometry, self.array[slot, :, rows, columns])


class _FloatSlot:
    """The scratch buffers of one image size and the window of the model's input that the image fills."""

    def __init__(self, geometry: Geometry, window: npt.NDArray[Any]) -> None:
        shape = (geometry.resized_height, geometry.resized_width)
        self.geometry = geometry
        self._window = window
        self._size = shape[::-1]
        self._resized = np.empty((*shape, 3), np.uint8)
        self._planes = np.empty((3, *shape), np.uint8)  # RGB
        self._bgr_planes = list(self._planes[::-1])

    def write(self, bgr: Image) -> None:
        # Splitting bytes and then widening them plane by plane took 0.45 ms at 640 where blobFromImage took 1.1 ms.
        if (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = cv2.resize(bgr, self._size, dst=self._resized, interpolation=cv2.INTER_LINEAR)
        cv2.split(bgr, self._bgr_planes)
        np.multiply(self._planes, TO_UNIT, out=self._window)


class _ByteSlot:
    """The window of the model's input that an image of one size fills; OpenCV resizes right into it."""

    def __init__(self, geometry: Geometry, window: npt.NDArray[Any]) -> None:
        self.geometry = geometry
        self._window = window
        self._size = (geometry.resized_width, geometry.resized_height)

    def write(self, bgr: Image) -> None:
        if (bgr.shape[1], bgr.shape[0]) == self._size:
            np.copyto(self._window, bgr)
        else:
            cv2.resize(bgr, self._size, dst=self._window, interpolation=cv2.INTER_LINEAR)


def as_bgr(image: npt.NDArray[Any]) -> Image:
    """The image as (H, W, 3) uint8 BGR; returned as it is when it already is that.

    Grey (H, W) or (H, W, 1) is repeated, alpha (H, W, 4) is dropped, uint16 loses its low byte as in OpenCV's reader.

    Raises:
        BadInput: another shape or type, no pixels, or more than 100 megapixels.
    """
    shape: tuple[int, ...] = image.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise BadInput(f"expected an image of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), came {shape}.")
    if shape[0] == 0 or shape[1] == 0:
        raise BadInput(f"expected an image with pixels, came {shape[1]}x{shape[0]}; check the camera or the file.")
    if shape[0] * shape[1] > MAXIMUM_PIXELS:
        raise BadInput(_too_large(shape[1], shape[0]))
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise BadInput(
            f"expected 8-bit or 16-bit unsigned pixels, came {image.dtype}; convert to uint8 in 0..255 first."
        )
    if len(shape) == 3 and shape[2] == 3:
        return image
    to_bgr = cv2.COLOR_BGRA2BGR if len(shape) == 3 and shape[2] == 4 else cv2.COLOR_GRAY2BGR
    converted: Image = cv2.cvtColor(np.ascontiguousarray(image), to_bgr)
    return converted


def decode_image(content: bytes, name: str) -> Image:
    """The image in a file's bytes, (H, W, 3) uint8 BGR, turned as its EXIF says; `name` is for the error.

    Raises:
        BadInput: not an image that OpenCV reads, cut short, or more than 100 megapixels (nothing is decoded then).
    """
    size = header_size(content)
    if size is not None and size[0] * size[1] > MAXIMUM_PIXELS:
        raise BadInput(f"{name}: {_too_large(*size)}")
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if decoded is None:
        raise BadInput(f"{name} is not an image that can be read ({len(content)} bytes); replace or remove the file.")
    image: Image = decoded
    return image


def _too_large(width: int, height: int) -> str:
    return f"expected at most {MAXIMUM_PIXELS:,} pixels, came {width}x{height}; scale it down first."
