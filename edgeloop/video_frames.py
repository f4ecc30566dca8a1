"""Frames out of a video file: one every so often, and earlier where the picture changes.

A frame becomes a JPEG of quality 95. The same video and settings give the same bytes, so the same frames, again: a run
that was killed decodes from the beginning and stores nothing twice. A video that was taken whole is remembered and not
decoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import cv2
from pydantic import Field

from edgeloop.edge.frame import Image
from edgeloop.edge.sources import SourceFrame, VideoSource, video_identity
from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.formats.images import ImageFacts, inspect_content
from edgeloop.frame_catalogue import Row
from edgeloop.frame_intake import Intake, RegisterReport, one_row, row_of
from edgeloop.near_duplicates import perceptual_hash
from edgeloop.progress import bar
from edgeloop.record import Record

SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv"})
QUALITY = 95
GLANCE = 128  # pixels of the picture that is compared; smoothing it costs a tenth of decoding a 1080p frame


class VideoSampling(Record):
    """Which frames of a video are taken.

    Attributes:
        every_seconds: one at least so often.
        change_bits: one earlier when so many of the 64 bits of its perceptual hash differ from those of the last one
            taken; of two unrelated pictures about 32 do. 65 takes none earlier.
        gap_seconds: never two closer than this.
    """

    every_seconds: float = Field(default=1.0, gt=0)
    change_bits: int = Field(default=16, ge=1, le=65)
    gap_seconds: float = Field(default=0.2, ge=0)


class _Done(Record):
    """What a whole video came to."""

    frames: tuple[str, ...]
    warnings: tuple[str, ...]


def take_video(
    path: Path, url: str, sampling: VideoSampling, memory: Path | None = None, camera: str | None = None
) -> RegisterReport:
    """Put frames of a video into the store and its catalogue; twice changes nothing.

    Args:
        path: the video file; what it says of camera and time is `edgeloop.edge.sources.VideoSource`'s.
        url: the store.
        sampling: which frames.
        memory: folder that remembers videos that were taken whole.
        camera: names the camera.

    Raises:
        BadInput: no video that can be read, no frame in it, or a store that cannot be opened or written.
    """
    if not path.is_file():
        raise BadInput(f"{printable(path)} does not exist; expected a video file.")
    key = hashlib.sha256(f"{video_identity(path)} {camera} {sampling.to_json()}".encode()).hexdigest()[:32]
    record, intake, warnings = (memory or Path()) / f"{key}.json", Intake(url), list[str]()
    done = _Done.load(record) if memory is not None and record.is_file() else None
    if done is not None and intake.known.issuperset(done.frames):
        intake.present = len(done.frames)
        with intake:
            return intake.report(warnings=done.warnings)
    source = VideoSource(path, warnings.append, camera)
    try:
        with intake:
            taken = tuple(_put(intake, frame, path) for frame in choose(source, sampling, length_of(path)))
    finally:
        source.close()
    if not taken:
        raise BadInput(f"{printable(path)} holds no frame that can be decoded; record it again.")
    if memory is not None:
        _Done(frames=taken, warnings=tuple(warnings)).save(record)
    return intake.report(warnings=warnings)


def count_chosen(path: Path, sampling: VideoSampling) -> int:
    """How many frames `take_video` would put into the store, some of which may be there.

    Raises:
        BadInput: no video that can be read.
    """
    source = VideoSource(path, lambda _: None)
    try:
        return sum(1 for _ in choose(source, sampling, length_of(path)))
    finally:
        source.close()


def length_of(path: Path) -> int:
    """About how many frames the container says it has."""
    video = cv2.VideoCapture(str(path))
    try:
        return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    finally:
        video.release()


def choose(source: VideoSource, sampling: VideoSampling, length: int) -> Iterator[SourceFrame]:
    """The frames to take, in order, one picture in memory at a time."""
    last_time: datetime | None = None
    last_hash: int | None = None
    for frame in bar(source, f"watching {Path(source.name).name}", length):
        elapsed = None if last_time is None else (frame.time - last_time).total_seconds()
        if elapsed is not None and elapsed < min(sampling.gap_seconds, sampling.every_seconds):
            continue
        seen = _glance(frame.image)
        if elapsed is None or elapsed >= sampling.every_seconds or _differs(seen, last_hash, sampling.change_bits):
            last_time, last_hash = frame.time, seen
            yield frame


def _glance(image: Image) -> int | None:
    small = cv2.resize(image, (GLANCE, GLANCE), interpolation=cv2.INTER_AREA)
    return perceptual_hash(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))


def _differs(one: int | None, other: int | None, bits: int) -> bool:
    """A flat picture differs from every one that is not."""
    if one is None or other is None:
        return (one is None) != (other is None)
    return (one ^ other).bit_count() >= bits


def _put(intake: Intake, frame: SourceFrame, path: Path) -> str:
    content = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    facts = inspect_content(path, content)
    if not isinstance(facts, ImageFacts):
        raise BadInput(f"{printable(path)}: a frame is {facts.reason}; expected frames that fit into a JPEG.")
    if facts.frame_id not in intake.known:
        intake.store.put_unsynced(facts.frame_id, ".jpg", content)
    where: Row = {"camera": frame.camera, "time": frame.time, "source": f"video:{path.name}"}
    intake.add(one_row(row_of(facts, len(content), ".jpg") | where))
    return facts.frame_id
