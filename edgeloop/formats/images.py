"""Image files before they are trusted: size from the header, then a real decode, on all cores."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edgeloop.formats.findings import Finding, error
from edgeloop.formats.headers import QUARTER_TURNS, parse_header
from edgeloop.near_duplicates import perceptual_hashes
from edgeloop.progress import bar
from edgeloop.spread import bounded

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAXIMUM_BYTES = 200 * 1000 * 1000
MAXIMUM_PIXELS = 100 * 1000 * 1000  # decodes to 300 MB
TOGETHER_BYTES = 32 << 20  # of pictures that are decoded before the first of them is measured
LOOK_SIDE = 128  # one size for all cameras and artifacts, so that statistics compare; 0.1 to 0.2 ms a frame


@dataclass(frozen=True)
class Look:
    """Image statistics of a grey decode of at most 128 x 128 pixels.

    JPEGs are decoded at half to an eighth of their size: brightness and contrast are close to those of the inference
    log, sharpness compares with that of other files only.

    Attributes:
        brightness: mean grey value, 0..255.
        contrast: standard deviation of the grey values, 0..127.5.
        sharpness: variance of the Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing"), 0 for a flat image.
    """

    brightness: float
    contrast: float
    sharpness: float


@dataclass(frozen=True)
class ImageFacts:
    """A decodable image.

    Attributes:
        sha256: of the file's bytes.
        width, height: pixels as OpenCV decodes it (EXIF applied).
        perceptual_hash: 64 bits that nearly equal pictures nearly share; None of a flat one.
        look: how bright, contrasty and sharp it is; None, as the hash, where only the header was read.
    """

    sha256: str
    width: int
    height: int
    perceptual_hash: int | None = None
    look: Look | None = None

    @property
    def frame_id(self) -> str:
        return self.sha256[:16]


def inspect_all(paths: Sequence[Path], description: str = "checking images") -> list[ImageFacts | Finding]:
    """Inspect many images on all cores, in order; a progress bar appears when it takes more than two seconds."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(bar(pool.map(inspect, paths), description, len(paths)))


def measure_all(paths: Sequence[Path]) -> list[ImageFacts | Finding]:
    """Hash images and take their sizes from the headers, for files that were inspected before."""
    return [_measure(path) for path in bar(paths, "reading images", len(paths))]


def _measure(path: Path) -> ImageFacts | Finding:
    try:
        content = path.read_bytes()
    except OSError as problem:
        return error("unreadable-image", path, str(problem.strerror))
    size = header_size(content)
    if not is_jpeg(content) and _may_turn(content):
        grey = _decoded_grey(content, 0)
        size = None if grey is None else (grey.shape[1], grey.shape[0])
    if size is None:
        return error("unreadable-image", path, "no size in its header")
    return ImageFacts(hashlib.sha256(content).hexdigest(), *size)


def _may_turn(content: bytes) -> bool:
    """Whether a file that is no JPEG may carry an orientation, which only decoding applies."""
    return b"eXIf" in content or b"EXIF" in content or content[:4] in (b"II*\0", b"MM\0*")


def inspect(path: Path) -> ImageFacts | Finding:
    """Read, hash and decode one image; a finding says why it cannot be used.

    JPEGs are decoded reduced and in grey: the whole entropy-coded stream is read, the picture is not built. A JPEG
    whose bytes were altered but still parse cannot be told from a picture, by this or any other decoder.
    """
    try:
        if (size := path.stat().st_size) > MAXIMUM_BYTES:
            return error("oversized-image", path, f"{size / 1e6:.0f} MB, at most {MAXIMUM_BYTES / 1e6:.0f} MB")
        content = path.read_bytes()
    except OSError as problem:
        return error("unreadable-image", path, str(problem.strerror))
    return inspect_content(path, content)


def inspect_content(path: Path | str, content: bytes) -> ImageFacts | Finding:
    """The same for bytes at hand; `path` names them in a finding."""
    return inspect_contents([(path, content)])[0]


def inspect_contents(files: Sequence[tuple[Path | str, bytes]]) -> list[ImageFacts | Finding]:
    """The same for several, each with the path that names it."""
    decoded = ((content, _decoded(path, content)) for path, content in files)
    return [found for group in bounded(decoded, _bytes_of, TOGETHER_BYTES) for found in _measured(group)]


class _Picture(NamedTuple):
    """A picture in grey, a JPEG reduced, and its full size."""

    grey: npt.NDArray[np.uint8]
    width: int
    height: int


def _bytes_of(decoded: tuple[bytes, _Picture | Finding]) -> int:
    """Of the picture: all but JPEGs are decoded at their full size."""
    picture = decoded[1]
    return 0 if isinstance(picture, Finding) else picture.grey.nbytes


def _measured(group: Sequence[tuple[bytes, _Picture | Finding]]) -> list[ImageFacts | Finding]:
    """One step is taken for all of them before the next.

    Statistics and hash take two thirds of the time when what they need is still in the processor's caches.
    """
    digests = [hashlib.sha256(content).hexdigest() for content, _ in group]
    greys = [picture.grey for _, picture in group if not isinstance(picture, Finding)]
    seen = zip(perceptual_hashes(greys), map(look, greys), strict=True)
    return [
        picture if isinstance(picture, Finding) else ImageFacts(digest, picture.width, picture.height, *next(seen))
        for digest, (_, picture) in zip(digests, group, strict=True)
    ]


def _decoded(path: Path | str, content: bytes) -> _Picture | Finding:
    size = header_size(content)
    if size is None:
        return error("unreadable-image", Path(path), f"{len(content)} bytes that are no JPEG, PNG, BMP, WebP or TIFF")
    if size[0] * size[1] > MAXIMUM_PIXELS:
        return error(
            "oversized-image",
            Path(path),
            f"{size[0]} × {size[1]} pixels, at most {MAXIMUM_PIXELS / 1e6:.0f} megapixels",
        )
    if is_jpeg(content) and not _has_end(content):
        return error("unreadable-image", Path(path), "truncated JPEG: the end-of-image marker is missing")
    grey = _decoded_grey(content, min(size))
    if grey is None:
        return error("unreadable-image", Path(path), "truncated or corrupt: it does not decode")
    width, height = size if is_jpeg(content) else (grey.shape[1], grey.shape[0])
    return _Picture(grey, width, height)


def is_jpeg(content: bytes) -> bool:
    """Whether the bytes start like a JPEG."""
    return content[:3] == b"\xff\xd8\xff"


def look(grey: npt.NDArray[np.uint8]) -> Look:
    """The statistics of a grey picture, (H, W) uint8."""
    if max(grey.shape) > LOOK_SIDE:
        grey = cv2.resize(grey, (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_LINEAR)
    mean, deviation = cv2.meanStdDev(grey)
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return Look(float(mean[0, 0]), float(deviation[0, 0]), float(edges[0, 0]) ** 2)


def _reduction(side: int) -> int:
    """How OpenCV decodes a JPEG whose shorter side this is: as small as leaves the perceptual hash its 32 pixels."""
    if side >= 256:
        return cv2.IMREAD_REDUCED_GRAYSCALE_8
    if side >= 128:
        return cv2.IMREAD_REDUCED_GRAYSCALE_4
    return cv2.IMREAD_REDUCED_GRAYSCALE_2 if side >= 64 else cv2.IMREAD_GRAYSCALE


def _decoded_grey(content: bytes, side: int) -> npt.NDArray[np.uint8] | None:
    """The picture in grey, a JPEG of `side` pixels reduced."""
    mode = _reduction(side) if is_jpeg(content) else cv2.IMREAD_GRAYSCALE
    try:
        image: npt.NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error:  # what OpenCV raises for a broken file depends on the codec; None is its usual answer
        return None
    return image


def header_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the first bytes of an image file, nothing decoded; None when they say none.

    A JPEG's EXIF orientation is applied, as OpenCV does when it decodes.
    """
    try:
        header = parse_header(BytesIO(content))
    except (struct.error, IndexError):  # shorter than its own header
        return None
    if header.size and is_jpeg(content) and header.orientation in QUARTER_TURNS:
        return header.size[::-1]
    return header.size


def _has_end(content: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan; one in an EXIF thumbnail lies before it."""
    if content.endswith(b"\xff\xd9"):  # cut off right behind a thumbnail there is no scan, and it does not decode
        return True
    start = 2
    while content[start] == 0xFF and content[start + 1] != 0xDA:
        if content[start + 1] == 0xFF:
            start += 1
            continue
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if start + 1 >= len(content):
            return False
    return content.find(b"\xff\xd9", start) >= 0
