"""The frame path: geometry, pixels, and images that are none."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.edge.frame import FrameBuffer, Geometry, as_bgr, decode_image
from edgeloop.errors import BadInput

sides = st.integers(1, 5000)
squares = st.sampled_from([32, 64, 192, 320, 640])


def naive_letterbox(image: np.ndarray, side: int) -> np.ndarray:
    """What Ultralytics' LetterBox(auto=False, center=True) and predict's preprocessing do, step by step."""
    height, width = image.shape[:2]
    gain = min(side / height, side / width)
    size = max(round(width * gain), 1), max(round(height * gain), 1)
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    extra_x, extra_y = (side - size[0]) / 2, (side - size[1]) / 2
    top, bottom = round(extra_y - 0.1), round(extra_y + 0.1)
    left, right = round(extra_x - 0.1), round(extra_x + 0.1)
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return padded[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255


@given(width=sides, height=sides, side=squares)
def test_image_lies_inside_the_square(width: int, height: int, side: int) -> None:
    """The resized image fits, touches two opposite edges and is centred to within a pixel."""
    geometry = Geometry.of(width, height, side)
    right = side - geometry.left - geometry.resized_width
    bottom = side - geometry.top - geometry.resized_height
    assert min(geometry.left, geometry.top, right, bottom) >= 0
    assert max(geometry.resized_width, geometry.resized_height) == side
    assert abs(right - geometry.left) <= 1
    assert abs(bottom - geometry.top) <= 1


@given(width=sides, height=sides, side=squares, corners=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_boxes_come_back_from_the_square(width: int, height: int, side: int, corners: list[float]) -> None:
    """A box that was scaled and moved as the image was comes back as it was, to float32 accuracy."""
    geometry = Geometry.of(width, height, side)
    box = np.array([corners], np.float32) * np.array([width, height, width, height], np.float32)
    gain = np.array([geometry.resized_width / width, geometry.resized_height / height] * 2, np.float32)
    back = geometry.to_original(box * gain + np.array([geometry.left, geometry.top] * 2, np.float32))
    assert np.allclose(back, box, atol=2e-3 * max(1, max(width, height) / side))


@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.sampled_from([32, 64, 96]))
def test_pixels_equal_the_naive_letterbox(width: int, height: int, side: int) -> None:
    """One pass into the buffer gives what resize, border, flip, transpose and divide give one after another."""
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    buffer = FrameBuffer(side)
    buffer.fill(image)
    assert np.allclose(buffer.array[0], naive_letterbox(image, side), atol=1e-6)


def test_next_frame_leaves_nothing_of_the_last() -> None:
    """A buffer that held a wide image and then a tall one equals a fresh buffer with the tall one."""
    rng = np.random.default_rng(0)
    wide, tall = rng.integers(0, 256, (40, 100, 3), np.uint8), rng.integers(0, 256, (100, 40, 3), np.uint8)
    used, fresh = FrameBuffer(64), FrameBuffer(64)
    used.fill(wide)
    used.fill(tall)
    fresh.fill(tall)
    assert np.array_equal(used.array, fresh.array)


def test_frames_are_written_in_place() -> None:
    """The array that the runtime reads is the same memory for every frame, and contiguous."""
    buffer = FrameBuffer(64, batch=2)
    address = buffer.array.ctypes.data
    for size in ((64, 64), (10, 90), (64, 64)):
        buffer.fill(np.zeros((*size, 3), np.uint8), slot=1)
    assert buffer.array.ctypes.data == address
    assert buffer.array.flags.c_contiguous


def test_slots_of_a_batch_are_independent() -> None:
    """Filling one slot does not touch the other."""
    buffer = FrameBuffer(32, batch=2)
    buffer.fill(np.full((32, 32, 3), 255, np.uint8), slot=0)
    buffer.fill(np.zeros((32, 32, 3), np.uint8), slot=1)
    assert buffer.array[0].min() == 1
    assert buffer.array[1].max() == 0


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 6), 7, np.uint8), 7),
        (np.full((4, 6, 1), 7, np.uint8), 7),
        (np.full((4, 6, 4), 7, np.uint8), 7),
        (np.full((4, 6), 7 << 8, np.uint16), 7),
        (np.full((4, 6, 3), 7 << 8, np.uint16), 7),
        (np.full((4, 6, 4), 7 << 8, np.uint16), 7),
    ],
    ids=["grey", "grey-1", "alpha", "grey-16", "colour-16", "alpha-16"],
)
def test_other_pixel_formats_become_bgr(image: np.ndarray, expected: int) -> None:
    """Grey, alpha and 16-bit images become (H, W, 3) uint8 with the value that was meant."""
    bgr = as_bgr(image)
    assert bgr.shape == (4, 6, 3)
    assert bgr.dtype == np.uint8
    assert (bgr == expected).all()


def test_bgr_is_not_copied() -> None:
    """The common case costs nothing."""
    image = np.zeros((4, 6, 3), np.uint8)
    assert as_bgr(image) is image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), "0x0"),
        (np.zeros((5, 0, 3), np.uint8), "0x5"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "20000x20000"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
    ids=["empty", "no-width", "huge", "two-channels", "flat", "float"],
)
def test_what_is_no_image_is_refused(image: np.ndarray, words: str) -> None:
    """One sentence that says what came; nothing is written."""
    with pytest.raises(BadInput, match=words):
        FrameBuffer(32).fill(image)


def test_file_decodes() -> None:
    """The bytes of a PNG give its pixels."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    content = cv2.imencode(".png", image)[1].tobytes()
    assert np.array_equal(decode_image(content, "a.png"), image)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0"], ids=["empty", "text", "cut"])
def test_broken_file_is_refused_by_name(content: bytes) -> None:
    """A file that does not decode is named."""
    with pytest.raises(BadInput, match=r"broken\.jpg is not an image"):
        decode_image(content, "broken.jpg")


def test_huge_file_is_refused_before_it_is_decoded() -> None:
    """A PNG header that claims 20,000 x 20,000 pixels is enough to refuse it; its 1.2 GB are never allocated."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(BadInput, match="20000x20000"):
        decode_image(content, "huge.png")


@pytest.mark.parametrize("size", [(64, 64), (100, 80), (33, 120)])
def test_bytes_are_what_the_float_input_is_made_of(size: tuple[int, int]) -> None:
    """The uint8 buffer holds the same letterboxed picture: as RGB planes over 255 it is the float buffer."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    wide, narrow = FrameBuffer(64), FrameBuffer(64, kind="uint8-nhwc")
    assert narrow.fill(image) == wide.fill(image)
    planes = narrow.array[..., ::-1].transpose(0, 3, 1, 2)
    assert narrow.array.flags.c_contiguous
    np.testing.assert_allclose(planes / 255, wide.array, atol=1e-7)


def test_bytes_of_another_size_leave_no_rest() -> None:
    """A slot that changes its image size is grey again where the new image does not reach."""
    used, fresh = (FrameBuffer(64, kind="uint8-nhwc") for _ in range(2))
    used.fill(np.full((20, 100, 3), 255, np.uint8))
    narrow = np.full((100, 20, 3), 7, np.uint8)
    used.fill(narrow)
    fresh.fill(narrow)
    assert (used.array == fresh.array).all()
