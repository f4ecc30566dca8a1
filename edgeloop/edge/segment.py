"""One segment of the device's log: an Arrow IPC stream that grows batch by batch and always ends with a whole batch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.edge.log_schema import LOG_SCHEMA, partition
from edgeloop.edge.spool import put_by_content
from edgeloop.files import sync_folder
from edgeloop.store import LOG


class Segment:
    """A segment that is being written.

    Attributes:
        path: the file.
        rows: in it.
        born: when it was opened, by the monotonic clock, seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.born = path, 0, time.monotonic()
        self._length = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        sync_folder(path.parent)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch and bring it to the disk. On an error the file is cut back to the batches before it.

        Raises:
            OSError: the disk refuses.
        """
        header = LOG_SCHEMA.serialize() if self._length == 0 else b""
        content = bytes(header) + bytes(batch.serialize())
        try:
            _write_all(self._descriptor, content, self._length)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += len(content)
        self.rows += batch.num_rows

    def close(self) -> Path:
        """Stop writing; returns the path."""
        os.close(self._descriptor)
        return self.path


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def read_segment(path: Path) -> tuple[pa.Table, bool]:
    """The rows of a segment, also of one whose writer was killed, and whether its end was torn.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    batches: list[pa.RecordBatch] = []
    torn = False
    try:
        for batch in pa.ipc.open_stream(content):
            batch.validate(full=True)
            batches.append(batch)
    except (pa.ArrowInvalid, OSError):  # what follows the last whole batch was never flushed
        torn = bool(content)
    return pa.Table.from_batches(batches, batches[0].schema if batches else LOG_SCHEMA), torn


def segment_to_parquet(path: Path, spool: Path) -> bool:
    """Write a segment's rows into the spool, a file for each date and camera; returns whether its end was torn.

    The same segment gives the same files under the same names, so it may be done again after a kill.

    Raises:
        OSError: the disk refuses; the segment is untouched.
    """
    table, torn = read_segment(path)
    for folder, rows in _partitions(table):
        content = BytesIO()
        pq.write_table(rows, content, compression="zstd")
        put_by_content(spool, f"{LOG}/{folder}", ".parquet", content.getvalue())
    return torn


def _partitions(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    cameras, dates = table.column("camera"), pc.cast(table.column("time"), pa.date32())
    for camera in pc.unique(cameras):
        for date in pc.unique(dates):
            rows = table.filter(pc.and_(pc.equal(cameras, camera), pc.equal(dates, date)))
            if rows.num_rows:
                yield partition(rows.column("time")[0].as_py(), camera.as_py()), rows
