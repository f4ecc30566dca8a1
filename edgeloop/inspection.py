"""What inspection found of the images of a source, kept, so that an unchanged file is never decoded twice.

A file is unchanged while its size and its times of modification and of change stay. A file that was changed within the
two seconds before it was inspected is not kept: a second change in the same tick of the clock would not show.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.files import atomic_file
from edgeloop.formats.findings import Finding
from edgeloop.formats.images import ImageFacts, Look, inspect
from edgeloop.progress import bar
from edgeloop.spread import chunked, spread

SCHEMA = pa.schema(
    [
        ("path", pa.binary()),
        ("size", pa.int64()),
        ("modified_ns", pa.int64()),
        ("changed_ns", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("perceptual_hash", pa.uint64()),
        ("brightness", pa.float64()),
        ("contrast", pa.float64()),
        ("sharpness", pa.float64()),
    ]
)
STAMP = ("size", "modified_ns", "changed_ns")
FLUSH = 4096  # images inspected between two writes; what a killed run loses
RACY_NS = 2_000_000_000
MAXIMUM_PARTS = 64  # files of one cache before they are joined
Stamp = tuple[int, int, int]  # size, modified, changed


def stamp_of(path: Path | str | int) -> Stamp:
    """What tells whether a file, given by path or as an open descriptor, is the one that was inspected.

    Raises:
        OSError: it cannot be read.
    """
    found = os.stat(path)  # noqa: PTH116  # a Path for each of 100,000 names costs as much as asking
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True)
class Inspected:
    """One file: what was found, and its stamp from before it was read."""

    path: Path | str
    stamp: Stamp | None
    found: ImageFacts | Finding


class InspectionCache:
    """Facts by path and stamp, in Parquet files of one folder; a damaged file is as good as none."""

    def __init__(self, folder: Path, source: Path | str) -> None:
        self._folder = folder / hashlib.sha256(str(source).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._table: pa.Table = SCHEMA.empty_table()
        self._rows: dict[bytes, tuple[int, Stamp]] = {}  # of each path the last one wins
        self._fresh: list[pa.Table] = []
        self._load()

    def _load(self) -> None:
        parts = sorted(self._folder.glob("*.parquet"))
        tables = [table for path in parts if (table := _read(path)) is not None]
        self._table = pa.concat_tables(tables).combine_chunks() if tables else SCHEMA.empty_table()
        stamps = zip(*(self._table.column(name).to_pylist() for name in STAMP), strict=True)
        paths = self._table.column("path").to_pylist()
        self._rows = {path: (row, stamp) for row, (path, stamp) in enumerate(zip(paths, stamps, strict=True))}
        if len(tables) > MAXIMUM_PARTS:
            self._join(parts)

    def get(self, path: Path | str, stamp: Stamp) -> ImageFacts | None:
        """What was found of this very file; None when nobody looked."""
        row = self._row(path, stamp)
        if row is None:
            return None
        found = {name: self._table.column(name)[row].as_py() for name in SCHEMA.names}
        look = Look(found["brightness"], found["contrast"], found["sharpness"])
        return ImageFacts(found["sha256"], found["width"], found["height"], found["perceptual_hash"], look)

    def digest(self, path: str, stamp: Stamp) -> str | None:
        """Only its SHA-256."""
        row = self._row(path, stamp)
        return None if row is None else self._digests[row]

    @cached_property
    def _digests(self) -> list[str]:
        found: list[str] = self._table.column("sha256").to_pylist()
        return found

    def _row(self, path: Path | str, stamp: Stamp) -> int | None:
        row, known = self._rows.get(os.fsencode(path), (None, None))
        return row if known == stamp else None

    def add(self, inspected: Iterable[Inspected]) -> None:
        """Keep what was found; findings are not kept, so that a file that was mended is seen."""
        rows = [_row(one) for one in inspected if isinstance(one.found, ImageFacts) and one.stamp is not None]
        if rows:
            self.add_table(pa.Table.from_pylist(rows, SCHEMA))

    def add_table(self, rows: pa.Table) -> None:
        """The same for rows of `SCHEMA`."""
        latest = pc.max_element_wise(rows.column("modified_ns"), rows.column("changed_ns"))
        self._fresh.append(rows.filter(pc.less(latest, time.time_ns() - RACY_NS)))
        if sum(table.num_rows for table in self._fresh) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last time."""
        fresh = pa.concat_tables(self._fresh) if self._fresh else SCHEMA.empty_table()
        if fresh.num_rows:
            _write(self._folder, fresh)
        self._fresh = []

    def _join(self, parts: Sequence[Path]) -> None:
        """One file instead of many, each path once."""
        kept = sorted(row for row, _ in self._rows.values())
        _write(self._folder, self._table.take(pa.array(kept, pa.int64())))
        for path in parts:
            path.unlink(missing_ok=True)


def _row(one: Inspected) -> dict[str, Any]:
    facts, (size, modified, changed) = one.found, one.stamp or (0, 0, 0)
    assert isinstance(facts, ImageFacts)
    look = facts.look or Look(0.0, 0.0, 0.0)
    return {
        "path": os.fsencode(one.path), "size": size, "modified_ns": modified, "changed_ns": changed,
        "sha256": facts.sha256, "width": facts.width, "height": facts.height,
        "perceptual_hash": facts.perceptual_hash,
        "brightness": look.brightness, "contrast": look.contrast, "sharpness": look.sharpness,
    }  # fmt: skip


def _read(path: Path) -> pa.Table | None:
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowInvalid, OSError):
        return None
    return table


def _write(folder: Path, table: pa.Table) -> Path:
    digest = hashlib.sha256(b"\0".join(table.column("path").to_pylist())).hexdigest()[:16]
    target = folder / f"{time.time_ns():020d}-{digest}.parquet"  # read in the order of time
    with atomic_file(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return target


def inspect_files(
    paths: Sequence[Path], cache: InspectionCache | None = None, description: str = "checking images"
) -> list[ImageFacts | Finding]:
    """Inspect many images on all cores, in order, only those that the cache does not know."""
    known = {path: facts for path in paths if (facts := _known(cache, path)) is not None}
    unknown = [path for path in paths if path not in known]
    found: dict[Path | str, ImageFacts | Finding] = {}
    for one in bar(_inspected(unknown), description, len(unknown)):
        found[one.path] = one.found
        if cache is not None:
            cache.add([one])
    if cache is not None:
        cache.flush()
    return [known.get(path) or found[path] for path in paths]


def _known(cache: InspectionCache | None, path: Path) -> ImageFacts | None:
    if cache is None:
        return None
    try:
        return cache.get(path, stamp_of(path))
    except OSError:
        return None


def _inspected(paths: Sequence[Path]) -> Iterator[Inspected]:
    for chunk in spread(_inspect_chunk, chunked(paths)):
        yield from chunk


def _inspect_chunk(paths: Sequence[Path]) -> list[Inspected]:
    return [_inspect(path) for path in paths]


def _inspect(path: Path) -> Inspected:
    try:
        stamp = stamp_of(path)
    except OSError:
        stamp = None
    return Inspected(path, stamp, inspect(path))
