"""The spool: what is there, what goes first, and that others may write and remove meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.edge.spool import Evicted, Rank, Spool, put_by_content
from edgeloop.store import FLAGS, FRAMES, LOG

LOG_FOLDER, FLAG_FOLDER = f"{LOG}/date=2026-03-01/camera=cam1", f"{FLAGS}/date=2026-03-01"


def image(spool: Path, frame_id: str, size: int = 1000, written: float | None = None) -> str:
    path = spool / FRAMES / frame_id[:2] / f"{frame_id}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)
    if written is not None:
        os.utime(path, (written, written))
    return path.relative_to(spool).as_posix()


def parquet(spool: Path, rows: int) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": np.random.default_rng(rows).random(rows)}), sink)
    return put_by_content(spool, LOG_FOLDER, ".parquet", sink.getvalue().to_pybytes())


def test_files_are_named_by_their_content(tmp_path: Path) -> None:
    """The same content is one file; its name is the first 16 digits of its SHA-256."""
    keys = {put_by_content(tmp_path, FLAG_FOLDER, ".json", content) for content in (b"{}", b"{}", b"[]")}
    assert keys == {f"{FLAG_FOLDER}/{hashlib.sha256(content).hexdigest()[:16]}.json" for content in (b"{}", b"[]")}
    assert Spool(tmp_path).totals().files == 2


def test_entries_are_all_complete_files(tmp_path: Path) -> None:
    """Each has its rank; half-written files and protection marks are none."""
    keys = {
        image(tmp_path, "aa11"): Rank.IMAGE,
        image(tmp_path, "aa22"): Rank.PROTECTED_IMAGE,
        parquet(tmp_path, 3): Rank.LOG,
        put_by_content(tmp_path, FLAG_FOLDER, ".json", b"{}"): Rank.FLAG,
    }
    Spool(tmp_path).protect("aa22")
    (tmp_path / FRAMES / "aa/.half.jpg.1234.tmp").write_bytes(b"0")
    found = Spool(tmp_path).entries()
    assert {entry.key: entry.rank for entry in found} == keys
    assert all(entry.size == (tmp_path / entry.key).stat().st_size for entry in found)


def test_changes_of_others_are_seen(tmp_path: Path) -> None:
    """Files that another process adds and removes right after a look are in the next look."""
    spool = Spool(tmp_path)
    for number in range(20):
        key = image(tmp_path, f"aa{number:04d}")
        assert spool.totals().files == 1
        (tmp_path / key).unlink()
        assert spool.totals().files == 0


def test_totals(tmp_path: Path) -> None:
    """Number, bytes and the oldest, of all files or of some folders."""
    spool, now = Spool(tmp_path), time.time()
    assert spool.totals() == (0, 0, None)
    for number in range(3):
        image(tmp_path, f"{number}{number}ab", 100, now - 50 + number)
    size = (tmp_path / parquet(tmp_path, 1)).stat().st_size
    assert spool.totals().bytes == 300 + size
    assert spool.totals((FRAMES,))[:2] == (3, 300)
    assert spool.totals().oldest == pytest.approx(now - 50, abs=0.01)


def test_images_go_first_and_the_oldest_of_them(tmp_path: Path) -> None:
    """Ordinary images before protected ones, images before rows, rows before flags; all of it counted."""
    spool, now = Spool(tmp_path), time.time()
    keys = [image(tmp_path, f"{number:02d}ab", 1000, now - 100 + number) for number in range(6)]
    spool.protect("00ab")
    log, flag = parquet(tmp_path, 7), put_by_content(tmp_path, FLAG_FOLDER, ".json", b"{}")
    others = spool.totals((LOG, FLAGS)).bytes
    spool.trim(others + 4000)
    assert {entry.key for entry in spool.entries()} == {keys[0], *keys[3:], log, flag} - {keys[3]}
    spool.trim(others)
    assert {entry.key for entry in spool.entries()} >= {flag}
    assert not spool.totals((FRAMES,)).files
    spool.trim(0)
    assert spool.evicted == Evicted(images=5, protected_images=1, rows=7, flags=1)
    assert not list((tmp_path / ".protected").iterdir())


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 5000), max_size=12), budget=st.integers(0, 30_000))
def test_trim_keeps_the_budget(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], budget: int) -> None:
    """After a trim the files fit; without need nothing goes; a spared file stays."""
    folder = tmp_path_factory.mktemp("spool")
    keys = [image(folder, f"{number:02d}ab", size) for number, size in enumerate(sizes)]
    spool = Spool(folder)
    removed = spool.trim(budget, spare=keys[0] if keys else None)
    assert bool(removed) == (sum(sizes) > budget and len(sizes) > 1)
    if keys:
        assert (folder / keys[0]).exists()
        assert spool.totals().bytes <= max(budget, sizes[0])


def test_empty_folders_do_not_pile_up(tmp_path: Path) -> None:
    """A day's folder goes with its last file, and comes back when a file does."""
    spool = Spool(tmp_path)
    one, two = parquet(tmp_path, 1), parquet(tmp_path, 2)
    spool.remove(one)
    assert (tmp_path / LOG_FOLDER).is_dir()
    spool.remove(two)
    assert not list((tmp_path / LOG).glob("date=*"))
    assert spool.totals().files == 0
    parquet(tmp_path, 3)
    assert spool.totals().files == 1


def test_trim_of_images_leaves_rows(tmp_path: Path) -> None:
    """The images' own budget does not count or touch the log."""
    parquet(tmp_path, 1000)
    image(tmp_path, "aaaa", 500)
    assert Spool(tmp_path).trim(500, (FRAMES,)) == []
    assert [entry.size for entry in Spool(tmp_path).trim(499, (FRAMES,))] == [500]
    assert Spool(tmp_path).totals((LOG,)).files == 1


def test_unfinished_files_of_a_killed_run_go(tmp_path: Path) -> None:
    """Half-written files and marks without an image are removed; what is being written now is not."""
    key, spool, names = image(tmp_path, "aa11"), Spool(tmp_path), ("aa11", "aa22", "aa33")
    for name in names:
        spool.protect(name)
    old, new = tmp_path / FRAMES / "aa/.x.jpg.1.tmp", tmp_path / FRAMES / "aa/.y.jpg.2.tmp"
    marks = [tmp_path / ".protected" / name for name in names]
    for path in (old, new):
        path.write_bytes(b"0")
    for path in (old, *marks[:2]):
        os.utime(path, (time.time() - 3600,) * 2)
    spool.clear_unfinished()
    assert [path.exists() for path in (tmp_path / key, *marks, old, new)] == [True, True, False, True, False, True]
