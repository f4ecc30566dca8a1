"""A device's log into another store: everything, once, without disturbing the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.records import record
from edgeloop.edge.flags import flag_now, read_flags, write_flag
from edgeloop.edge.log import read_log
from edgeloop.edge.log_schema import VERSION_KEY
from edgeloop.edge.retention import ImageKeeper, Retention
from edgeloop.edge.segments import DeviceLog
from edgeloop.edge.upload import Uploader
from edgeloop.errors import BadInput
from edgeloop.log_intake import LogReport, is_log, take_log
from edgeloop.store import FrameStore

FRAMES = 12
EVERYTHING = Retention(every=None, uncertain=False, audit=0, recent=0, keep_all=True)


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 64, 3)).astype(np.uint8)


class Device:
    """A device's folder with what an agent writes into it, still open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = DeviceLog(folder, "run", flush_seconds=0.1, rows_a_file=8)
        self.keeper = ImageKeeper(folder, EVERYTHING, 10**9, self.log.append)

    def see(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.log.append(self.keeper.offer(record(number, image(number)), image(number)))
            self.wait(lambda: not self.keeper.waiting)  # it drops what comes faster than it encodes
        self.wait(lambda: self.log.flushed == self.log.rows)

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not until() and time.monotonic() < end:
            time.sleep(0.01)

    def close(self) -> None:
        self.keeper.close()
        self.log.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "device")
    made.see(0, FRAMES)
    write_flag(made.folder, flag_now(ids()[3], "false-positive"))
    yield made
    made.close()


def ids(count: int = FRAMES) -> list[str]:
    return [f"{0:06x}{number:010x}" for number in range(count)]


def take(device: Device, tmp_path: Path) -> LogReport:
    return take_log(str(device.folder), str(tmp_path / "store"))


def everything(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


def test_all_of_a_running_device_arrives(device: Device, tmp_path: Path) -> None:
    """Rows, the unfinished segment's among them, images under the device's names, flags; the device is as before."""
    before = everything(device.folder, "[!.]*")  # what the device is writing gets its name when it is whole
    report = take(device, tmp_path)
    assert (report.rows, report.frames, report.flags, report.rejected) == (FRAMES, FRAMES, 1, ())
    assert sorted(read_log(str(tmp_path / "store/log")).column("frame_id").to_pylist()) == ids()
    rows = {row["frame_id"]: row for row in FrameStore(str(tmp_path / "store")).catalogue.read().to_pylist()}
    assert sorted(rows) == ids()
    for number, name in enumerate(ids()):
        assert rows[name]["camera"] == f"cam{number % 2}"
        assert FrameStore(str(tmp_path / "store")).get(name)
    assert [flag.frame_id for flag in read_flags(str(tmp_path / "store"))] == [ids()[3]]
    after = everything(device.folder, "[!.]*")  # the device itself makes Parquet of full segments meanwhile
    assert [key for key in before if key not in after and "segments" not in key] == []
    assert {key: after[key] for key in before if key in after} == {key: before[key] for key in before if key in after}


def test_twice_changes_nothing(device: Device, tmp_path: Path) -> None:
    """Not a byte."""
    take(device, tmp_path)
    before = everything(tmp_path / "store")
    again = take(device, tmp_path)
    assert (again.rows, again.frames, again.flags, again.files) == (0, 0, 0, 0)
    assert before == everything(tmp_path / "store")


def test_what_the_device_sees_later_follows(device: Device, tmp_path: Path) -> None:
    """And what it uploads by itself in the end adds no row and no image twice."""
    take(device, tmp_path)
    device.see(FRAMES, FRAMES + 5)
    take(device, tmp_path)
    device.close()
    uploader = Uploader(device.folder / "spool", str(tmp_path / "store"), budget_bytes=10**9)
    uploader.start()
    uploader.close(30)
    assert sorted(read_log(str(tmp_path / "store/log")).column("frame_id").to_pylist()) == ids(FRAMES + 5)
    assert len(read_flags(str(tmp_path / "store"))) == 1


def test_from_another_store(device: Device, tmp_path: Path) -> None:
    """A store on any file system is a source, too."""
    first = take(device, tmp_path)
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "store") + "/", "/line1/", recursive=True)
    try:
        report = take_log("memory://line1", str(tmp_path / "second"))
    finally:
        files.rm("/line1", recursive=True)
    assert (report.rows, report.frames, report.flags) == (first.rows, first.frames, first.flags)
    kept = {key: content for key, content in everything(tmp_path / "second").items() if "catalogue" not in key}
    assert kept == {key: content for key, content in everything(tmp_path / "store").items() if "catalogue" not in key}


@pytest.mark.parametrize("top", ["log", "flags", "frames"])
def test_a_store_that_refuses_is_named(device: Device, tmp_path: Path, top: str) -> None:
    """Not the device, which gave what it has."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / top).write_text("a file where the folder should be")
    with pytest.raises(BadInput, match=f"^{tmp_path / 'store'} refused"):
        take(device, tmp_path)


def damage(content: bytes) -> bytes:
    return content[: len(content) // 2]


def newer(content: bytes) -> bytes:
    table = pq.read_table(BytesIO(content)).replace_schema_metadata({VERSION_KEY: b"99"})
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def rewrite(device: Device, change: Callable[[bytes], bytes]) -> Path:
    device.close()
    path = sorted((device.folder / "spool/log").rglob("*.parquet"))[0]
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_damaged_file_is_left_out_and_named(device: Device, tmp_path: Path) -> None:
    """The others are taken; images that only its rows name stay away, for nobody can say whose they are."""
    path = rewrite(device, damage)
    report = take(device, tmp_path)
    assert any(left.path.endswith(path.name) and "damaged" in left.reason for left in report.rejected)
    assert 0 < report.rows < FRAMES
    assert report.frames == report.rows


def test_a_newer_log_is_refused(device: Device, tmp_path: Path) -> None:
    """In one sentence that says what to do."""
    rewrite(device, newer)
    with pytest.raises(BadInput, match=r"version 99; this edgeloop reads .*Update edgeloop"):
        take(device, tmp_path)


def test_a_picture_under_a_wrong_name_is_left_out(device: Device, tmp_path: Path) -> None:
    """So is a file that is no picture, a flag that is no flag, and a name that is no key of a store."""
    device.close()
    frames = device.folder / "spool/frames/ff"
    frames.mkdir(parents=True)
    (frames / ("f" * 16 + ".jpg")).write_bytes(next((device.folder / "spool/frames").rglob("*.jpg")).read_bytes())
    (frames / ("e" * 16 + ".jpg")).write_text("no picture")
    (frames / "..evil.jpg").write_text("no key")
    flags = device.folder / "spool/flags/date=2026-03-01"
    flags.mkdir(parents=True, exist_ok=True)
    (flags / ("d" * 16 + ".json")).write_text('{"frame_id": 3}')
    report = take(device, tmp_path)
    assert {Path(left.path).name[0] for left in report.rejected} == {"f", "e", "d"}
    assert report.frames == FRAMES
    assert not [key for key in everything(tmp_path / "store") if "evil" in key or "f" * 16 in key]


def test_what_is_no_log_is_one_sentence(tmp_path: Path) -> None:
    """A folder of anything else."""
    (tmp_path / "images").mkdir()
    assert not is_log(str(tmp_path))
    with pytest.raises(BadInput, match="holds no inference log"):
        take_log(str(tmp_path), str(tmp_path / "store"))
