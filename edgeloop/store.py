"""The frame store: every production frame once, named by its content, on any fsspec URL.

<store>/frames/<aa>/<frame_id>.jpg        aa: the first two digits of the id
<store>/catalogue/…                       what registered frames look like (`edgeloop.frame_catalogue`)
<store>/.writing/…                        frames that are being written; on this machine only
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from edgeloop.edge.log import is_object_store, put
from edgeloop.errors import BadInput
from edgeloop.file_systems import open_store, said_plainly
from edgeloop.files import sync_file_system
from edgeloop.frame_catalogue import FrameCatalogue

FRAMES, LOG, FLAGS, WRITING = "frames", "log", "flags", ".writing"  # what a store holds
STOPPED_SECONDS = 3600  # a frame takes milliseconds to write
_HOST = socket.gethostname()
TOGETHER = 32 << 20  # bytes that wait to be sent in one go
Put = Callable[[str, str, bytes], None]


class FrameStore:
    """Frames on one fsspec URL; a frame appears whole or not at all, and putting it twice changes nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = open_store(url)
        self._is_local = isinstance(self._files, LocalFileSystem)
        self._known: dict[str, dict[str, str]] = {}
        self._claim = threading.Lock()

    @property
    def place(self) -> Path | None:
        """The folder of the frames when the store is on this machine."""
        return Path(self._root, FRAMES) if self._is_local else None

    @property
    def catalogue(self) -> FrameCatalogue:
        """What is known of registered frames; a device's own uploads are not in it."""
        return FrameCatalogue(self._files, self._root)

    def put(self, frame_id: str, suffix: str, content: bytes) -> bool:
        """Store the bytes of a frame; False when they were there already. Any thread may call it.

        Raises:
            BadInput: the store refuses.
        """
        key = f"{self._root}/{frame_key(frame_id, suffix)}"
        with said_plainly(self.url):
            with self._claim:
                if self._beside(frame_id).setdefault(frame_id, key) is not key:
                    return False
            try:
                put(self._files, key, content)
            except BaseException:
                del self._beside(frame_id)[frame_id]
                raise
        return True

    def put_unsynced(self, frame_id: str, suffix: str, content: bytes) -> None:
        """Store the bytes of a frame without asking what is there; `sync` makes them last.

        On this machine a file appears whole, but may be lost in a power cut before `sync`. One that is there with
        these bytes is left alone.

        Raises:
            BadInput: the store refuses.
        """
        with self.together() as put_one:
            put_one(frame_id, suffix, content)

    @contextmanager
    def together(self) -> Iterator[Put]:
        """Give a `put_unsynced` for many frames; all are stored when the context is left.

        An object store gets them many at a time: one after the other, each waits for the answer to the one before.

        Raises:
            BadInput: the store refuses.
        """
        with said_plainly(self.url):
            if not is_object_store(self._files):
                yield self._put_alone
                return
            waiting: dict[str, bytes] = {}

            def gather(frame_id: str, suffix: str, content: bytes) -> None:
                waiting[f"{self._root}/{frame_key(frame_id, suffix)}"] = content
                if sum(map(len, waiting.values())) >= TOGETHER:
                    self._files.pipe(waiting)
                    waiting.clear()

            yield gather
            if waiting:
                self._files.pipe(waiting)

    def _put_alone(self, frame_id: str, suffix: str, content: bytes) -> None:
        key = f"{self._root}/{frame_key(frame_id, suffix)}"
        if not self._is_local:
            put(self._files, key, content)
        elif not _holds(key, content):
            _write_unsynced(self._root, key, content)

    def sync(self) -> None:
        """Bring everything that was put to the disk; object stores have done so."""
        if self._is_local:
            sync_file_system(Path(self._root))

    def clear(self) -> None:
        """Remove what writers left half-written that were stopped an hour ago or longer."""
        for path in Path(self._root, WRITING).glob("*") if self._is_local else ():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > STOPPED_SECONDS:
                    path.unlink()

    def get(self, frame_id: str) -> bytes:
        """The bytes of a frame.

        Raises:
            BadInput: the store does not have it, or refuses.
        """
        key = self.find(frame_id)
        with said_plainly(self.url):
            content: bytes = self._files.cat_file(key)
        return content

    def find(self, frame_id: str) -> str:
        """Where a frame lies: a path on this machine, or the key in the store's file system.

        Raises:
            BadInput: the store does not have it, or refuses.
        """
        with said_plainly(self.url):
            found = self._beside(frame_id).get(frame_id)
        if found is None:
            raise BadInput(f"the store {self.url} does not hold the frame {frame_id}; register the frames first.")
        return found

    def __contains__(self, frame_id: str) -> bool:
        with said_plainly(self.url):
            return frame_id in self._beside(frame_id)

    def _beside(self, frame_id: str) -> dict[str, str]:
        """Key by frame id in the folder of a frame, listed once: a 256th of the store, not all of it for one frame.

        What another process adds meanwhile is written again, with equal bytes.
        """
        folder = frame_id[:2]
        if folder not in self._known:
            keys = self._files.find(f"{self._root}/{FRAMES}/{folder}")
            listed = {Path(key).stem: key for key in keys if not Path(key).name.startswith(".")}
            self._known.setdefault(folder, listed)
        return self._known[folder]


def _holds(key: str, content: bytes) -> bool:
    if not os.access(key, os.F_OK):  # a Path, and the error that is its answer, cost as much as the rest
        return False
    with open(key, "rb") as file:  # noqa: PTH123
        return file.read() == content


def _write_unsynced(root: str, key: str, content: bytes) -> None:
    temporary = f"{root}/{WRITING}/{_HOST}-{os.getpid()}-{threading.get_ident()}"
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(temporary, how, 0o666)
    except FileNotFoundError:
        Path(root, WRITING).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, how, 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
    try:
        os.replace(temporary, key)  # noqa: PTH105
    except FileNotFoundError:
        Path(key).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, key)  # noqa: PTH105


def frame_key(frame_id: str, suffix: str = ".jpg") -> str:
    """Where the image of a frame lies below a store, and below a device's spool."""
    return f"{FRAMES}/{frame_id[:2]}/{frame_id}{suffix}"
