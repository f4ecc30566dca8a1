"""The device's log: what was flushed is there, whatever happened after; nothing reaches the loop."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.records import record
from edgeloop.boxes import Detections
from edgeloop.edge import segments, spool
from edgeloop.edge.log import read_log
from edgeloop.edge.log_schema import LOG_SCHEMA, SCHEMA_VERSION, VERSION_KEY, InferenceRecord, to_table
from edgeloop.edge.segment import Segment, read_segment, segment_to_parquet
from edgeloop.edge.segments import DeviceLog, to_batch
from edgeloop.edge.statistics import DeferredStatistics

GREY = np.full((48, 64, 3), 90, np.uint8)


def rows(count: int, life: int = 0) -> list[InferenceRecord]:
    return [record(number, GREY, life, boxes=number % 4) for number in range(count)]


def log_of(device: Path) -> pa.Table:
    return read_log(str(device / "spool/log"))


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it holds; a test that waits in vain fails."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """A disk that is full: the kernel refuses to let a file of this process grow over `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    """Every column of every row comes back, cameras and dates apart, and nothing stays in the segments."""
    log, records = DeviceLog(tmp_path, "run", rows_a_file=7), [*rows(20), *rows(20, life=1)]
    for one in records:
        log.append(one)
    log.close()
    assert (log.rows, log.flushed, log.lost, log.error) == (40, 40, 0, None)
    order = [("time", "ascending"), ("camera", "ascending"), ("frame_id", "ascending")]
    assert log_of(tmp_path).equals(to_table(records).sort_by(order))
    assert not list((tmp_path / "segments").iterdir())
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")}
    assert folders == {f"spool/log/date=2026-03-0{day}/camera=cam{camera}" for day in (1, 2) for camera in (0, 1)}


def test_rows_are_on_the_disk_without_close(tmp_path: Path) -> None:
    """While the log is open, another reader finds the flushed rows in the segment: the first ones, in their order."""
    log = DeviceLog(tmp_path, "run", flush_seconds=0.1)
    records = rows(30)
    for one in records:
        log.append(one)
    wait_for(lambda: log.flushed == 30)
    (path,) = (tmp_path / "segments").iterdir()
    table, torn = read_segment(path)
    assert table.equals(to_table(records))
    assert not torn
    log.close()


def test_a_segment_becomes_parquet_by_age(tmp_path: Path) -> None:
    """A camera that takes few frames does not keep them from the store."""
    log = DeviceLog(tmp_path, "run", flush_seconds=0.05, seconds_a_file=0.1)
    log.append(rows(1)[0])
    wait_for(lambda: list(tmp_path.rglob("*.parquet")))
    assert len(log_of(tmp_path)) == 1
    log.close()


def test_the_next_run_takes_up_what_was_left(tmp_path: Path) -> None:
    """Segments of killed runs become Parquet, also when the new run has the same name and numbers its own."""
    (tmp_path / "segments").mkdir()
    for number, life in ((0, 3), (1, 4)):
        Segment(tmp_path / f"segments/run-{number:06d}.arrow").write(to_batch(rows(5, life)))
    log = DeviceLog(tmp_path, "run")
    for one in rows(5):
        log.append(one)
    log.close()
    assert len(log_of(tmp_path)) == 15


@pytest.mark.parametrize("cut", range(1, 400, 57))
def test_a_torn_end_costs_only_itself(tmp_path: Path, cut: int) -> None:
    """Bytes that a power cut took from the last batch take no row of the batches before it."""
    path = tmp_path / "run-000000.arrow"
    segment = Segment(path)
    segment.write(to_batch(rows(6)))
    whole = path.stat().st_size
    segment.write(to_batch(rows(9, life=1)))
    os.truncate(segment.close(), path.stat().st_size - cut)
    assert path.stat().st_size > whole
    table, torn = read_segment(path)
    assert table.equals(to_table(rows(6)))
    assert torn


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"no Arrow at all", b"\xff\xff\xff\xff\x10"])
def test_a_segment_without_rows_is_taken_away(tmp_path: Path, content: bytes) -> None:
    """A run that was killed before its first flush leaves nothing that stops the next."""
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments/old-000000.arrow").write_bytes(content)
    log = DeviceLog(tmp_path, "run")
    log.append(rows(1)[0])
    log.close()
    assert log.error is None
    assert len(log_of(tmp_path)) == 1
    assert not list((tmp_path / "segments").iterdir())


def test_a_segment_that_is_no_log_stops_nothing(tmp_path: Path) -> None:
    """A stream of other columns is put aside, counted, and the log goes on."""
    (tmp_path / "segments").mkdir()
    other = pa.RecordBatch.from_pydict({"x": [1, 2]})
    path = tmp_path / "segments/old-000000.arrow"
    path.write_bytes(bytes(other.schema.serialize()) + bytes(other.serialize()))
    log = DeviceLog(tmp_path, "run")
    log.append(rows(1)[0])
    log.close()
    assert (log.torn, log.error, log.lost) == (1, None, 0)
    assert [one.name for one in (tmp_path / "segments").iterdir()] == ["old-000000.broken"]
    assert len(log_of(tmp_path)) == 1


def test_a_frame_that_cannot_be_measured_costs_only_itself(tmp_path: Path) -> None:
    """An image of no pixels is counted as lost, and the thread goes on."""
    log = DeviceLog(tmp_path, "run")
    empty = DeferredStatistics(np.zeros((0, 0, 3), np.uint8))
    log.append(replace(rows(1)[0], inference=replace(rows(1)[0].inference, statistics=empty)))
    log.append(rows(2)[1])
    log.close()
    assert (log.flushed, log.lost) == (1, 1)


def test_the_same_segment_gives_the_same_files(tmp_path: Path) -> None:
    """Killed between Parquet and the segment's removal, the next run writes the same names again, not new ones."""
    path = tmp_path / "run-000000.arrow"
    segment = Segment(path)
    segment.write(to_batch([*rows(6), *rows(6, life=1)]))
    segment_to_parquet(segment.close(), tmp_path / "spool")
    first = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    shutil.rmtree(tmp_path / "spool")
    segment_to_parquet(path, tmp_path / "spool")
    assert {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.parquet")} == first
    assert len(first) == 4


def test_a_failed_write_is_cut_back(tmp_path: Path) -> None:
    """What did not fit leaves no half batch: the segment goes on when there is room again."""
    segment = Segment(tmp_path / "run-000000.arrow")
    segment.write(to_batch(rows(5)))
    before = segment.path.stat().st_size
    with no_file_over(before + 100), pytest.raises(OSError, match="large"):
        segment.write(to_batch(rows(5, life=1)))
    assert segment.path.stat().st_size == before
    segment.write(to_batch(rows(5, life=2)))
    table, torn = read_segment(segment.close())
    assert table.equals(to_table([*rows(5), *rows(5, life=2)]))
    assert not torn


def test_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    """While the disk is full rows wait in memory and `error` says so; when it has room again none is missing."""
    log, records = DeviceLog(tmp_path, "run", flush_seconds=0.05), rows(40)
    with no_file_over(10):
        for one in records:
            log.append(one)
        wait_for(lambda: log.error)
        assert "cannot be written" in str(log.error)
        assert (log.flushed, log.waiting) == (0, 40)
    wait_for(lambda: log.flushed == 40)
    log.close()
    assert (log.lost, log.error) == (0, None)
    assert log_of(tmp_path)["frame_id"].to_pylist() == [one.frame_id for one in records]


def test_full_disk_takes_images_first(tmp_path: Path) -> None:
    """Images of the spool make room for rows."""
    image = tmp_path / "spool/frames/ab/abcd.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"0" * (spool.ROOM_BYTES + 1))
    log = DeviceLog(tmp_path, "run", flush_seconds=0.05)
    with no_file_over(10):
        log.append(rows(1)[0])
        wait_for(lambda: not image.exists())
    log.close()
    assert log.lost == 0


def test_waiting_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stays full costs rows, counted, and not the memory; close gives up and counts the rest."""
    monkeypatch.setattr(segments, "WAITING_ROWS", 10)
    log = DeviceLog(tmp_path, "run", flush_seconds=0.05)
    with no_file_over(10):
        for one in rows(25):
            log.append(one)
        assert (log.rows, log.lost) == (10, 15)
        log.close()
    assert (log.flushed, log.lost) == (0, 25)


def test_an_unfit_row_costs_only_itself(tmp_path: Path) -> None:
    """A row that does not fit the schema is counted as lost; its neighbours are written."""
    good = rows(4)
    bad = replace(good[1], artifact_id=7)  # type: ignore[arg-type]
    log = DeviceLog(tmp_path, "run")
    for one in (good[0], bad, good[2], good[3]):
        log.append(one)
    log.close()
    assert (log.flushed, log.lost) == (3, 1)
    assert len(log_of(tmp_path)) == 3


def test_files_are_of_this_version(tmp_path: Path) -> None:
    """Parquet from a segment carries the schema's version, as the replay's does."""
    log = DeviceLog(tmp_path, "run")
    log.append(replace(rows(1)[0], inference=replace(rows(1)[0].inference, detections=Detections.empty())))
    log.close()
    (path,) = tmp_path.rglob("*.parquet")
    assert pq.read_schema(path).names == LOG_SCHEMA.names
    assert pq.read_metadata(path).metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
