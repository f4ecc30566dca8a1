"""Frames out of a video: by time, by change, the same ones again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.errors import BadInput
from edgeloop.frames import frame_id
from edgeloop.store import FrameStore
from edgeloop.video_frames import VideoSampling, count_chosen, length_of, take_video
from tests.labelled_sets import smooth

RATE = 10


def video(path: Path, *scenes: tuple[int, int]) -> Path:
    """Scenes of (seed, frames), each a still picture."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, RATE, (128, 96))
    for seed, frames in scenes:
        for _ in range(frames):
            writer.write(smooth(seed, 128, 96))
    writer.release()
    return path


def seconds(store: Path) -> list[float]:
    """When the frames of a store were taken, from the first one on."""
    times = sorted(row["time"] for row in FrameStore(str(store)).catalogue.read().to_pylist())
    return [round((time - times[0]).total_seconds(), 1) for time in times]


def noisy(path: Path, frames: int) -> Path:
    """A moving picture, so that every frame is one of its own."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (128, 96))
    for number in range(frames):
        writer.write(np.roll(smooth(1, 128, 96), number, axis=1))
    writer.release()
    return path


def test_one_frame_every_so_often(tmp_path: Path) -> None:
    """Five seconds give a frame a second, with camera and time of a stamped name."""
    path = noisy(tmp_path / "cam7_20260301T081500.000Z.avi", 5 * RATE)
    report = take_video(path, str(tmp_path / "store"), VideoSampling(change_bits=65))
    assert (report.added, report.warnings) == (5, ())
    assert seconds(tmp_path / "store") == [0, 1, 2, 3, 4]
    rows = FrameStore(str(tmp_path / "store")).catalogue.read().to_pylist()
    assert {row["camera"] for row in rows} == {"cam7"}
    assert min(row["time"] for row in rows).isoformat() == "2026-03-01T08:15:00+00:00"
    for row in rows:
        assert frame_id(FrameStore(str(tmp_path / "store")).get(row["frame_id"])) == row["frame_id"]


def test_a_dry_run_counts_what_would_be_taken(tmp_path: Path) -> None:
    """It is as many frames as taking the video puts into an empty store."""
    path = noisy(tmp_path / "a.avi", 5 * RATE)
    sampling = VideoSampling(every_seconds=0.5, change_bits=65)
    assert count_chosen(path, sampling) == take_video(path, str(tmp_path / "store"), sampling).added > 5


def test_a_change_is_taken_at_once(tmp_path: Path) -> None:
    """A new scene after 1.3 seconds is a frame then, and the next one comes a second later."""
    path = video(tmp_path / "a.avi", (1, 13), (2, 17))
    take_video(path, str(tmp_path / "store"), VideoSampling())
    assert 1.3 in seconds(tmp_path / "store")
    take_video(path, str(tmp_path / "rarely"), VideoSampling(every_seconds=100, change_bits=65))
    assert seconds(tmp_path / "rarely") == [0]


def test_flicker_does_not_flood_the_store(tmp_path: Path) -> None:
    """Two pictures in turn, ten times a second: never two frames closer than the gap."""
    path = video(tmp_path / "a.avi", *[(number % 2, 1) for number in range(30)])
    report = take_video(path, str(tmp_path / "store"), VideoSampling(gap_seconds=0.5))
    assert report.added + report.present == 6


@pytest.mark.parametrize("remember", [True, False])
def test_twice_changes_nothing(tmp_path: Path, remember: bool) -> None:
    """Decoded again or remembered, nothing below the store changes; other settings are another question."""
    path = noisy(tmp_path / "a.avi", 30)
    memory = tmp_path / "memory" if remember else None
    first = take_video(path, str(tmp_path / "store"), VideoSampling(), memory)
    before = {one: one.read_bytes() for one in (tmp_path / "store").rglob("*") if one.is_file()}
    again = take_video(path, str(tmp_path / "store"), VideoSampling(), memory)
    assert (again.added, again.present) == (0, first.added)
    assert before == {one: one.read_bytes() for one in (tmp_path / "store").rglob("*") if one.is_file()}
    assert take_video(path, str(tmp_path / "store"), VideoSampling(every_seconds=0.5), memory).added > 0


def test_a_store_that_was_emptied_is_filled_again(tmp_path: Path) -> None:
    """What is remembered of a video is believed only while the store has its frames."""
    path = noisy(tmp_path / "a.avi", 30)
    take_video(path, str(tmp_path / "store"), VideoSampling(), tmp_path / "memory")
    assert take_video(path, str(tmp_path / "other"), VideoSampling(), tmp_path / "memory").added > 0


def test_what_decodes_of_a_cut_video_is_taken(tmp_path: Path) -> None:
    """And it is said where it ended."""
    path = noisy(tmp_path / "a.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = take_video(path, str(tmp_path / "store"), VideoSampling(every_seconds=0.2))
    assert report.added > 3
    assert "the file is cut short" in report.warnings[0]


@pytest.mark.parametrize(
    "content", [b"", b"no video at all", b"\0\0\0\x20ftypisom", None], ids=["empty", "text", "cut off", "missing"]
)
def test_what_is_no_video_is_one_sentence(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is stored, and the decoder adds no lines of its own."""
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.mp4"):
        take_video(path, str(tmp_path / "store"), VideoSampling())
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "store/frames").exists()


def test_real_videos(shared: Path, tmp_path: Path) -> None:
    """Street and shop scenes: at least a frame a second, and no more than five."""
    for path in sorted((shared / "data/videos").glob("*.mp4"))[:2]:
        report = take_video(path, str(tmp_path / path.stem), VideoSampling())
        capture = cv2.VideoCapture(str(path))
        length = length_of(path) / capture.get(cv2.CAP_PROP_FPS)
        taken = report.added + report.present
        assert int(length) <= taken <= 5 * length + 1
