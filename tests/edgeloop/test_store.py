"""The frame store in a folder: whole frames, one of each, whoever writes at the same time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeloop.errors import BadInput
from edgeloop.frames import frame_id
from edgeloop.store import FrameStore

WRITERS = 4


@pytest.mark.parametrize("unsynced", [True, False])
def test_equal_frames_are_written_side_by_side(tmp_path: Path, unsynced: bool) -> None:
    """Copies of a file in one folder reach the store at the same moment; each is a success, and one file is there."""
    contents = [bytes([number]) * 50_000 for number in range(60)]
    store, together = FrameStore(str(tmp_path)), threading.Barrier(WRITERS, timeout=5)

    def write(_: int) -> int:
        done = 0
        for content in contents:
            together.wait()
            put = store.put_unsynced if unsynced else store.put
            done += put(frame_id(content), ".jpg", content) is not False
        return done

    with ThreadPoolExecutor(WRITERS) as pool:
        done = sum(pool.map(write, range(WRITERS)))
    assert done == len(contents) * (WRITERS if unsynced else 1)
    assert {path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == set(contents)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(contents)


def test_what_stopped_writers_left_is_cleared(tmp_path: Path) -> None:
    """A half-written frame of a writer that was killed goes when it is old; one that is being written stays."""
    store = FrameStore(str(tmp_path))
    store.put_unsynced("ab" * 8, ".png", b"whole")
    left, fresh = tmp_path / ".writing/host-1-1", tmp_path / ".writing/host-2-2"
    left.write_bytes(b"ha")
    fresh.write_bytes(b"ha")
    os.utime(left, (0, 0))
    store.clear()
    assert [path.name for path in (tmp_path / ".writing").iterdir()] == ["host-2-2"]


def test_a_frame_whose_write_failed_is_not_there(tmp_path: Path) -> None:
    """A store that refused once takes the frame when it is asked again."""
    store = FrameStore(str(tmp_path / "store"))
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(BadInput, match="refused"):
        store.put("ab" * 8, ".jpg", b"content")
    with pytest.raises(BadInput, match="refused"):
        store.put_unsynced("ab" * 8, ".jpg", b"content")
    (tmp_path / "store").unlink()
    assert store.put("ab" * 8, ".jpg", b"content")
    assert store.get("ab" * 8) == b"content"


def test_what_came_meanwhile_is_found_where_nobody_looked_yet(tmp_path: Path) -> None:
    """A store is listed folder by folder; a frame of another folder that a device brings meanwhile is there."""
    store = FrameStore(str(tmp_path))
    assert "ab" * 8 not in store
    FrameStore(str(tmp_path)).put("cd" * 8, ".png", b"later")
    assert store.get("cd" * 8) == b"later"


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_frames_that_go_together_are_all_there(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are stored when the context is left, and no more than a bounded number of bytes waits before."""
    url = str(tmp_path) if kind == "folder" else f"memory://{tmp_path.name}"
    monkeypatch.setattr("edgeloop.store.TOGETHER", 250)
    contents = {f"{number:02x}" * 8: bytes([number]) * 100 for number in range(7)}
    with FrameStore(url).together() as put:
        for name, content in list(contents.items())[:5]:
            put(name, ".jpg", content)
        assert sum(name in FrameStore(url) for name in contents) >= 3
        for name, content in list(contents.items())[5:]:
            put(name, ".jpg", content)
    assert {name: FrameStore(url).get(name) for name in contents} == contents
