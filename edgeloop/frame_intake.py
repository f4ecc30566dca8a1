"""Frames from a folder into the frame store: inspected, stored and catalogued on all cores, a batch at a time.

A batch is stored, brought to the disk with one call, and only then catalogued: a frame that the catalogue names is
whole, whenever the process or the machine stops. What a stopped run had stored without cataloguing it, the next run
writes again where it differs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from edgeloop.file_systems import said_plainly
from edgeloop.formats.findings import Finding, warning
from edgeloop.formats.images import MAXIMUM_BYTES, ImageFacts, inspect_contents
from edgeloop.formats.names import camera_and_time
from edgeloop.formats.paths import require_image_names
from edgeloop.frame_catalogue import CATALOGUE_SCHEMA, Row
from edgeloop.inspection import SCHEMA, InspectionCache, Stamp, stamp_of
from edgeloop.near_duplicates import clusters, pairs_between
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.spread import bounded, chunked, spread
from edgeloop.store import FrameStore, Put

GROUP_BYTES = 32 << 20  # of the files that are read before the first of them is looked at
BATCH = 4096  # frames between two catalogue files; what a killed run does again


class RegisterReport(Record):
    """What registering a folder of frames changed.

    Attributes:
        store: the store's URL.
        place: the folder of the frames when the store is on this machine.
        added: frames that are new in the store.
        present: frames that were there, or came twice.
        near_duplicates: of those added, how many nearly show what another frame shows.
        rejected: files that are no usable image, each with path and reason; the others were taken in.
        warnings: what else people should know.
    """

    store: str
    place: Path | None
    added: int
    present: int
    near_duplicates: int
    rejected: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()


# What a worker says of a file: its row of the catalogue, in full precision, and what the inspection cache knows it by.
TAKEN_SCHEMA = pa.schema(
    [
        *(field if field.type != pa.float32() else pa.field(field.name, pa.float64()) for field in CATALOGUE_SCHEMA),
        *(SCHEMA.field(name) for name in ("path", "modified_ns", "changed_ns", "sha256")),
    ]
)


class Taken(NamedTuple):
    """A chunk of files, as it passes between processes: columns of `TAKEN_SCHEMA`, and what was no image.

    Lists, since to make an Arrow table of them imports pandas where that is installed: 0.2 s in each process.
    """

    columns: dict[str, list[Any]]
    rejected: list[Finding]


@dataclass
class Intake:
    """Frames on their way into a store: what is known of it, and the batch that is not catalogued yet.

    Use it as a context; leaving it without an error makes everything known that was added.
    """

    url: str
    cache: InspectionCache | None = None
    rows: list[pa.Table] = field(default_factory=list)
    looked: list[pa.Table] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    added: int = 0
    present: int = 0

    def __post_init__(self) -> None:
        self.store = FrameStore(self.url)
        with said_plainly(self.url):
            self.store.clear()
            known = self.store.catalogue.read(["frame_id", "perceptual_hash"])
        self.known: set[str] = set(known.column("frame_id").to_pylist())
        self._before: list[int] = known.column("perceptual_hash").drop_null().to_pylist()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._writer:
            if kind is None:
                self.commit()
            self._wait()

    def knows(self, path: str) -> bool:
        """Whether an unchanged file was registered before; it is not read again."""
        if self.cache is None or not self.known:
            return False
        try:
            digest = self.cache.digest(path, stamp_of(path))
        except OSError:
            return False
        return digest is not None and digest[:16] in self.known

    def add(self, rows: pa.Table) -> None:
        """Count frames whose bytes are in the store; catalogue those that are new, with their batch.

        Raises:
            BadInput: the store refused an earlier batch.
        """
        fresh = [self._is_new(name) for name in rows.column("frame_id").to_pylist()]
        new = rows.filter(pa.array(fresh, pa.bool_()))
        self.added += new.num_rows
        self.present += rows.num_rows - new.num_rows
        self.hashes += new.column("perceptual_hash").drop_null().to_pylist()
        self.rows.append(new.select(CATALOGUE_SCHEMA.names))
        if sum(table.num_rows for table in self.rows) >= BATCH:
            self.commit()

    def _is_new(self, name: str) -> bool:
        before = len(self.known)
        self.known.add(name)
        return len(self.known) > before

    def commit(self) -> None:
        """Everything stored so far becomes known, while the next batch is inspected; waits for the batch before.

        Raises:
            BadInput: the store refused it.
        """
        self._wait()
        self._writing = self._writer.submit(self._commit, self.rows, self.looked)
        self.rows, self.looked = [], []

    def _commit(self, rows: list[pa.Table], looked: list[pa.Table]) -> None:
        if sum(table.num_rows for table in rows):
            self.store.sync()
            self.store.catalogue.add(pa.concat_tables(rows))
        if self.cache is not None:
            for table in looked:
                self.cache.add_table(table)
            self.cache.flush()

    def _wait(self) -> None:
        """Until the batch before is catalogued; its error is raised once."""
        writing, self._writing = self._writing, None
        if writing is not None:
            with said_plainly(self.url):
                writing.result()

    def report(self, rejected: Sequence[Finding] = (), warnings: Sequence[str] = ()) -> RegisterReport:
        """What was done."""
        near = {index for index, _ in pairs_between(self.hashes, self._before)}
        return RegisterReport(
            store=self.url,
            place=self.store.place,
            added=self.added,
            present=self.present,
            near_duplicates=len(near.union(*map(set, clusters(self.hashes)))),
            rejected=tuple(rejected),
            warnings=tuple(warnings),
        )


def register(folder: Path, url: str, cache: InspectionCache | None = None) -> RegisterReport:
    """Put every image below `folder` into the store and into its catalogue; twice changes nothing.

    Args:
        folder: of images, at any depth.
        url: the store.
        cache: what is known of the folder's files from before.

    Raises:
        BadInput: no such folder, no image in it, or a store that cannot be opened or written.
    """
    paths, intake, rejected = require_image_names(folder), Intake(url, cache), list[Finding]()
    unknown = [path for path in paths if not intake.knows(path)]
    intake.present = len(paths) - len(unknown)
    work, chunks = partial(_take, url, f"images:{folder.resolve().name}"), chunked(unknown)
    with intake:
        for taken in bar(spread(work, chunks), "registering frames", len(chunks)):
            rejected += taken.rejected
            rows = pa.table(taken.columns, TAKEN_SCHEMA)
            intake.looked.append(_inspected(rows))
            intake.add(rows)
    return intake.report(rejected)


@lru_cache(maxsize=1)
def _opened(url: str) -> FrameStore:
    """One connection a process."""
    return FrameStore(url)


def _take(url: str, source: str, paths: Sequence[str]) -> Taken:
    """Inspect and store one chunk."""
    with _opened(url).together() as put:
        groups = bounded(map(_read, paths), _bytes_of, GROUP_BYTES)
        found = [row for group in groups for row in _take_group(put, source, group)]
    taken = [row for row in found if isinstance(row, dict)]
    columns = {name: [row[name] for row in taken] for name in TAKEN_SCHEMA.names}
    return Taken(columns, [finding for finding in found if isinstance(finding, Finding)])


def _inspected(rows: pa.Table) -> pa.Table:
    """What the inspection cache keeps of a chunk."""
    return (
        rows.rename_columns(["size" if name == "bytes" else name for name in rows.column_names])
        .select(SCHEMA.names)
        .cast(SCHEMA)
    )


class _Content(NamedTuple):
    """A file that was read, and its stamp from before."""

    name: str
    stamp: Stamp
    content: bytes


def _bytes_of(one: _Content | Finding) -> int:
    return 0 if isinstance(one, Finding) else len(one.content)


def _read(name: str) -> _Content | Finding:
    """One file, with calls that cost half of what Python's file objects do."""
    try:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            stamp = stamp_of(descriptor)
            if stamp[0] > MAXIMUM_BYTES:
                reason = f"{stamp[0] / 1e6:.0f} MB, at most {MAXIMUM_BYTES / 1e6:.0f} MB"
                return warning("oversized-image", Path(name), reason)
            return _Content(name, stamp, _all_of(descriptor, stamp[0]))
        finally:
            os.close(descriptor)
    except OSError as problem:
        return warning("unreadable-image", Path(name), str(problem.strerror))


def _all_of(descriptor: int, size: int) -> bytes:
    """To the end, whatever the size says: some file systems say 0."""
    content = os.read(descriptor, size + 1)
    while len(content) != size and (more := os.read(descriptor, 1 << 20)):
        content += more
    return content


def _take_group(put: Put, source: str, group: list[_Content | Finding]) -> list[Row | Finding]:
    there = [one for one in group if isinstance(one, _Content)]
    facts = inspect_contents([(one.name, one.content) for one in there])
    rejected = [one.model_copy(update={"severity": "warning"}) for one in (*group, *facts) if isinstance(one, Finding)]
    usable = [(one, fact) for one, fact in zip(there, facts, strict=True) if isinstance(fact, ImageFacts)]
    return [*(_store(put, source, one, fact) for one, fact in usable), *rejected]


def _store(put: Put, source: str, one: _Content, facts: ImageFacts) -> Row:
    name, stamp, content = one
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    put(facts.frame_id, suffix, content)
    camera, time = camera_and_time(name, stamp[1])
    row = row_of(facts, stamp[0], suffix)
    row.update(
        camera=camera, time=time, source=source, path=os.fsencode(name), modified_ns=stamp[1], changed_ns=stamp[2],
        sha256=facts.sha256,
    )  # fmt: skip
    return row


def row_of(facts: ImageFacts, size: int, suffix: str) -> Row:
    """What a file itself says of its row in the catalogue; camera, time and source are still missing."""
    look = facts.look
    return {
        "frame_id": facts.frame_id, "suffix": suffix, "width": facts.width, "height": facts.height, "bytes": size,
        "brightness": look and look.brightness, "contrast": look and look.contrast,
        "sharpness": look and look.sharpness, "perceptual_hash": facts.perceptual_hash,
    }  # fmt: skip


def one_row(row: Row) -> pa.Table:
    """A row of the catalogue as a table."""
    return pa.Table.from_pylist([row], CATALOGUE_SCHEMA)
