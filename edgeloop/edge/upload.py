"""Brings the spool to the store: at least once, resumable, for days without a network, never in anybody's way."""

from __future__ import annotations

import random
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import fsspec

from edgeloop.edge.log import put
from edgeloop.edge.spool import Entry, Rank, Spool
from edgeloop.file_systems import open_store
from edgeloop.record import Record
from edgeloop.store import FRAMES

ORDER = {Rank.FLAG: 0, Rank.LOG: 1, Rank.PROTECTED_IMAGE: 2, Rank.IMAGE: 3}  # what is uploaded first
ROUND_SECONDS = 5.0  # then the spool is listed again, and new log files overtake old images
POLL_SECONDS = 1.0
JITTER = 0.2  # of a pause, so that a fleet does not come back all at once


class UploadStatus(Record):
    """How the upload goes.

    Attributes:
        files, bytes: waiting in the spool.
        oldest: when the oldest of them was written, UTC; None when nothing waits.
        last_error: why the last attempt failed; None after one that worked.
        uploaded, uploaded_bytes: files that the store has since the start.
        evicted_images, evicted_protected_images, evicted_rows, evicted_flags: removed for want of room.
    """

    files: int
    bytes: int
    oldest: datetime | None
    last_error: str | None
    uploaded: int
    uploaded_bytes: int
    evicted_images: int
    evicted_protected_images: int
    evicted_rows: int
    evicted_flags: int


class Uploader:
    """One thread that uploads, and one that keeps the spool within its budget even while the store hangs.

    A file is read, written to the store under its key, looked up there and then removed from the spool. A killed
    upload is done again; because a key names its content, that changes nothing in the store.
    """

    def __init__(
        self,
        spool: Path,
        store: str | None,
        *,
        budget_bytes: int,
        retry_seconds: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        """Prepare; nothing is touched before `start`.

        Args:
            spool: the device's spool folder.
            store: any fsspec URL; None keeps everything here, within the budget.
            budget_bytes: how much the spool may hold.
            retry_seconds: the first and the longest pause after a failure; each is twice the one before.

        Raises:
            BadInput: the URL is of a kind that this installation cannot open.
        """
        self._spool, self._budget, self._retry_seconds = Spool(spool), budget_bytes, retry_seconds
        self._store = None if store is None else open_store(store)
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._uploaded, self._uploaded_bytes = 0, 0
        self._failures: dict[str, int] = {}
        self._last_error: str | None = None
        self._sending: str | None = None
        work = [self._watch] if store is None else [self._watch, self._work]
        self._threads = [
            threading.Thread(target=one, name=f"edgeloop-spool{one.__name__}", daemon=True) for one in work
        ]

    def start(self) -> None:
        """Remove half-written files of a killed run and begin."""
        self._spool.clear_unfinished()
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Try for at most `timeout` seconds to bring the rest to the store; what stays is uploaded by the next run."""
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        for thread in self._threads:
            thread.join(max(self._deadline - time.monotonic(), 0))

    def status(self) -> UploadStatus:
        """How it goes; any thread may ask."""
        waiting, evicted = self._spool.totals(), self._spool.evicted
        return UploadStatus(
            files=waiting.files,
            bytes=waiting.bytes,
            oldest=None if waiting.oldest is None else datetime.fromtimestamp(waiting.oldest, timezone.utc),
            last_error=self._last_error,
            uploaded=self._uploaded,
            uploaded_bytes=self._uploaded_bytes,
            evicted_images=evicted.images,
            evicted_protected_images=evicted.protected_images,
            evicted_rows=evicted.rows,
            evicted_flags=evicted.flags,
        )

    def _watch(self) -> None:
        while True:
            try:
                self._spool.trim(self._budget, spare=self._sending)
            except OSError as problem:
                self._last_error = f"the spool cannot be kept within its budget ({problem})"
            if self._closing.wait(POLL_SECONDS):
                return

    def _work(self) -> None:
        pause = self._retry_seconds[0]
        while True:
            closing = self._closing.is_set()  # asked before: a store that failed until now is tried once more
            worked = self._round()
            if closing and (not worked or time.monotonic() > self._deadline or not self._spool.totals().files):
                return
            if worked:
                pause = self._retry_seconds[0]
                self._closing.wait(0 if self._spool.totals().files else POLL_SECONDS)
            else:
                self._closing.wait(pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
                pause = min(2 * pause, self._retry_seconds[1])

    def _round(self) -> bool:
        """Send for some seconds; False when the store failed. The file it failed at goes last the next time."""
        end = time.monotonic() + ROUND_SECONDS
        try:
            entries = sorted(self._spool.entries(), key=self._turn)
        except OSError as problem:
            self._last_error = f"the spool cannot be read ({problem})"
            return False
        for entry in entries:
            if time.monotonic() > min(end, self._deadline):
                break
            try:
                self._send(entry)
            except Exception as problem:  # a store raises what its library raises: OSError, botocore's, aiohttp's
                self._failures[entry.key] = self._failures.get(entry.key, 0) + 1
                self._last_error = f"{entry.key} cannot be uploaded ({type(problem).__name__}: {problem})"
                return False
            finally:
                self._sending = None
            self._failures.pop(entry.key, None)
            self._last_error = None
        return True

    def _turn(self, entry: Entry) -> tuple[int, int, float]:
        return self._failures.get(entry.key, 0), ORDER[entry.rank], entry.written

    def _send(self, entry: Entry) -> None:
        self._sending = entry.key
        content = self._spool.read(entry.key)
        if content is None or self._store is None:
            return  # evicted since it was listed
        files, root = self._store
        path = f"{root}/{entry.key}"
        if not _holds(files, path, entry):
            put(files, path, content)
            if not _holds(files, path, entry):
                raise OSError(f"the store does not hold all {entry.size} bytes of it")
        self._spool.remove(entry.key)
        self._uploaded += 1
        self._uploaded_bytes += len(content)


def _holds(files: fsspec.AbstractFileSystem, path: str, entry: Entry) -> bool:
    """Whether the store has the file. A frame counts as there whatever its bytes: its id, not its content, names it."""
    files.invalidate_cache()
    try:
        size = files.info(path)["size"]
    except FileNotFoundError:
        return False
    return size == entry.size or entry.key.startswith(f"{FRAMES}/")
