"""The Parquet manifest beside a data set: one row a frame, sorted by frame id, equal rows give equal bytes."""

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
MANIFEST_SCHEMA = pa.schema(
    [
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
    ],
    metadata={"edgeloop.schema_version": "1"},
)


@dataclass(frozen=True)
class Row:
    """One frame of a data set; the columns of `MANIFEST_SCHEMA`."""

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

    @property
    def label_file(self) -> str:
        """The label file, relative to the data set."""
        return f"labels/{self.split}/{self.frame_id}.txt"


def write_manifest(folder: Path, rows: Iterable[Row]) -> Path:
    """Write the manifest of a data set, whole or not at all."""
    ordered = sorted(rows, key=lambda row: row.frame_id)
    table = pa.Table.from_pylist([asdict(row) for row in ordered], schema=MANIFEST_SCHEMA)
    with atomic_file(folder / MANIFEST_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return folder / MANIFEST_NAME


def read_manifest(folder: Path) -> list[Row]:
    """The rows of a data set's manifest, sorted by frame id.

    Raises:
        BadInput: no manifest, or a file that is not one.
    """
    path = folder / MANIFEST_NAME
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; expected a data set that edgeloop made.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"{path} is not a manifest ({' '.join(str(error).split())}); restore the last version."
        ) from error
    if not table.schema.equals(MANIFEST_SCHEMA):
        raise BadInput(f"{path} has other columns than this edgeloop writes; use the release that wrote it.")
    return [Row(**row) for row in table.to_pylist()]


def has_manifest(folder: Path) -> bool:
    """Whether edgeloop made this data set."""
    return (folder / MANIFEST_NAME).is_file()


def state_of(folder: Path) -> str:
    """What a data set holds, as 64 hexadecimal digits: equal content gives equal digits; "" for no data set."""
    return sha256(folder / MANIFEST_NAME) if has_manifest(folder) else ""
