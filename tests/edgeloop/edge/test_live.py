"""Live sources: the newest frame, and a camera that goes and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from edgeloop.edge.live import LiveSource, connect, open_live, without_password
from edgeloop.edge.sources import SourceFrame, open_source
from edgeloop.errors import BadInput
from tests.cameras import FakeCamera, MjpegCamera, picture
from tests.rtsp_camera import RtspCamera


def live(camera: FakeCamera, said: Callable[[str], None] = pytest.fail) -> LiveSource:
    return LiveSource("fake", camera.connect, "run", said, retry_seconds=(0.01, 0.05))


def take(frames: Iterator[SourceFrame], count: int) -> list[SourceFrame]:
    return [next(frames) for _ in range(count)]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_frames_have_ids_and_increasing_times() -> None:
    """Every frame has an id of its own, the camera's name, and a later time than the one before."""
    source = live(FakeCamera())
    frames = take(iter(source), 10)
    source.stop()
    assert len({frame.frame_id for frame in frames}) == 10
    assert all(len(frame.frame_id) == 16 for frame in frames)
    assert all(early.time < late.time for early, late in pairwise(frames))
    assert {frame.camera for frame in frames} == {"fake"}


def test_a_slow_loop_gets_the_newest_frame() -> None:
    """What came while nobody looked is counted as dropped and never queued: read and dropped add up to what came."""
    camera = FakeCamera(rate=500, frames=100)
    source = live(camera, lambda _: None)
    frames = iter(source)
    take(frames, 1)
    until(lambda: camera.given == 100)
    until(lambda: not source.counts.connected)
    (last,) = take(frames, 1)
    source.stop()
    assert np.array_equal(last.image, picture(100))
    assert source.counts.read == 2
    assert source.counts.dropped == 98


def test_a_camera_that_comes_back_is_found() -> None:
    """Unplugged, the source says so once, looks at growing intervals, and goes on when the camera answers."""
    camera, said = FakeCamera(), list[str]()
    source = live(camera, said.append)
    frames = iter(source)
    before = take(frames, 3)
    camera.plugged.clear()
    until(lambda: camera.attempts > 4)
    assert (source.counts.connected, source.counts.disconnects) == (False, 1)
    camera.plugged.set()
    until(lambda: source.counts.connected)
    after = take(frames, 3)
    source.stop()
    assert said == ["fake has ended; looking for it again.", "fake is back."]
    assert len({frame.frame_id for frame in before + after}) == 6


def test_stop_ends_a_source_without_a_camera() -> None:
    """SIGTERM while the camera is away ends the iteration at once, not at the next attempt."""
    camera = FakeCamera(frames=1)
    source = LiveSource("fake", camera.connect, "run", lambda _: None, retry_seconds=(60, 60))
    frames = iter(source)
    take(frames, 1)
    camera.plugged.clear()
    until(lambda: not source.counts.connected)
    source.stop()
    assert list(frames) == []


def test_nothing_answers() -> None:
    """A camera that is not there at the start is refused, by its number and by its address without the password."""
    with pytest.raises(BadInput, match="no camera answers at camera97"):
        open_live("97", "run", pytest.fail)
    with pytest.raises(BadInput, match=r"no camera answers at rtsp://127\.0\.0\.1:9/stream;") as refusal:
        open_source("rtsp://user:secret@127.0.0.1:9/stream?key=1", "run", pytest.fail)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:p4ss@camera/stream", "rtsp://camera/stream"),
        ("http://camera/a@b?token=1", "http://camera/a@b"),
        ("rtsp://camera:8554/stream", "rtsp://camera:8554/stream"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """User, password and query of a URL stay out of logs."""
    assert without_password(url) == shown


@pytest.mark.parametrize("kind", [MjpegCamera, RtspCamera])
def test_network_camera_goes_and_comes_back(kind: type[MjpegCamera] | type[RtspCamera]) -> None:
    """Real HTTP and RTSP cameras through OpenCV and FFmpeg: frames, the cable pulled and put back, frames."""
    camera, said = kind(), list[str]()
    try:
        source = LiveSource(camera.url, lambda: connect(camera.url), "run", said.append, retry_seconds=(0.05, 0.2))
        frames = iter(source)
        image = take(frames, 5)[-1].image
        assert np.abs(image.astype(int) - picture(int(image[28, :, 2].argmax()) // 8)).mean() < 10
        camera.unplug()
        until(lambda: not source.counts.connected)
        camera.plug()
        until(lambda: source.counts.connected)
        take(frames, 5)
        source.stop()
        assert list(frames) == []
    finally:
        camera.unplug()
        source.close()
    assert said[1].endswith("is back.")


def test_a_camera_that_answers_without_frames_is_asked_less_and_less_often() -> None:
    """A connection that ends at once is no return: nothing is said twice, and pauses grow."""

    class FakeDeadCamera(FakeCamera):
        def read(self) -> np.ndarray | None:
            return super().read() if self.connections == 1 and self.given < 3 else None

    camera, said = FakeDeadCamera(), list[str]()
    source = LiveSource("fake", camera.connect, "run", said.append, retry_seconds=(0.01, 10.0))
    frames = iter(source)
    take(frames, 1)
    until(lambda: camera.connections > 4)
    source.stop()
    assert source.counts.disconnects == 1
    assert said == ["fake has ended; looking for it again."]
    assert camera.connections < 12
