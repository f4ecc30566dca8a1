"""The inference log: one row a frame, every box down to a low floor; Parquet, partitioned by date and camera.

What the columns mean is written for people in docs/inference-log.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from edgeloop.edge.log_schema import LOG_SCHEMA, SCHEMA_VERSION, VERSION_KEY, InferenceRecord, partition, to_table
from edgeloop.errors import BadInput
from edgeloop.file_systems import open_store, said_plainly
from edgeloop.files import write_bytes

IDENTITY = ("time", "camera", "frame_id", "artifact_id")  # two rows that agree in these are one look at one frame
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"})
ROWS_A_FILE = 10_000  # about 5 MB in memory with ten boxes a frame


class LogWriter:
    """Collects records and writes them as Parquet files under `url`, at most `rows_a_file` of them in memory.

    File names are `<run>-<number>.parquet`: a run that is repeated with the same records replaces its own files.
    """

    def __init__(self, url: str, run: str, rows_a_file: int = ROWS_A_FILE) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._run = run
        self._rows_a_file = rows_a_file
        self._records: list[InferenceRecord] = []
        self._number = 0
        self.files: list[str] = []

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.rotate()

    def append(self, record: InferenceRecord) -> None:
        """Add a record; writes files when enough came together."""
        record.inference.statistics.compute()  # an image that is still held is let go
        self._records.append(record)
        if len(self._records) >= self._rows_a_file:
            self.rotate()

    def rotate(self) -> None:
        """Write what is in memory: one file for each date and camera, each whole or not at all."""
        parts: dict[str, list[InferenceRecord]] = {}
        for record in self._records:
            parts.setdefault(partition(record.time, record.camera), []).append(record)
        for folder, records in sorted(parts.items()):
            self._write(f"{self._root}/{folder}/{self._run}-{self._number:05d}.parquet", to_table(records))
        self._number += 1
        self._records = []

    def _write(self, path: str, table: pa.Table) -> None:
        content = BytesIO()
        pq.write_table(table, content, compression="zstd")
        put(self._fs, path, content.getvalue())
        self.files.append(path)


def put(fs: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file of a store, whole or not at all: an object store's upload is that by itself, others rename."""
    if isinstance(fs, LocalFileSystem):
        write_bytes(Path(path), content)
    elif is_object_store(fs):
        fs.pipe_file(path, content)
    else:
        folder, name = path.rsplit("/", 1)
        fs.makedirs(folder, exist_ok=True)
        fs.pipe_file(f"{folder}/.{name}.tmp", content)
        fs.mv(f"{folder}/.{name}.tmp", path)


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether a store shows a file only when all of it arrived."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(protocols & OBJECT_STORES)


def run_id(*parts: str) -> str:
    """A name for a run that depends on nothing but `parts`: 12 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def logged_dates(url: str) -> list[str]:
    """The days that a log has rows of, `2026-03-01`, oldest first; none where there is no log."""
    with said_plainly(url):
        fs, root = open_store(url)
        return sorted({str(path).rsplit("/date=", 1)[1][:10] for path in fs.glob(f"{root}/date=*")})


def read_log(
    url: str,
    since: datetime | None = None,
    until: datetime | None = None,
    artifact_id: str | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of a log, oldest first, in LOG_SCHEMA; each frame of a camera at a time once for each artifact.

    A device may deliver a row twice: after a power cut, or again with `image` set when the operator flags the frame.
    Of such rows the one with an image is taken.

    Args:
        url: the log's folder or any fsspec URL of it.
        since, until: from this moment (included) to that one (excluded), with time zone; None is open.
        artifact_id: only rows of this artifact; None takes all.
        columns: besides those that identify a row and `image`; all when None.

    Raises:
        BadInput: no such place, no log in it, a file of it is broken, or a newer edgeloop wrote it.
    """
    import pyarrow.dataset as ds  # it imports pandas where that is installed, which costs a second

    with said_plainly(url):
        fs, root = open_store(url)
        paths = sorted(fs.glob(f"{root}/date=*/camera=*/*.parquet"))
        if not paths:
            raise BadInput(
                f"there is no inference log at {url}: expected date=…/camera=…/*.parquet below it. Run a stream first, "
                f"or name another place."
            )
        dataset = ds.dataset([path for path in paths if _may_hold(path, since, until)], LOG_SCHEMA, "parquet", fs)
        try:
            for fragment in dataset.get_fragments():
                _refuse_newer(fragment)
            named = None if columns is None else list(dict.fromkeys((*IDENTITY, "image", *columns)))
            table = dataset.to_table(named, filter=_rows(since, until, artifact_id))
        except pa.ArrowInvalid as error:
            raise BadInput(f"a file of the inference log at {url} is broken ({error}); move it away.") from error
    return _once(table.sort_by([(name, "ascending") for name in (*IDENTITY, "image")]))  # nulls sort last


def _once(table: pa.Table) -> pa.Table:
    """The first of the rows that agree in their identity; they follow each other."""
    rows = table.num_rows
    if rows < 2:
        return table
    columns = [table.column(name) for name in IDENTITY]
    repeats = reduce(pc.and_, (pc.equal(column.slice(1), column.slice(0, rows - 1)) for column in columns))
    return table.filter(pa.chunked_array([[True], *pc.invert(repeats).chunks]))


def _may_hold(path: str, since: datetime | None, until: datetime | None) -> bool:
    """Whether the partition's date is within the interval; ISO dates compare as text."""
    date = path.rsplit("/date=", 1)[1][:10]
    first = since.astimezone(timezone.utc).date().isoformat() if since else ""
    last = until.astimezone(timezone.utc).date().isoformat() if until else "9999"
    return first <= date <= last


def _refuse_newer(fragment: Any) -> None:
    metadata = fragment.physical_schema.metadata or {}
    version = int(metadata.get(VERSION_KEY, b"0"))
    if not 1 <= version <= SCHEMA_VERSION:
        raise BadInput(
            f"{fragment.path} has inference log version {version or 'none'}; this edgeloop reads {SCHEMA_VERSION}. "
            f"Update edgeloop, or move the file away."
        )


def _rows(since: datetime | None, until: datetime | None, artifact_id: str | None) -> pc.Expression:
    everything = pc.scalar(value=True)
    conditions = [
        pc.field("time") >= pa.scalar(since, LOG_SCHEMA.field("time").type) if since else everything,
        pc.field("time") < pa.scalar(until, LOG_SCHEMA.field("time").type) if until else everything,
        pc.field("artifact_id") == artifact_id if artifact_id else everything,
    ]
    return conditions[0] & conditions[1] & conditions[2]
