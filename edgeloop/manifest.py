"""The Parquet manifest beside a data set: one row a frame, sorted by frame id, equal rows give equal bytes.

Version 2 added the perceptual hash, the class of every box and the history of the labels, and the rule by which the
data set is split. A manifest of version 1 is read with None and () in their place; the next merge fills them in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.errors import BadInput
from edgeloop.files import atomic_file, sha256
from edgeloop.frames import Split

MANIFEST_NAME = "manifest.parquet"
_PAST = pa.struct(
    [
        pa.field("labeler", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("boxes", pa.int32(), nullable=False),
        pa.field("label_sha256", pa.string(), nullable=False),
    ]
)
_FIRST = [
    pa.field("frame_id", pa.string(), nullable=False),
    pa.field("file", pa.string(), nullable=False),  # relative to the data set, images/<split>/<frame_id>.<suffix>
    pa.field("camera", pa.string(), nullable=False),
    pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
    pa.field("group", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("labeler", pa.string(), nullable=False),
    pa.field("width", pa.int32(), nullable=False),
    pa.field("height", pa.int32(), nullable=False),
    pa.field("boxes", pa.int32(), nullable=False),
    pa.field("sha256", pa.string(), nullable=False),  # of the image file
    pa.field("label_sha256", pa.string(), nullable=False),  # of the label file
]
_SECOND = [
    pa.field("perceptual_hash", pa.uint64()),  # null for a flat picture
    pa.field("class_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    pa.field("history", pa.list_(pa.field("element", _PAST, nullable=False)), nullable=False),
]
VERSION_KEY, RULE_KEY = b"edgeloop.schema_version", b"edgeloop.split_by"
SCHEMA_VERSION = 2
MANIFEST_SCHEMAS = {1: pa.schema(_FIRST), 2: pa.schema(_FIRST + _SECOND)}


@dataclass(frozen=True)
class PastLabel:
    """What was answered for a frame before: by whom, from where, how many boxes, and the label file's SHA-256."""

    labeler: str
    source: str
    boxes: int
    label_sha256: str


@dataclass(frozen=True)
class Row:
    """One frame of a data set; the columns of the manifest.

    Attributes:
        perceptual_hash: None for a flat picture, and in version 1.
        class_ids: the class of every box, in the order of the label file; None in version 1.
        history: the answers that were replaced, oldest first.
    """

    frame_id: str
    file: str
    camera: str
    time: datetime
    group: str
    split: Split
    source: str
    labeler: str
    width: int
    height: int
    boxes: int
    sha256: str
    label_sha256: str
    perceptual_hash: int | None = None
    class_ids: tuple[int, ...] | None = None
    history: tuple[PastLabel, ...] = ()

    @property
    def label_file(self) -> str:
        """The label file, relative to the data set."""
        return f"labels/{self.split}/{self.frame_id}.txt"


def write_manifest(folder: Path, rows: Iterable[Row], split_by: str = "none") -> Path:
    """Write the manifest of a data set, whole or not at all.

    Args:
        folder: the data set.
        rows: its frames.
        split_by: the rule it is split by, as `edgeloop.splits.GroupRule.parse` reads it.
    """
    ordered = sorted(rows, key=lambda row: row.frame_id)
    schema = MANIFEST_SCHEMAS[SCHEMA_VERSION]
    columns = {name: [getattr(row, name) for row in ordered] for name in schema.names}
    columns["history"] = [[asdict(past) for past in history] for history in columns["history"]]
    table = pa.Table.from_pydict(columns, schema=schema)
    marks = {VERSION_KEY: str(SCHEMA_VERSION).encode(), RULE_KEY: split_by.encode("utf-8", "surrogateescape")}
    with atomic_file(folder / MANIFEST_NAME) as temporary:
        pq.write_table(table.replace_schema_metadata(marks), temporary, compression="zstd")
    return folder / MANIFEST_NAME


def read_manifest(folder: Path) -> list[Row]:
    """The rows of a data set's manifest, sorted by frame id.

    Raises:
        BadInput: no manifest, or a file that is not one.
    """
    table = _read_table(folder)
    columns = {name: table.column(name).to_pylist() for name in table.schema.names}
    if "history" in columns:
        columns["class_ids"] = [tuple(ids) for ids in columns["class_ids"]]
        columns["history"] = [tuple(PastLabel(**past) for past in history) for history in columns["history"]]
    return [Row(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _read_table(folder: Path) -> pa.Table:
    path = folder / MANIFEST_NAME
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; expected a data set that edgeloop made.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"{path} is not a manifest ({' '.join(str(error).split())}); restore the last version."
        ) from error
    if not any(table.schema.equals(schema) for schema in MANIFEST_SCHEMAS.values()):
        raise BadInput(f"{path} has other columns than this edgeloop reads; use the release that wrote it.")
    return table


def read_marks(folder: Path) -> tuple[int, str]:
    """The schema version of a manifest that can be read, and the rule its data set is split by."""
    marks = pq.read_schema(folder / MANIFEST_NAME).metadata or {}
    return int(marks.get(VERSION_KEY, b"1")), marks.get(RULE_KEY, b"none").decode("utf-8", "surrogateescape")


def has_manifest(folder: Path) -> bool:
    """Whether edgeloop made this data set."""
    return (folder / MANIFEST_NAME).is_file()


def known_looks(folder: Path) -> dict[str, int]:
    """The perceptual hashes of a data set's frames by their ids, of those that have one; {} for no data set.

    Raises:
        BadInput: a manifest that cannot be read.
    """
    table = _read_table(folder) if has_manifest(folder) else None
    if table is None or "perceptual_hash" not in table.column_names:
        return {}
    frames, looks = (table.column(name).to_pylist() for name in ("frame_id", "perceptual_hash"))
    return {frame: look for frame, look in zip(frames, looks, strict=True) if look is not None}


def state_of(folder: Path) -> str:
    """What a data set holds, as 64 hexadecimal digits: equal content gives equal digits; "" for no data set."""
    return sha256(folder / MANIFEST_NAME) if has_manifest(folder) else ""
