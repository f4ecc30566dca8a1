"""Recorded sources: real files, whole and broken."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.edge.sources import FolderSource, VideoSource, open_source
from edgeloop.errors import BadInput
from edgeloop.formats.names import stamped_name
from edgeloop.frames import frame_id
from tests.cameras import picture

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def write_video(path: Path, frames: int = 20, rate: float = 10.0, code: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (64, 64))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path


def write_images(folder: Path, count: int = 3) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / stamped_name(f"cam{n}", NOON + timedelta(seconds=n), ".png") for n in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), picture(number))
    return paths


def test_folder_gives_its_images_in_time(tmp_path: Path) -> None:
    """Id, camera and time are those of the file, in the order of time."""
    paths = write_images(tmp_path)
    said: list[str] = []
    frames = list(FolderSource(tmp_path, said.append))
    assert [frame.frame_id for frame in frames] == [frame_id(path.read_bytes()) for path in paths]
    assert [(frame.camera, frame.time) for frame in frames] == [
        (f"cam{n}", NOON + timedelta(seconds=n)) for n in range(3)
    ]
    assert np.array_equal(frames[2].image, picture(2))
    assert not said


def test_folder_with_broken_images_goes_on(tmp_path: Path) -> None:
    """Empty, cut-off, huge and 0x0 files are skipped, each with its name; grey, alpha and 16-bit ones are converted."""
    write_images(tmp_path, 1)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(next(tmp_path.glob("cam0*")).read_bytes()[:40])
    head = next(tmp_path.glob("cam0*")).read_bytes()
    (tmp_path / "huge.png").write_bytes(head[:16] + (20_000).to_bytes(4, "big") * 2 + head[24:])
    (tmp_path / "nothing.png").write_bytes(head[:16] + bytes(8) + head[24:])
    cv2.imwrite(str(tmp_path / "grey.png"), picture(1)[:, :, 2])
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([picture(1), np.full((64, 64), 9, np.uint8)]))
    cv2.imwrite(str(tmp_path / "deep.png"), picture(1).astype(np.uint16) * 257)
    said: list[str] = []
    source = FolderSource(tmp_path, said.append)
    frames = list(source)
    assert {frame.image.shape for frame in frames} == {(64, 64, 3)}
    assert (len(frames), source.counts.read, source.counts.skipped) == (4, 4, 4)
    assert all(any(name in sentence for sentence in said) for name in ("empty", "cut", "huge", "nothing"))


def test_video_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    """A stamped name gives camera and beginning, the frame rate the rest; the same file gives the same ids again."""
    path = write_video(tmp_path / stamped_name("cam1", NOON, ".avi"))
    frames = list(VideoSource(path, pytest.fail))
    assert [frame.time for frame in frames] == [NOON + timedelta(seconds=n / 10) for n in range(20)]
    assert {frame.camera for frame in frames} == {"cam1"}
    assert len({frame.frame_id for frame in frames}) == 20
    assert [frame.frame_id for frame in VideoSource(path, pytest.fail)] == [frame.frame_id for frame in frames]
    other = write_video(tmp_path / "other.avi", frames=21)
    assert {frame.frame_id for frame in VideoSource(other, pytest.fail)}.isdisjoint(f.frame_id for f in frames)


def test_truncated_video_ends_with_a_sentence(tmp_path: Path) -> None:
    """A video cut in half gives the frames that are there, says so, and ends."""
    path = write_video(tmp_path / "whole.avi", frames=100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said: list[str] = []
    source = VideoSource(path, said.append)
    frames = list(source)
    assert 20 < len(frames) < 80
    assert source.counts.truncated
    assert "cut short" in said[0]


def test_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    """An MP4 whose end is missing cannot be opened; the sentence says why that may be."""
    path = write_video(tmp_path / "whole.mp4", frames=200, code="mp4v")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match="cut-off MP4 has lost its index"):
        VideoSource(path, pytest.fail)


def test_stop_ends_the_iteration(tmp_path: Path) -> None:
    """After `stop` the frame in hand was the last one."""
    for source in (
        FolderSource(write_images(tmp_path / "images", 3)[0].parent, pytest.fail),
        VideoSource(write_video(tmp_path / "video.avi"), pytest.fail),
    ):
        frames = iter(source)
        next(frames)
        source.stop()
        assert list(frames) == []


@pytest.mark.parametrize("text", ["missing", "missing.mp4", "ftp://camera/stream", ""])
def test_what_is_not_there_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that does not exist is said to, with what could be named instead."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"expected a folder|holds no frames"):
        open_source(text, "run", pytest.fail)


def test_one_image_is_a_source(tmp_path: Path) -> None:
    """A single image file, and a camera's name given by the user, in both kinds of recorded source."""
    (path,) = write_images(tmp_path, 1)
    (frame,) = open_source(str(path), "run", pytest.fail, "left")
    assert frame.camera == "left"
    video = write_video(tmp_path / "video.avi", 2)
    assert {frame.camera for frame in open_source(f"file://{video}", "run", pytest.fail)} == {"video"}
