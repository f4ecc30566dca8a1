"""Size, colour mode and EXIF orientation of an image file, from its header alone: nothing is decoded."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

Size = tuple[int, int]
Mode = Literal["grey", "palette", "alpha", "CMYK", "more than 8 bits"]

UPRIGHT = 1  # orientation of an image that needs no turning (EXIF 2.32, 4.6.4, tag 274)
QUARTER_TURNS = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG SOF0..SOF15; DHT, JPG and DAC sit between
_WIDTH, _HEIGHT, _BITS, _COLOURS, _ORIENTATION, _EXTRA = 0x100, 0x101, 0x102, 0x106, 0x112, 0x152
_TIFF_MODES: dict[int, Mode] = {0: "grey", 1: "grey", 3: "palette", 5: "CMYK"}  # TIFF 6.0, PhotometricInterpretation
_PNG_MODES: dict[int, tuple[Mode, ...]] = {0: ("grey",), 3: ("palette",), 4: ("grey", "alpha"), 6: ("alpha",)}
_ENOUGH = 64 * 1024  # bytes searched where a header has no fixed place


@dataclass(frozen=True)
class Header:
    """How an image is stored.

    Attributes:
        size: width and height in pixels as stored, before any turning; None where the header does not say.
        modes: what sets it apart from 8-bit colour; empty for an ordinary photograph.
        orientation: 1 to 8 as EXIF counts; 1 is upright. Decoding turns the others.
    """

    size: Size | None = None
    modes: tuple[Mode, ...] = ()
    orientation: int = UPRIGHT


def read_header(path: Path) -> Header:
    """The header of an image that was found readable; an ordinary one where the file does not say."""
    try:
        with path.open("rb") as handle:
            return parse_header(handle)
    except (OSError, struct.error, IndexError):
        return Header()


def parse_header(handle: BinaryIO) -> Header:
    """The same for an open file.

    Raises:
        struct.error, IndexError: shorter than its own header.
    """
    start = handle.read(32)
    if start[:2] == b"\xff\xd8":
        return _jpeg(handle)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(start, handle)
    if start[:2] == b"BM":
        return _bmp(start)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(start, handle)
    if start[:4] in (b"II*\0", b"MM\0*"):
        handle.seek(0)
        return _tiff(handle)
    return Header()


def _bmp(start: bytes) -> Header:
    """A height below 0 says that rows run from the top."""
    width, height = struct.unpack("<ii", start[18:26])
    return Header((abs(width), abs(height)), ("palette",) if start[28] <= 8 else ("alpha",) if start[28] == 32 else ())


def _jpeg(handle: BinaryIO) -> Header:
    """Walk the segments up to the frame header (ITU T.81, B.2.2); segments that say nothing are jumped over."""
    at, orientation = 2, UPRIGHT
    while True:
        handle.seek(at)
        mark, marker, length = struct.unpack(">BBH", handle.read(4))
        if mark != 0xFF:
            return Header(orientation=orientation)
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            depth, height, width, colours = struct.unpack(">BHHB", handle.read(6))
            return Header((width, height), _jpeg_modes(depth, colours), orientation)
        else:
            if marker == 0xE1 and (segment := handle.read(length - 2))[:6] == b"Exif\0\0":
                orientation = _orientation(segment[6:])
            at += 2 + length


def _jpeg_modes(depth: int, colours: int) -> tuple[Mode, ...]:
    modes: dict[int, tuple[Mode, ...]] = {1: ("grey",), 4: ("CMYK",)}
    return modes.get(colours, ()) + (("more than 8 bits",) if depth > 8 else ())


def _png(start: bytes, handle: BinaryIO) -> Header:
    """PNG 3rd edition, 11.2.1: size, depth and colour type; transparency and EXIF stand in chunks of their own."""
    width, height, depth, colour = struct.unpack(">IIBB", start[16:26])
    modes = _PNG_MODES.get(colour, ()) + (("more than 8 bits",) if depth > 8 else ())
    orientation, at = UPRIGHT, 33
    while True:
        handle.seek(at)
        head = handle.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return Header((width, height), modes, orientation)
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] == b"tRNS" and "alpha" not in modes:
            modes += ("alpha",)
        elif head[4:] == b"eXIf":
            orientation = _orientation(handle.read(min(length, _ENOUGH)))
        at += 12 + length


def _webp(start: bytes, handle: BinaryIO) -> Header:
    """RFC 9649, 2.5 to 2.7; only the extended form has EXIF, and it stands behind the picture."""
    if start[12:16] == b"VP8L":
        (bits,) = struct.unpack("<I", start[21:25])
        return Header((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), ("alpha",) if bits >> 28 & 1 else ())
    if start[12:16] != b"VP8X":
        width, height = struct.unpack("<HH", start[26:30])
        return Header((width & 0x3FFF, height & 0x3FFF))
    size = 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    orientation, at = UPRIGHT, 12
    while start[20] & 0x08:
        handle.seek(at)
        head = handle.read(8)
        if len(head) < 8:
            break
        (length,) = struct.unpack("<I", head[4:])
        if head[:4] == b"EXIF":
            orientation = _orientation(handle.read(min(length, _ENOUGH)).removeprefix(b"Exif\0\0"))
            break
        at += 8 + length + length % 2
    return Header(size, ("alpha",) if start[20] & 0x10 else (), orientation)


def _tiff(handle: BinaryIO) -> Header:
    tags = _tags(handle)
    colour = _TIFF_MODES.get(tags.get(_COLOURS, 2))
    modes: tuple[Mode, ...] = (colour,) if colour else ()
    if _EXTRA in tags:
        modes += ("alpha",)
    if tags.get(_BITS, 8) > 8:
        modes += ("more than 8 bits",)
    size = (tags[_WIDTH], tags[_HEIGHT]) if _WIDTH in tags and _HEIGHT in tags else None
    return Header(size, modes, _upright(tags))


def _orientation(tiff: bytes) -> int:
    """What a block of EXIF says; upright when it says nothing that can be read."""
    try:
        return _upright(_tags(BytesIO(tiff)))
    except struct.error:
        return UPRIGHT


def _upright(tags: Mapping[int, int]) -> int:
    value = tags.get(_ORIENTATION, UPRIGHT)
    return value if 1 <= value <= 8 else UPRIGHT


def _tags(handle: BinaryIO) -> dict[int, int]:
    """The integer tags of the first directory, the first value of each (TIFF 6.0, section 2)."""
    order = "<" if handle.read(2) == b"II" else ">"
    (offset,) = struct.unpack(order + "2xI", handle.read(6))
    handle.seek(offset)
    (count,) = struct.unpack(order + "H", handle.read(2))
    entries = handle.read(12 * count)
    return dict(_tag(order, entries[12 * n : 12 * n + 12], handle) for n in range(count))


def _tag(order: str, entry: bytes, handle: BinaryIO) -> tuple[int, int]:
    """Of the tags that are asked for only bits per sample may have more values than fit: they are where it points."""
    tag, kind, count = struct.unpack(order + "HHI", entry[:8])
    if kind != 3:
        return tag, int(struct.unpack(order + "I", entry[8:12])[0])
    if tag != _BITS or count <= 2:
        return tag, int(struct.unpack(order + "H", entry[8:10])[0])
    handle.seek(struct.unpack(order + "I", entry[8:12])[0])
    value = handle.read(2)
    return tag, int(struct.unpack(order + "H", value)[0]) if len(value) == 2 else 0
