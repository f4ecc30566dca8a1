"""The device's log: the frame loop appends, one thread writes Arrow segments within a second.

    <device>/segments/<run>-<number>.arrow      an open Arrow IPC stream: survives kill -9 and power cuts
    <device>/spool/log/date=…/camera=…/…        what a full segment becomes, for the uploader

Nothing here waits for the store, and no error reaches the loop: what cannot be written stays in memory up to a limit,
then it is counted as lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import cv2
import pyarrow as pa

from edgeloop.edge.log_schema import InferenceRecord, to_table
from edgeloop.edge.segment import Segment, segment_to_parquet
from edgeloop.edge.spool import SPOOL, Spool
from edgeloop.errors import is_full_disk

SEGMENTS = "segments"
WAITING_ROWS = 4096  # in memory while the disk does not take them: about 2 minutes at 30 frames per second
HELD_BYTES = 64 * 2**20  # of images to be measured; when the thread lags this far behind, the loop measures itself
LOOK_SECONDS = 0.05  # how often the thread takes up new rows: at 30 frames per second one or two
RETRY_SECONDS = 1.0
LAST_ATTEMPTS = 3  # when the log closes on a disk that refuses


class DeviceLog:
    """The inference log of one run on one device.

    Attributes:
        rows: appended so far.
        flushed: of them, on the disk: the first `flushed` rows survive whatever ends the process.
        lost: rows that the disk did not take in time, or that do not fit the schema.
        torn: segments found with an end that cannot be read: a power cut while it was being written. One that holds
            what is no log at all stays in the folder as `.broken`.
        error: one sentence while something is wrong, else None.
    """

    def __init__(
        self, folder: Path, run: str, *, flush_seconds: float = 1.0, rows_a_file: int = 10_000,
        seconds_a_file: float = 60.0,
    ) -> None:  # fmt: skip
        """Open the log and take up what a killed run left.

        Args:
            folder: of the device; made when it is missing.
            run: names this run's segments; another one for each start.
            flush_seconds: at most this long between `append` and the disk.
            rows_a_file, seconds_a_file: a segment becomes Parquet at this many rows or this age.
        """
        self.rows, self.flushed, self.lost, self.torn = 0, 0, 0, 0
        self.error: str | None = None
        self._flush_seconds, self._rows_a_file, self._seconds_a_file = flush_seconds, rows_a_file, seconds_a_file
        self._spool, self._segments, self._run = Spool(folder / SPOOL), folder / SEGMENTS, run
        self._segments.mkdir(parents=True, exist_ok=True)
        self._full = sorted(self._segments.glob("*.arrow"))  # of runs that ended without `close`
        self._number = 0
        self._open: Segment | None = None
        self._new: deque[InferenceRecord] = deque()  # appended by the loop, taken by the thread
        self._rows: list[InferenceRecord] = []  # of the thread, not on the disk yet
        self._oldest = self._retry_at = 0.0
        self._held = 0  # bytes of images, at most
        self._counting, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="edgeloop-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows in memory that are not on the disk yet."""
        return len(self._new) + len(self._rows)

    def append(self, record: InferenceRecord) -> None:
        """Take a row. Returns at once, whatever the disk does; any thread may call it."""
        with self._counting:
            if self.waiting >= WAITING_ROWS:
                self.lost += 1
                return
            self.rows += 1
            self._held += 3 * record.inference.width * record.inference.height
            if self._held > HELD_BYTES:
                record.inference.statistics.compute()
            self._new.append(record)

    def close(self) -> None:
        """Flush, turn every segment to Parquet and end the thread; what the disk refuses is counted as lost."""
        self._closing.set()
        self._thread.join()
        self.lost += self.waiting
        self._rows = []

    def _work(self) -> None:
        look_seconds = min(LOOK_SECONDS, self._flush_seconds / 4)
        while not self._closing.wait(look_seconds):
            self._take_up()
            if self._is_due():
                self._attempt()
        for _ in range(LAST_ATTEMPTS):
            self._take_up()
            self._attempt(last=True)
            if self.error is None:
                break

    def _take_up(self) -> None:
        """Measure what the loop left to this thread, and let the images go."""
        self._held = 0
        while self._new:
            record = self._new.popleft()
            try:
                record.inference.statistics.compute()
            except cv2.error as problem:
                self.lost += 1
                self.error = f"the frame {record.frame_id} cannot be measured ({problem})."
                continue
            if not self._rows:
                self._oldest = time.monotonic()
            self._rows.append(record)

    def _is_due(self) -> bool:
        now = time.monotonic()
        late = bool(self._rows) and now - self._oldest >= self._flush_seconds / 2
        late = late or len(self._rows) >= WAITING_ROWS // 4
        return now >= self._retry_at and (late or bool(self._full) or self._is_complete(now))

    def _is_complete(self, now: float) -> bool:
        segment = self._open
        return segment is not None and (segment.rows >= self._rows_a_file or now - segment.born >= self._seconds_a_file)

    def _attempt(self, *, last: bool = False) -> None:
        """Do what is due; on an error everything stays where it is, to be tried again."""
        try:
            self._flush()
            if self._open and (last or self._is_complete(time.monotonic())):
                self._full.append(self._open.close())
                self._open = None
            self._convert()
        except Exception as problem:  # whatever it is, the thread must go on and the live line must say so
            reason = getattr(problem, "strerror", None) or problem
            self.error = f"the log cannot be written ({reason}); {self.waiting} rows wait in memory."
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if is_full_disk(problem):
                self._make_room()
        else:
            self.error = None

    def _flush(self) -> None:
        if not self._rows:
            return
        batch = self._encode()
        if batch is None:
            return
        if self._open is None:
            self._open = Segment(self._next_path())
        self._open.write(batch)
        self.flushed += len(self._rows)
        self._rows = []

    def _encode(self) -> pa.RecordBatch | None:
        """The waiting rows as one batch; a row that does not fit the schema is dropped and counted."""
        try:
            return to_batch(self._rows)
        except UNFIT:
            fit = [record for record in self._rows if _fits(record)]
        self.lost += len(self._rows) - len(fit)
        self._rows = fit
        return to_batch(fit) if fit else None

    def _next_path(self) -> Path:
        taken = True
        while taken:
            path = self._segments / f"{self._run}-{self._number:06d}.arrow"
            self._number += 1
            taken = path.exists()
        return path

    def _convert(self) -> None:
        while self._full:
            path = self._full[0]
            if not path.exists():  # somebody has taken it away
                self.torn += 1
                self._full.pop(0)
                continue
            try:
                self.torn += segment_to_parquet(path, self._spool.folder)
                path.unlink()
            except NO_LOG:  # written by another edgeloop, or by a disk that fails
                self.torn += 1
                path.rename(path.with_suffix(".broken"))
            self._full.pop(0)

    def _make_room(self) -> None:
        """Images give way to rows."""
        with suppress(OSError):  # what cannot be removed makes no room; the log's error stands
            self._spool.make_room()


NO_LOG = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, KeyError)
UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError)


def to_batch(records: list[InferenceRecord]) -> pa.RecordBatch:
    """Records as one batch of LOG_SCHEMA."""
    return to_table(records).combine_chunks().to_batches()[0]


def _fits(record: InferenceRecord) -> bool:
    try:
        to_batch([record])
    except UNFIT:
        return False
    return True
