"""The frame store: every production frame once, named by its content, on any fsspec URL.

<store>/frames/<aa>/<frame_id>.jpg        aa: the first two digits of the id
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from edgeloop.errors import BadInput
from edgeloop.files import atomic_file
from edgeloop.formats.assemble import require_images
from edgeloop.formats.findings import Finding, warning
from edgeloop.formats.images import MAXIMUM_BYTES, ImageFacts, inspect_content
from edgeloop.progress import bar
from edgeloop.record import Record

FRAMES, LOG, FLAGS = "frames", "log", "flags"  # what a store holds


class RegisterReport(Record):
    """What registering a folder of frames changed.

    Attributes:
        store: the store's URL.
        place: the folder of the frames when the store is on this machine.
        added: frames that are new in the store.
        present: frames that were there, or came twice.
        rejected: files that are no usable image, each with path and reason; the others were taken in.
    """

    store: str
    place: Path | None
    added: int
    present: int
    rejected: tuple[Finding, ...]


class FrameStore:
    """Frames on one fsspec URL; a frame appears whole or not at all, and putting it twice changes nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = open_store(url)
        self._known: dict[str, str] | None = None
        self._claim = threading.Lock()

    @property
    def place(self) -> Path | None:
        """The folder of the frames when the store is on this machine."""
        return Path(self._root, FRAMES) if isinstance(self._files, LocalFileSystem) else None

    def put(self, frame_id: str, suffix: str, content: bytes) -> bool:
        """Store the bytes of a frame; False when they were there already. Any thread may call it."""
        key = f"{self._root}/{frame_key(frame_id, suffix)}"
        with self._claim:
            if self._index().setdefault(frame_id, key) is not key:
                return False
        if self.place is not None:
            with atomic_file(Path(key)) as temporary:
                temporary.write_bytes(content)
        else:
            self._files.pipe_file(key, content)  # object stores show an object only when all of it arrived
        return True

    def get(self, frame_id: str) -> bytes:
        """The bytes of a frame.

        Raises:
            BadInput: the store does not have it.
        """
        content: bytes = self._files.cat_file(self.find(frame_id))
        return content

    def find(self, frame_id: str) -> str:
        """Where a frame lies: a path on this machine, or the key in the store's file system.

        Raises:
            BadInput: the store does not have it.
        """
        found = self._index().get(frame_id)
        if found is None:
            raise BadInput(f"the store {self.url} does not hold the frame {frame_id}; register the frames first.")
        return found

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._index()

    def _index(self) -> dict[str, str]:
        """Key by frame id, listed once; what another process adds meanwhile is written again, with equal bytes."""
        if self._known is None:
            keys = self._files.find(f"{self._root}/{FRAMES}")
            self._known = {Path(key).stem: key for key in keys if not Path(key).name.startswith(".")}
        return self._known


def frame_key(frame_id: str, suffix: str = ".jpg") -> str:
    """Where the image of a frame lies below a store, and below a device's spool."""
    return f"{FRAMES}/{frame_id[:2]}/{frame_id}{suffix}"


def open_store(url: str) -> tuple[Any, str]:
    """The file system of an fsspec URL, and the path in it without a slash at its end.

    Raises:
        BadInput: the URL is of a kind that this installation cannot open.
    """
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadInput(f"the store {url!r} cannot be opened ({error}); expected a folder or an fsspec URL.") from error
    return files, str(root).rstrip("/")


def register(folder: Path, url: str) -> RegisterReport:
    """Copy every image below `folder` into the store, on all cores.

    Raises:
        BadInput: no such folder, no image in it, or a store that cannot be opened.
    """
    paths = require_images(folder)
    store = FrameStore(url)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = list(bar(pool.map(lambda path: _register(store, path), paths), "registering frames", len(paths)))
    return RegisterReport(
        store=url,
        place=store.place,
        added=sum(item is True for item in done),
        present=sum(item is False for item in done),
        rejected=_findings(done),
    )


def _findings(done: Iterable[bool | Finding]) -> tuple[Finding, ...]:
    return tuple(item for item in done if isinstance(item, Finding))


def _register(store: FrameStore, path: Path) -> bool | Finding:
    try:
        if (size := path.stat().st_size) > MAXIMUM_BYTES:
            return warning("oversized-image", path, f"{size / 1e6:.0f} MB, at most {MAXIMUM_BYTES / 1e6:.0f} MB")
        content = path.read_bytes()
    except OSError as problem:
        return warning("unreadable-image", path, str(problem.strerror))
    fact = inspect_content(path, content)
    if isinstance(fact, ImageFacts):
        return store.put(fact.frame_id, path.suffix.lower(), content)
    return fact.model_copy(update={"severity": "warning"})
