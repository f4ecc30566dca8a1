"""The catalogue of a frame store: what each registered frame looks like, as Parquet by date on any fsspec URL.

<store>/catalogue/date=2026-03-01/<digest>.parquet        digest: of the frame ids in the file
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from pyarrow.fs import LocalFileSystem as ArrowLocal

from edgeloop.edge.log import put
from edgeloop.errors import BadInput

CATALOGUE = "catalogue"
CATALOGUE_SCHEMA = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("suffix", pa.string(), nullable=False),  # of the file below frames/
        pa.field("camera", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("brightness", pa.float32()),  # these three as in `edgeloop.formats.images.Look`
        pa.field("contrast", pa.float32()),
        pa.field("sharpness", pa.float32()),
        pa.field("perceptual_hash", pa.uint64()),  # null for a flat picture
        pa.field("source", pa.string(), nullable=False),
    ],
    metadata={"edgeloop.schema_version": "1"},
)
Row = dict[str, Any]  # one frame; the columns of `CATALOGUE_SCHEMA`


class FrameCatalogue:
    """The catalogue below one store; rows are only ever added, and adding the same batch twice changes nothing."""

    def __init__(self, files: Any, root: str) -> None:
        self._files, self._root = files, f"{root}/{CATALOGUE}"

    def add(self, rows: pa.Table) -> None:
        """Write rows, one file a date."""
        dates = pc.cast(rows.column("time"), pa.date32())
        for date in sorted(pc.unique(dates).to_pylist()):
            of_date = rows.filter(pc.equal(dates, date)).sort_by("frame_id")
            digest = hashlib.sha256("".join(of_date.column("frame_id").to_pylist()).encode()).hexdigest()[:16]
            self._write(f"{self._root}/date={date}/{digest}.parquet", of_date.cast(CATALOGUE_SCHEMA))

    def _write(self, key: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        put(self._files, key, buffer.getvalue())

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole catalogue, or some of its columns; empty when nothing was registered yet.

        Raises:
            BadInput: a file in it is damaged.
        """
        keys = sorted(key for key in self._find() if key.endswith(".parquet") and "/." not in key)
        if not keys:
            return CATALOGUE_SCHEMA.empty_table().select(columns or CATALOGUE_SCHEMA.names)
        import pyarrow.dataset as ds  # it imports pandas where that is installed, which costs a second

        local = isinstance(self._files, LocalFileSystem)
        system = ArrowLocal() if local else PyFileSystem(FSSpecHandler(self._files))
        try:
            return ds.dataset(keys, CATALOGUE_SCHEMA, format="parquet", filesystem=system).to_table(columns)
        except (pa.ArrowInvalid, OSError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(
                f"the catalogue {self._root} is damaged ({reason}); remove that file and register again."
            ) from error

    def _find(self) -> list[str]:
        try:
            self._files.invalidate_cache(self._root)
            found: list[str] = self._files.find(self._root)
        except FileNotFoundError:
            return []
        return found
