"""Where frames come from: a folder of images, a video file, a camera, a network stream. One interface for all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import cv2

from edgeloop.edge.frame import Image, decode_image
from edgeloop.errors import BadInput
from edgeloop.formats.images import MAXIMUM_BYTES, SUFFIXES
from edgeloop.formats.names import UNKNOWN_CAMERA, camera_and_time
from edgeloop.formats.paths import require_images
from edgeloop.frames import frame_id

# Quiet: what is wrong with a video is said here, in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Warn = Callable[[str], None]

IDENTITY_BYTES = 1 << 20  # of the beginning and the end of a video: hashing hours of it would take minutes
FRAMES_A_SECOND = 25.0  # of a video that does not say
TRUNCATED = 0.99  # a container's frame count is an estimate; a file that gives fewer than this share of it is cut short


@dataclass(frozen=True)
class SourceFrame:
    """One frame on its way to the detector.

    Attributes:
        frame_id: 16 hexadecimal digits. Of a file in a folder: its content's; of a video: the video's and the number;
            live: camera, time, run and number. The same file gives the same ids again.
        camera: which camera took it.
        time: when, UTC.
        image: (H, W, 3) uint8 BGR; belongs to the receiver.
    """

    frame_id: str
    camera: str
    time: datetime
    image: Image


@dataclass
class SourceCounts:
    """What happened to a source so far.

    Attributes:
        read: frames handed over.
        dropped: frames of a live source that a newer one replaced before the loop came for them.
        skipped: files or frames that are no usable image.
        disconnects: how often a live source ended.
        clock_steps: how often the device's clock was set back.
        connected: whether frames can come at the moment.
        truncated: whether a video ended before its container says it should.
    """

    read: int = 0
    dropped: int = 0
    skipped: int = 0
    disconnects: int = 0
    clock_steps: int = 0
    connected: bool = True
    truncated: bool = False


class Source(Protocol):
    """Iterate it for frames.

    Attributes:
        name: for people; a URL without its password.
        live: whether frames come when they come and are lost when nobody takes them.
        counts: what happened so far.
    """

    name: str
    live: bool
    counts: SourceCounts

    def __iter__(self) -> Iterator[SourceFrame]: ...

    def stop(self) -> None:
        """End the iteration after the frame that is being handed over. Safe in a signal handler and in any thread."""
        ...

    def close(self) -> None:
        """Stop, and give everything back."""
        ...


class FolderSource:
    """The images below a folder, in the order of their time; files that are no image are skipped, said and counted."""

    live = False

    def __init__(self, folder: Path, warn: Warn, camera: str | None = None) -> None:
        self.name, self.counts = str(folder), SourceCounts()
        self._paths = list_frames(folder)
        self._warn, self._camera, self._stopped = warn, camera, False

    def __iter__(self) -> Iterator[SourceFrame]:
        for path in self._paths:
            if self._stopped:
                return
            try:
                frame = self._read(path)
            except (BadInput, OSError) as problem:
                self.counts.skipped += 1
                self._warn(f"skipped: {problem}")
                continue
            self.counts.read += 1
            yield frame

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._stopped = True

    def _read(self, path: Path) -> SourceFrame:
        if (size := path.stat().st_size) > MAXIMUM_BYTES:
            raise BadInput(
                f"{path} has {size / 1e6:.0f} MB; expected an image of at most {MAXIMUM_BYTES / 1e6:.0f} MB."
            )
        content = path.read_bytes()
        camera, time = camera_and_time(path)
        return SourceFrame(frame_id(content), self._camera or camera, time, decode_image(content, str(path)))


class VideoSource:
    """The frames of a video file, every one of them.

    The camera and the beginning are those of a stamped name (`cam1_20260301T081500.250Z.mp4`); otherwise the camera is
    the file's name and the beginning the file's own time.
    """

    live = False

    def __init__(self, path: Path, warn: Warn, camera: str | None = None) -> None:
        """Open the file.

        Raises:
            BadInput: OpenCV does not read it.
        """
        self.name, self.counts = str(path), SourceCounts()
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise BadInput(f"{path} is no video that can be read (a cut-off MP4 has lost its index); record it again.")
        named, self._begin = camera_and_time(path)
        self._camera = camera or (path.stem if named == UNKNOWN_CAMERA else named)
        self._identity = video_identity(path)
        self._warn, self._stopped = warn, False

    def __iter__(self) -> Iterator[SourceFrame]:
        rate = self._video.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else FRAMES_A_SECOND
        while not self._stopped:
            there, image = self._video.read()
            if not there:
                self._end()
                return
            number = self.counts.read
            self.counts.read += 1
            time = self._begin + timedelta(seconds=number / rate)
            yield SourceFrame(numbered_id(self._identity, number), self._camera, time, image)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._stopped = True
        self._video.release()

    def _end(self) -> None:
        expected = int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        if self.counts.read < int(expected * TRUNCATED):
            self.counts.truncated = True
            self._warn(f"{self.name} ended after {self.counts.read} of about {expected} frames; the file is cut short.")


def open_source(text: str, run: str, warn: Warn, camera: str | None = None) -> Source:
    """The source that a command line names.

    Args:
        text: a folder, an image, a video file, a camera's number or device file, or a URL (rtsp, rtmp, http, udp, tcp).
        run: names this run; part of the ids of live frames.
        warn: takes sentences for people.
        camera: names the camera; None takes what the source says.

    Raises:
        BadInput: nothing like that is there.
    """
    from edgeloop.edge.live import is_live, open_live

    if is_live(text):
        return open_live(text, run, warn, camera)
    path = Path(text.removeprefix("file://"))
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return FolderSource(path, warn, camera)
    if not path.is_file():
        raise BadInput(
            f"{text} does not exist; expected a folder of images, a video file, a camera number such as 0, or a URL "
            f"such as rtsp://host/stream."
        )
    return VideoSource(path, warn, camera)


def list_frames(stream: Path) -> list[Path]:
    """The images of a stream in the order of their time: those below the folder, or below its folder `images`.

    Raises:
        BadInput: no such folder, or no image in it.
    """
    images = stream / "images"
    folder = images if images.is_dir() else stream
    found = [stream] if stream.is_file() else require_images(folder)
    return sorted(found, key=lambda path: (camera_and_time(path)[1], path.name))


def video_identity(path: Path) -> str:
    """What tells a video file from others: its size and its first and last megabyte, hashed."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as handle:
        digest.update(handle.read(IDENTITY_BYTES))
        handle.seek(max(size - IDENTITY_BYTES, 0))
        digest.update(handle.read(IDENTITY_BYTES))
    return digest.hexdigest()


def numbered_id(*parts: object) -> str:
    """The id of a frame that has no file: 16 hexadecimal digits of the SHA-256 of its parts."""
    return frame_id("\0".join(str(part) for part in parts).encode())
