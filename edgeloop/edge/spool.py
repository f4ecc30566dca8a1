"""The spool: complete files waiting for the store, under the keys that they will have there, within a budget.

    log/date=…/camera=…/<sha16>.parquet    frames/<aa>/<frame_id>.jpg    flags/date=…/<sha16>.json
    .protected/<frame_id>                  empty; this image is of the audit sample or was flagged: it goes last

When the budget is passed, images go first, oldest first; audit and flagged images after the others, log rows after all
images, the operator's flags last of all.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.files import sync_folder, write_bytes
from edgeloop.store import FLAGS, FRAMES, LOG

SPOOL = "spool"  # in the device's folder
PROTECTED = ".protected"
ROOM_BYTES = 16 * 2**20  # of images that give way on a full disk
SLACK = 1 / 16  # of the budget that an eviction frees beyond the need, so that it comes seldom
UNFINISHED_SECONDS = 60.0
MTIME_SETTLES_SECONDS = 2.0  # a folder that changed just now may change again within its time stamp's resolution


class Rank(IntEnum):
    """What goes first when there is no room; the higher, the longer it stays."""

    IMAGE = 0
    PROTECTED_IMAGE = 1
    LOG = 2
    FLAG = 3


TOPS = {LOG: (2, Rank.LOG), FLAGS: (1, Rank.FLAG), FRAMES: (1, Rank.IMAGE)}  # how deep the files lie, and their rank


class Entry(NamedTuple):
    """A file of the spool.

    Attributes:
        key: its path below the spool, and below the store.
        size: bytes.
        written: when, seconds since the epoch.
        rank: how long it stays.
    """

    key: str
    size: int
    written: float
    rank: Rank


@dataclass
class Evicted:
    """What had to go for want of room before it was uploaded."""

    images: int = 0
    protected_images: int = 0
    rows: int = 0
    flags: int = 0


class Totals(NamedTuple):
    """What waits: how many files, their bytes, and when the oldest was written, seconds since the epoch."""

    files: int
    bytes: int
    oldest: float | None


class _Folder(NamedTuple):
    changed: int  # its mtime in nanoseconds when it was listed
    files: dict[str, tuple[int, float]]
    totals: Totals


class Spool:
    """The files of one spool folder. Any number of these may look at one folder, in any process; any thread may call.

    Attributes:
        folder: of the spool.
        evicted: what this object had to remove.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.evicted = Evicted()
        self._known: dict[str, _Folder] = {}
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every complete file. Only folders that changed since the last call are read: 100,000 images cost little."""
        with self._lock:
            return list(self._walk())

    def totals(self, tops: Sequence[str] = tuple(TOPS)) -> Totals:
        """What waits below these top folders; costs one look at each folder, not at each file."""
        with self._lock:
            known = [self._look(place).totals for top in tops for place in self._places(top)]
        oldest = [one.oldest for one in known if one.oldest is not None]
        return Totals(sum(one.files for one in known), sum(one.bytes for one in known), min(oldest, default=None))

    def read(self, key: str) -> bytes | None:
        """The bytes of a file; None when it is gone."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, key: str) -> None:
        """Remove a file, and its protection."""
        path = self.folder / key
        path.unlink(missing_ok=True)
        if key.startswith(f"{FRAMES}/"):
            (self.folder / PROTECTED / path.stem).unlink(missing_ok=True)
            return
        for folder in list(path.parents)[: TOPS[key.split("/", 1)[0]][0]]:  # or a year leaves 365 folders to look into
            with suppress(OSError):  # not empty
                folder.rmdir()

    def protect(self, frame_id: str) -> None:
        """Let the image of a frame stay longest, now or when it comes."""
        marker = self.folder / PROTECTED / frame_id
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()

    def trim(self, budget_bytes: int, tops: Sequence[str] = tuple(TOPS), spare: str | None = None) -> list[Entry]:
        """When the files below `tops` pass the budget, remove until there is some room again.

        Args:
            budget_bytes: how much they may take together.
            tops: what is counted and may go.
            spare: a key that stays: it is being uploaded.

        Returns:
            What was removed, and is counted in `evicted`.
        """
        taken = self.totals(tops).bytes
        if taken <= budget_bytes:
            return []
        entries = [entry for entry in self.entries() if entry.key.split("/", 1)[0] in tops and entry.key != spare]
        excess, removed = taken - int(budget_bytes * (1 - SLACK)), list[Entry]()
        for entry in sorted(entries, key=lambda entry: (entry.rank, entry.written)):
            if excess <= 0:
                break
            self._evict(entry)
            removed.append(entry)
            excess -= entry.size
        return removed

    def make_room(self) -> list[Entry]:
        """Remove the first images that may go, because the disk is full; returns them."""
        return self.trim(max(self.totals((FRAMES,)).bytes - ROOM_BYTES, 0), (FRAMES,))

    def clear_unfinished(self) -> None:
        """Remove what killed writers left: half-written files, and marks of images that never came or have gone.

        What is being written now is younger, and stays.
        """
        images = {path.stem for path in self.folder.glob(f"{FRAMES}/*/[!.]*")}
        marks = [path for path in self.folder.glob(f"{PROTECTED}/*") if path.name not in images]
        for path in [*self.folder.rglob(".*.tmp"), *marks]:
            with suppress(FileNotFoundError):  # finished meanwhile
                if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                    path.unlink()

    def _evict(self, entry: Entry) -> None:
        if entry.rank == Rank.LOG:
            self.evicted.rows += _rows(self.folder / entry.key)
        elif entry.rank == Rank.FLAG:
            self.evicted.flags += 1
        elif entry.rank == Rank.PROTECTED_IMAGE:
            self.evicted.protected_images += 1
        else:
            self.evicted.images += 1
        self.remove(entry.key)

    def _walk(self) -> Iterator[Entry]:
        protected = self._look(PROTECTED).files
        for top, (_, rank) in TOPS.items():
            for place in self._places(top):
                for name, (size, written) in self._look(place).files.items():
                    held = rank == Rank.IMAGE and name.rsplit(".", 1)[0] in protected
                    yield Entry(f"{place}/{name}", size, written, Rank.PROTECTED_IMAGE if held else rank)

    def _places(self, top: str) -> list[str]:
        folders = _folders(self.folder / top, TOPS[top][0])
        return [folder.relative_to(self.folder).as_posix() for folder in folders]

    def _look(self, place: str) -> _Folder:
        path, known = self.folder / place, self._known.get(place)
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return _Folder(0, {}, Totals(0, 0, None))
        if known is None or known.changed != changed or time.time() - changed / 1e9 < MTIME_SETTLES_SECONDS:
            files = _list(path, known.files if known else {})
            sizes, times = [size for size, _ in files.values()], [written for _, written in files.values()]
            known = self._known[place] = _Folder(
                changed, files, Totals(len(files), sum(sizes), min(times, default=None))
            )
        return known


def _folders(top: Path, depth: int) -> list[Path]:
    """The folders `depth` levels below `top`."""
    level = [top] if top.is_dir() else []
    for _ in range(depth):
        level = [path for folder in level for path in _children(folder) if path.is_dir()]
    return level


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:  # removed meanwhile, because it was empty
        return []


def _list(path: Path, known: dict[str, tuple[int, float]]) -> dict[str, tuple[int, float]]:
    """Size and time of each file; complete files never change, so a known name is not looked at again."""
    found = {}
    with suppress(FileNotFoundError), os.scandir(path) as listing:
        for item in listing:
            if item.name in known:
                found[item.name] = known[item.name]
            elif not item.name.startswith("."):
                with suppress(FileNotFoundError):  # uploaded or evicted meanwhile
                    found[item.name] = item.stat().st_size, item.stat().st_mtime
    return found


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (FileNotFoundError, pa.ArrowInvalid):
        return 0


def put_by_content(spool: Path, folder: str, suffix: str, content: bytes) -> str:
    """Write a file named by its content, whole or not at all; returns its key. The same content is one file."""
    key = f"{folder}/{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    try:
        _put(spool / key, content)
    except FileNotFoundError:  # the folder was removed, because it was empty, just when this came
        _put(spool / key, content)
    return key


def _put(path: Path, content: bytes) -> None:
    write_bytes(path, content)
    sync_folder(path.parent)
