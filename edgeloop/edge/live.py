"""Live sources: the loop always gets the newest frame, never a queue of old ones, and a camera may go and come back."""

from __future__ import annotations

import random
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import cv2

from edgeloop.edge.clock import Clock
from edgeloop.edge.frame import Image
from edgeloop.edge.sources import SourceCounts, SourceFrame, Warn, numbered_id
from edgeloop.errors import BadInput

SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt"})
TIMEOUT_MS = 5000  # to connect, and between two frames: a stream that says nothing for so long has ended
RETRY_SECONDS = (0.5, 30.0)  # the first pause before looking for a lost camera, and the longest
LOOK_SECONDS = 0.1  # how soon `stop` is noticed


class Capture(Protocol):
    """One connection to a camera."""

    def read(self) -> Image | None:
        """Wait for the next frame, (H, W, 3) uint8 BGR, a new array each time; None when the connection is over."""
        ...

    def close(self) -> None: ...


Connect = Callable[[], "Capture | None"]  # None: the camera does not answer


class OpenCvCapture:
    """A camera or network stream through OpenCV."""

    def __init__(self, video: cv2.VideoCapture) -> None:
        self._video = video

    def read(self) -> Image | None:
        there, image = self._video.read()
        return image if there else None

    def close(self) -> None:
        self._video.release()


def connect(address: int | str) -> OpenCvCapture | None:
    """Connect to a camera number, a device file or a URL; None when nothing answers within five seconds."""
    if isinstance(address, str) and "://" in address:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        video = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
    else:
        video = cv2.VideoCapture(address)
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the driver's queue is old frames too
    return OpenCvCapture(video) if video.isOpened() else None


class LiveSource:
    """Reads a camera in a thread of its own; whoever iterates gets the newest frame.

    When the camera ends it is looked for again, at growing intervals, until `stop`.
    """

    live = True

    def __init__(
        self,
        name: str,
        connection: Connect,
        run: str,
        warn: Warn,
        *,
        camera: str | None = None,
        clock: Clock | None = None,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        """Connect for the first time.

        Args:
            name: for people.
            connection: connects; called again after each loss.
            run: part of the frames' ids.
            warn: takes sentences for people.
            camera: names the camera in the log; the source's name when left out.
            clock: gives the frames' times.
            retry_seconds: the first and the longest pause between attempts to find a lost camera.

        Raises:
            BadInput: nothing answers.
        """
        self.name, self.counts = name, SourceCounts()
        self._connection, self._run, self._warn = connection, run, warn
        self._camera, self._clock, self._retry_seconds = camera or name, clock or Clock(), retry_seconds
        self._stopped = False
        self._number = 0
        self._newest: SourceFrame | None = None
        self._arrived = threading.Condition()
        first = connection()
        if first is None:
            raise BadInput(f"no camera answers at {name}; check the address, the cable and the camera's own settings.")
        self._thread = threading.Thread(target=self._work, args=(first,), name="edgeloop-camera", daemon=True)

    def __iter__(self) -> Iterator[SourceFrame]:
        self._thread.start()
        while not self._stopped:
            with self._arrived:
                self._arrived.wait_for(lambda: self._newest is not None, LOOK_SECONDS)
                frame, self._newest = self._newest, None
            if frame is not None:
                self.counts.read += 1
                yield frame

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Wait for the reading thread: Python must not end while OpenCV's code runs in it, the process would abort."""
        self._stopped = True
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_MS / 1000)

    def _work(self, capture: Capture | None) -> None:
        shortest, longest = self._retry_seconds
        pause = shortest
        while capture is not None:
            begin = time.monotonic()
            self._read(capture)
            capture.close()
            if time.monotonic() - begin > longest:  # a camera that comes and goes is asked less and less often
                pause = shortest
            capture, pause = self._find_again(pause)

    def _read(self, capture: Capture) -> None:
        """Hand frames over until the connection is over."""
        while not self._stopped and (image := capture.read()) is not None:
            if not self.counts.connected:
                self.counts.connected = True
                self._warn(f"{self.name} is back.")
            moment = self._clock.now()
            self.counts.clock_steps = self._clock.steps_back
            identity = numbered_id(self._camera, time.time_ns(), self._run, self._number)
            self._number += 1
            with self._arrived:
                self.counts.dropped += self._newest is not None
                self._newest = SourceFrame(identity, self._camera, moment, image)
                self._arrived.notify()

    def _find_again(self, pause: float) -> tuple[Capture | None, float]:
        """The next connection, and the pause before the one after it; None when the source was stopped."""
        if self.counts.connected and not self._stopped:
            self.counts.disconnects += 1
            self.counts.connected = False
            self._warn(f"{self.name} has ended; looking for it again.")
        found = None
        while not self._stopped and found is None:
            self._pause(pause * random.uniform(0.8, 1.2))  # noqa: S311  # many agents, one switch that came back
            pause = min(2 * pause, self._retry_seconds[1])
            found = None if self._stopped else self._connection()
        return found, pause

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < end:
            time.sleep(min(LOOK_SECONDS, seconds))


def is_live(text: str) -> bool:
    """Whether a source's address is a camera's number, a device file or the URL of a stream."""
    if text.isdecimal() or urlsplit(text).scheme in SCHEMES:
        return True
    path = Path(text)
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)


def open_live(text: str, run: str, warn: Warn, camera: str | None = None) -> LiveSource:
    """The camera at an address; see `is_live`.

    Raises:
        BadInput: nothing answers there.
    """
    address = int(text) if text.isdecimal() else text
    name = f"camera{text}" if text.isdecimal() else without_password(text)
    return LiveSource(name, lambda: connect(address), run, warn, camera=camera)


def without_password(url: str) -> str:
    """A URL as it may be shown and logged: no user, no password, no query."""
    return re.sub(r"^([a-z]+://)[^/@]*@", r"\1", url.split("?", 1)[0])
