"""The inference log: one row a frame, every box down to a low floor; Parquet, partitioned by date and camera.

What the columns mean is written for people in docs/inference-log.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from edgeloop.edge.detector import Inference
from edgeloop.errors import BadInput
from edgeloop.files import atomic_file

SCHEMA_VERSION = 1
VERSION_KEY = b"edgeloop.inference_log"

BOX = pa.struct(
    [("x1", pa.float32()), ("y1", pa.float32()), ("x2", pa.float32()), ("y2", pa.float32()), ("score", pa.float32()),
     ("class_id", pa.int32())]
)  # fmt: skip
LOG_SCHEMA = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("camera", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("artifact_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("preprocess_ms", pa.float32(), nullable=False),
        pa.field("inference_ms", pa.float32(), nullable=False),
        pa.field("postprocess_ms", pa.float32(), nullable=False),
        pa.field("brightness", pa.float32(), nullable=False),
        pa.field("contrast", pa.float32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("boxes", pa.list_(BOX), nullable=False),
        pa.field("thresholds", pa.list_(pa.float32()), nullable=False),
        pa.field("image", pa.string(), nullable=True),
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
)

ROWS_A_FILE = 10_000  # about 5 MB in memory with ten boxes a frame


@dataclass(frozen=True)
class InferenceRecord:
    """One row of the log.

    Attributes:
        frame_id: first 16 hexadecimal digits of the SHA-256 of the frame's file.
        camera: which camera took it.
        time: when, with its time zone.
        artifact_id: which artifact answered.
        inference: what it answered.
        thresholds: the artifact's, one per class: what counted as a detection at that moment.
        image: where the frame was kept, relative to the store; None when it was not.
    """

    frame_id: str
    camera: str
    time: datetime
    artifact_id: str
    inference: Inference
    thresholds: tuple[float, ...]
    image: str | None = None


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
    """Write a file of a store, whole or not at all; an object store's upload is that by itself."""
    if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(content)
    else:
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        fs.pipe_file(path, content)


def partition(time: datetime, camera: str) -> str:
    """The folder of a row: `date=2026-03-01/camera=cam1`, the date in UTC, the camera percent-encoded."""
    return f"date={time.astimezone(timezone.utc):%Y-%m-%d}/camera={quote(camera, safe='')}"


def run_id(*parts: str) -> str:
    """A name for a run that depends on nothing but `parts`: 12 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def to_table(records: Sequence[InferenceRecord]) -> pa.Table:
    """Records as a table of LOG_SCHEMA, built column by column."""
    inferences = [record.inference for record in records]
    columns: dict[str, Any] = {
        "frame_id": [record.frame_id for record in records],
        "camera": [record.camera for record in records],
        "time": [record.time for record in records],
        "artifact_id": [record.artifact_id for record in records],
        "width": [inference.width for inference in inferences],
        "height": [inference.height for inference in inferences],
        "preprocess_ms": [inference.timing.preprocess for inference in inferences],
        "inference_ms": [inference.timing.inference for inference in inferences],
        "postprocess_ms": [inference.timing.postprocess for inference in inferences],
        "brightness": [inference.statistics.brightness for inference in inferences],
        "contrast": [inference.statistics.contrast for inference in inferences],
        "sharpness": [inference.statistics.sharpness for inference in inferences],
        "boxes": boxes_of(inferences),
        "thresholds": [record.thresholds for record in records],
        "image": [record.image for record in records],
    }
    return pa.table(columns, schema=LOG_SCHEMA)


def boxes_of(inferences: Sequence[Inference]) -> pa.Array:
    """The `boxes` column: one list of boxes a frame."""
    found = [inference.detections for inference in inferences]
    offsets = np.cumsum([0, *(len(detections) for detections in found)], dtype=np.int32)
    corners = np.concatenate([np.zeros((0, 4), np.float32), *(detections.boxes for detections in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(detections.scores for detections in found)])
    classes = np.concatenate([np.zeros(0, np.int64), *(detections.classes for detections in found)])
    values = [*np.ascontiguousarray(corners.T), scores, classes.astype(np.int32)]
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays([pa.array(v) for v in values], fields=list(BOX))
    )


def read_log(
    url: str, since: datetime | None = None, until: datetime | None = None, artifact_id: str | None = None
) -> pa.Table:
    """Rows of a log, oldest first, in LOG_SCHEMA.

    Args:
        url: the log's folder or any fsspec URL of it.
        since, until: from this moment (included) to that one (excluded), with time zone; None is open.
        artifact_id: only rows of this artifact; None takes all.

    Raises:
        BadInput: there is no log, a file of it is broken, or a newer edgeloop wrote it.
    """
    fs, root = fsspec.core.url_to_fs(url)
    paths = sorted(fs.glob(f"{root}/date=*/camera=*/*.parquet"))
    if not paths:
        raise BadInput(f"there is no inference log at {url}; run a stream first, or correct the store in config.yaml.")
    dataset = ds.dataset([path for path in paths if _may_hold(path, since, until)], LOG_SCHEMA, "parquet", fs)
    try:
        for fragment in dataset.get_fragments():
            _refuse_newer(fragment)
        table = dataset.to_table(filter=_rows(since, until, artifact_id))
    except pa.ArrowInvalid as error:
        raise BadInput(f"a file of the inference log at {url} is broken ({error}); move it away.") from error
    return table.sort_by([("time", "ascending"), ("camera", "ascending"), ("frame_id", "ascending")])


def _may_hold(path: str, since: datetime | None, until: datetime | None) -> bool:
    """Whether the partition's date is within the interval; ISO dates compare as text."""
    date = path.rsplit("/date=", 1)[1][:10]
    first = since.astimezone(timezone.utc).date().isoformat() if since else ""
    last = until.astimezone(timezone.utc).date().isoformat() if until else "9999"
    return first <= date <= last


def _refuse_newer(fragment: ds.Fragment) -> None:
    metadata = fragment.physical_schema.metadata or {}
    version = int(metadata.get(VERSION_KEY, b"0"))
    if not 1 <= version <= SCHEMA_VERSION:
        raise BadInput(
            f"{fragment.path} has inference log version {version or 'none'}; this edgeloop reads {SCHEMA_VERSION}. "
            f"Update edgeloop, or move the file away."
        )


def _rows(since: datetime | None, until: datetime | None, artifact_id: str | None) -> ds.Expression:
    everything = pc.scalar(value=True)
    conditions = [
        pc.field("time") >= pa.scalar(since, LOG_SCHEMA.field("time").type) if since else everything,
        pc.field("time") < pa.scalar(until, LOG_SCHEMA.field("time").type) if until else everything,
        pc.field("artifact_id") == artifact_id if artifact_id else everything,
    ]
    return conditions[0] & conditions[1] & conditions[2]
