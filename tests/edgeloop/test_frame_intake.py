"""Frames into the store: whole, once, catalogued, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pyarrow as pa
import pytest

from edgeloop import frame_intake
from edgeloop.errors import BadInput
from edgeloop.formats import images
from edgeloop.formats.images import MAXIMUM_BYTES
from edgeloop.frame_intake import RegisterReport, one_row, register, row_of
from edgeloop.frames import frame_id
from edgeloop.inspection import InspectionCache
from edgeloop.store import FrameStore
from tests.labelled_sets import encoded, smooth


def photos(folder: Path, count: int, side: int = 64) -> list[Path]:
    """Different pictures, old enough to be settled."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        path = folder / f"cam{number % 3}_20260301T0815{number % 60:02d}.{number % 1000:03d}Z.jpg"
        path.write_bytes(encoded(".jpg", smooth(number, side, side)))
        found.append(path)
    return found


def chunks_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are, and however few files."""
    monkeypatch.setattr("edgeloop.spread.CHUNK", size)
    monkeypatch.setattr("edgeloop.spread.SHARES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def rows(store: Path) -> list[dict[str, object]]:
    return FrameStore(str(store)).catalogue.read().sort_by("frame_id").to_pylist()


def content_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "frames").rglob("*") if path.is_file()}


def test_every_frame_is_stored_and_described(tmp_path: Path) -> None:
    """The store has the bytes, and a row has camera, time, size and look."""
    paths = photos(tmp_path / "in", 20)
    report = register(tmp_path / "in", str(tmp_path / "store"))
    assert (report.added, report.present, report.rejected) == (20, 0, ())
    found = {row["frame_id"]: row for row in rows(tmp_path / "store")}
    assert set(found) == {frame_id(path.read_bytes()) for path in paths}
    for path in paths:
        identity = frame_id(path.read_bytes())
        assert FrameStore(str(tmp_path / "store")).get(identity) == path.read_bytes()
        assert found[identity]["camera"] == path.name[:4]
        assert (found[identity]["width"], found[identity]["height"]) == (64, 64)
        assert found[identity]["bytes"] == path.stat().st_size
        assert 0 < float(str(found[identity]["brightness"])) < 255


def test_twice_changes_nothing(tmp_path: Path) -> None:
    """Not a byte below the store, with and without what was kept of the first time."""
    photos(tmp_path / "in", 12)
    cache = tmp_path / "cache"
    register(tmp_path / "in", str(tmp_path / "store"), InspectionCache(cache, tmp_path / "in"))
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    for kept in (InspectionCache(cache, tmp_path / "in"), None):
        again = register(tmp_path / "in", str(tmp_path / "store"), kept)
        assert (again.added, again.present) == (0, 12)
        assert before == {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}


def test_equal_files_are_one_frame_and_resembling_ones_are_counted(tmp_path: Path) -> None:
    """A copy is present; a picture compressed again is a frame of its own and a near duplicate."""
    first, *_ = photos(tmp_path / "in", 5)
    (tmp_path / "in/copy.jpg").write_bytes(first.read_bytes())
    again = cv2.imencode(".jpg", cv2.imread(str(first)), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    (tmp_path / "in/again.jpg").write_bytes(again)
    report = register(tmp_path / "in", str(tmp_path / "store"))
    assert (report.added, report.present, report.near_duplicates) == (6, 1, 2)


def test_resembling_frames_of_another_day_are_counted(tmp_path: Path) -> None:
    """A new frame is compared with what the store had before, and the old one is not counted again."""
    first, *_ = photos(tmp_path / "in", 5)
    register(tmp_path / "in", str(tmp_path / "store"))
    (tmp_path / "later").mkdir()
    again = cv2.imencode(".jpg", cv2.imread(str(first)), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    (tmp_path / "later/again.jpg").write_bytes(again)
    report = register(tmp_path / "later", str(tmp_path / "store"))
    assert (report.added, report.near_duplicates) == (1, 1)


@pytest.mark.parametrize("size", [1, 4])
def test_what_is_no_image_is_named_and_the_rest_goes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Truncated, empty, another thing, and two gigabytes of nothing: each with its reason, none read whole."""
    chunks_of(size, monkeypatch)
    first, *_ = photos(tmp_path / "in", 4)
    (tmp_path / "in/cut.jpg").write_bytes(first.read_bytes()[:-200])
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/text.png").write_text("no picture")
    with (tmp_path / "in/huge.jpg").open("wb") as file:
        file.truncate(2 * 10**9)
    report = register(tmp_path / "in", str(tmp_path / "store"))
    assert report.added == 4
    assert {finding.path.name: finding.kind for finding in report.rejected} == {
        "cut.jpg": "unreadable-image", "empty.jpg": "unreadable-image", "text.png": "unreadable-image",
        "huge.jpg": "oversized-image",
    }  # fmt: skip
    assert f"at most {MAXIMUM_BYTES / 1e6:.0f} MB" in next(f.reason for f in report.rejected if "huge" in f.path.name)


def test_frames_that_a_device_uploaded_are_found_without_a_catalogue(tmp_path: Path) -> None:
    """What lies below frames/ is in the store; registering it adds the row that was missing."""
    (path,) = photos(tmp_path / "in", 1)
    identity = frame_id(path.read_bytes())
    FrameStore(str(tmp_path / "store")).put(identity, ".jpg", path.read_bytes())
    assert identity in FrameStore(str(tmp_path / "store"))
    assert rows(tmp_path / "store") == []
    assert register(tmp_path / "in", str(tmp_path / "store")).added == 1
    assert [row["frame_id"] for row in rows(tmp_path / "store")] == [identity]


def test_half_a_frame_of_a_stopped_run_is_written_again(tmp_path: Path) -> None:
    """A power cut may leave a stored file without its content; it is not in the catalogue, so it is not trusted."""
    (path,) = photos(tmp_path / "in", 1)
    identity = frame_id(path.read_bytes())
    stored = tmp_path / "store/frames" / identity[:2] / f"{identity}.jpg"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"\0" * path.stat().st_size)
    register(tmp_path / "in", str(tmp_path / "store"))
    assert stored.read_bytes() == path.read_bytes()


RUN = """
import sys
from pathlib import Path
from edgeloop import frame_intake, spread
from edgeloop.inspection import InspectionCache
frame_intake.BATCH = spread.CHUNK = 16
source, place = Path(sys.argv[1]), Path(sys.argv[2])
frame_intake.register(source, str(place / "store"), InspectionCache(place / "cache", source))
"""


@pytest.mark.integration
def test_killed_at_any_point_it_goes_on(tmp_path: Path, root: Path) -> None:
    """SIGKILL again and again: in the end the store and the catalogue are those of one undisturbed run."""
    photos(tmp_path / "in", 300)
    undisturbed = register(tmp_path / "in", str(tmp_path / "whole"))
    assert undisturbed.added == 300
    moments = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", RUN, str(tmp_path / "in"), str(tmp_path / "killed")]
    for _ in range(6):
        process = subprocess.Popen(command, env=environment)
        time.sleep(moments.uniform(0.2, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = FrameStore(str(tmp_path / "killed/store"))
        for row in store.catalogue.read(["frame_id"]).column(0).to_pylist():
            assert frame_id(store.get(row)) == row, "a frame that the catalogue names is whole"
    subprocess.run(command, env=environment, check=True)
    assert content_of(tmp_path / "killed/store") == content_of(tmp_path / "whole")
    assert rows(tmp_path / "killed/store") == rows(tmp_path / "whole")


def test_many_frames_go_through_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes store them just so."""
    monkeypatch.setattr("edgeloop.spread.WORTH_PROCESSES", 10)
    chunks_of(4, monkeypatch)
    paths = photos(tmp_path / "in", 30)
    report = register(tmp_path / "in", str(tmp_path / "store"))
    assert isinstance(report, RegisterReport)
    assert report.added == len(paths) == len(content_of(tmp_path / "store"))


def test_batches_come_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many frames a batch has, the rows are the same."""
    photos(tmp_path / "in", 25)
    register(tmp_path / "in", str(tmp_path / "one"))
    monkeypatch.setattr(frame_intake, "BATCH", 4)
    chunks_of(4, monkeypatch)
    register(tmp_path / "in", str(tmp_path / "many"))
    assert rows(tmp_path / "one") == rows(tmp_path / "many")
    assert len(list((tmp_path / "many/catalogue").rglob("*.parquet"))) > 1


@pytest.mark.parametrize(
    ("url", "reason"), [("gopher://store", "gopher://store cannot be opened"), ("a file", "file refused")]
)
def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path: Path, url: str, reason: str) -> None:
    """An unknown kind of address, or a file where the folder should be."""
    photos(tmp_path / "in", 1)
    if url == "a file":
        (tmp_path / "file").touch()
        url = str(tmp_path / "file")
    with pytest.raises(BadInput, match=reason):
        register(tmp_path / "in", url)


@pytest.mark.parametrize("worth", [1, 10_000])
def test_a_store_that_refuses_frames_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    """Whether a thread or another process hears it."""
    photos(tmp_path / "in", 5)
    monkeypatch.setattr("edgeloop.spread.WORTH_PROCESSES", worth)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/frames").write_text("a file where the folder should be")
    with pytest.raises(BadInput, match=f"^{tmp_path / 'store'} refused"):
        register(tmp_path / "in", str(tmp_path / "store"))


@pytest.mark.parametrize("batch", [4, 4096])
def test_a_store_that_refuses_a_batch_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """It fails beside the next batch, or at the end, and is said once.

    An error that became its own cause's cause was looked through for ever.
    """
    photos(tmp_path / "in", 25)
    monkeypatch.setattr(frame_intake, "BATCH", batch)
    monkeypatch.setattr(FrameStore, "sync", refuse)
    with pytest.raises(BadInput, match=r"store refused \(.*Input/output error\); check its address"):
        register(tmp_path / "in", str(tmp_path / "store"))
    monkeypatch.undo()
    assert register(tmp_path / "in", str(tmp_path / "store")).added == 25


@pytest.mark.parametrize("batch", [1, 4096])
def test_whoever_adds_frames_hears_it_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """A video and a log are taken in without `register`."""
    facts = images.inspect(photos(tmp_path / "in", 1)[0])
    assert isinstance(facts, images.ImageFacts)
    monkeypatch.setattr(frame_intake, "BATCH", batch)
    monkeypatch.setattr(FrameStore, "sync", refuse)
    where = {"camera": "cam1", "time": datetime(2026, 3, 1, tzinfo=timezone.utc), "source": "video"}
    row = one_row(row_of(facts, 1000, ".jpg") | where)
    with pytest.raises(BadInput, match=r"store refused \(.*Input/output error\); check its address"):
        add_all(str(tmp_path / "store"), [row] * 3)


def add_all(store: str, rows: list[pa.Table]) -> None:
    with frame_intake.Intake(store) as intake:
        for row in rows:
            intake.add(row)


def refuse(_: object) -> None:
    """As a broken disk does."""
    raise OSError(errno.EIO, "Input/output error")


def test_a_file_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever its size was said to be, and though a read may give less than was asked for."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 1000)))
    for said in (0, 100, 5120, 9999):
        descriptor = os.open(path, os.O_RDONLY)
        assert frame_intake._all_of(descriptor, said) == path.read_bytes()
        os.close(descriptor)


def test_pictures_that_do_not_fit_together_are_measured_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is found of a picture does not depend on how many were decoded before it was measured."""
    files = [(path, path.read_bytes()) for path in photos(tmp_path / "in", 9)]
    files.insert(4, (tmp_path / "broken.jpg", b"\xff\xd8\xff and no more"))
    expected = images.inspect_contents(files)
    for held in (1, 9000):
        monkeypatch.setattr(images, "TOGETHER_BYTES", held)
        assert images.inspect_contents(files) == expected
    assert len(expected) == len(files)
    assert [isinstance(one, images.ImageFacts) for one in expected].count(False) == 1
