"""What a device saw, from its own folder or from another store, into this store: images, log rows, flags.

Every file keeps its key, which is made from its content, so a run that was killed goes on and a second one changes
nothing. A device that is running is not disturbed: its open segment is read up to the last flush, and what it uploads
later by itself is the same rows once more, which `read_log` gives once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.edge.flags import Flag
from edgeloop.edge.log import put
from edgeloop.edge.log_schema import SCHEMA_VERSION, VERSION_KEY
from edgeloop.edge.segment import segment_to_parquet
from edgeloop.edge.segments import NO_LOG, SEGMENTS
from edgeloop.edge.spool import SPOOL
from edgeloop.errors import BadInput
from edgeloop.file_systems import open_store, said_plainly
from edgeloop.formats.images import MAXIMUM_BYTES, ImageFacts, inspect_content
from edgeloop.formats.names import UNKNOWN_CAMERA
from edgeloop.frame_intake import Intake, one_row, row_of
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.spread import fetch
from edgeloop.store import FLAGS, FRAMES, LOG

# The keys of a store; anything else in it is not taken.
KEYS = {
    FRAMES: re.compile(rf"{FRAMES}/[0-9a-f]{{2}}/[0-9a-f]{{16}}\.[a-z]{{3,4}}"),
    LOG: re.compile(rf"{LOG}/date=\d{{4}}-\d\d-\d\d/camera=[\w.~%-]+/[\w-]+\.parquet", re.ASCII),
    FLAGS: re.compile(rf"{FLAGS}/date=\d{{4}}-\d\d-\d\d/[0-9a-f]{{16}}\.json"),
}
Where = tuple[str, datetime]  # camera and time


class LeftOut(Record):
    """A file that was not taken, and why."""

    path: str
    reason: str


class LogReport(Record):
    """What taking in a log changed.

    Attributes:
        source, store: from where, and to where.
        frames, files, flags: images, log files and flags that are new in the store.
        rows: in the new log files.
        present: files that were there.
        near_duplicates: of the new images, how many nearly show what another one shows.
        rejected: what was left out.
    """

    source: str
    store: str
    frames: int
    files: int
    rows: int
    flags: int
    present: int
    near_duplicates: int
    rejected: tuple[LeftOut, ...]


@dataclass
class _Side:
    """One end of the way: a store, or a folder laid out like one."""

    url: str

    def __post_init__(self) -> None:
        self.files, self.root = open_store(self.url)

    def keys(self, top: str) -> list[str]:
        """The keys below `frames`, `log` or `flags`, sorted; names that are no key are left alone."""
        try:
            found = self.files.find(f"{self.root}/{top}")
        except FileNotFoundError:
            return []
        below = (path[len(self.root) + 1 :] for path in found)
        return sorted(key for key in below if KEYS[top].fullmatch(key))

    def read(self, key: str) -> bytes:
        """The bytes of a file.

        Raises:
            ValueError: it is too large to be one of a store's.
        """
        size = self.files.size(f"{self.root}/{key}") or 0
        if size > MAXIMUM_BYTES:
            raise ValueError(f"{size / 1e6:.0f} MB, at most {MAXIMUM_BYTES / 1e6:.0f} MB")
        content: bytes = self.files.cat_file(f"{self.root}/{key}")
        return content

    def write(self, key: str, content: bytes) -> None:
        """Store a file, whole or not at all.

        Raises:
            BadInput: the store refuses.
        """
        with said_plainly(self.url):
            put(self.files, f"{self.root}/{key}", content)

    def modified(self, key: str) -> datetime:
        """When a file was written, to the millisecond."""
        moment: datetime = self.files.modified(f"{self.root}/{key}")
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass
class _Taking:
    """What was taken so far."""

    intake: Intake
    target: _Side
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((FRAMES, LOG, FLAGS, "rows", "present"), 0))
    rejected: list[LeftOut] = field(default_factory=list)

    def left_out(self, side: _Side, key: str, reason: object) -> None:
        self.rejected.append(LeftOut(path=f"{side.url}/{key}", reason=" ".join(str(reason).split())))

    def missing(self, side: _Side, top: str) -> list[str]:
        """The keys below `top` that the target has not; frames must be in its catalogue, too."""
        there = set(self.target.keys(top))
        keys = side.keys(top)
        known = self.intake.known
        missing = [key for key in keys if key not in there or (top == FRAMES and Path(key).stem not in known)]
        self.counts["present"] += len(keys) - len(missing)
        return missing

    def contents(self, side: _Side, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Each file's bytes, read a few at a time; what cannot be read is left out."""
        for key, content in zip(keys, fetch(partial(_read, side), keys), strict=True):
            if isinstance(content, bytes):
                yield key, content
            else:
                self.left_out(side, key, content)


def is_log(url: str) -> bool:
    """Whether this is a device's folder, or a store with a log."""
    files, root = open_store(url)
    return bool(files.isdir(f"{root}/{LOG}") or files.isdir(f"{root}/{SPOOL}") or files.isdir(f"{root}/{SEGMENTS}"))


def take_log(source: str, url: str) -> LogReport:
    """Bring images, log rows and flags of a device's folder or of another store into a store; twice changes nothing.

    Args:
        source: a device's folder, or the fsspec URL of a store.
        url: the store.

    Raises:
        BadInput: there is no log, a newer edgeloop wrote it, or one of the two stores refuses. What was taken until
            then is whole; run again.
    """
    if not is_log(source):
        raise BadInput(f"{source} holds no inference log: expected a device's folder or a store with {LOG}/.")
    with TemporaryDirectory(prefix="edgeloop-log-") as work, said_plainly(source):
        sides = list(_sides(source, Path(work)))
        taking = _Taking(Intake(url), _Side(url))
        with taking.intake:
            for side in sides:
                _take_rows(taking, side)
            for side in sides:
                _take_frames(taking, side, sides)
        for side in sides:
            _take_flags(taking, side)
    return _report(source, taking)


def _sides(source: str, work: Path) -> Iterator[_Side]:
    """The store itself; of a device its spool and, as files of a spool, what its segments hold."""
    files, root = open_store(source)
    if files.isdir(f"{root}/{LOG}"):
        yield _Side(source)
        return
    yield _Side(f"{source.rstrip('/')}/{SPOOL}")
    for path in sorted(files.glob(f"{root}/{SEGMENTS}/*.arrow")):
        copy = work / Path(path).name
        try:
            copy.write_bytes(files.cat_file(path))
            segment_to_parquet(copy, work / SPOOL)
        except FileNotFoundError:  # the device has just made Parquet of it, which is in its spool
            continue
        except NO_LOG:  # the device will put it aside as well
            continue
    yield _Side(str(work / SPOOL))


def _read(side: _Side, key: str) -> bytes | ValueError | FileNotFoundError:
    try:
        return side.read(key)
    except (ValueError, FileNotFoundError) as problem:  # too large; or uploaded and removed meanwhile
        return problem


def _take_rows(taking: _Taking, side: _Side) -> None:
    keys = taking.missing(side, LOG)
    for key, content in bar(taking.contents(side, keys), "log files", len(keys)):
        try:
            rows = _rows_of(content, f"{side.url}/{key}").num_rows
        except (*NO_LOG, OSError) as problem:
            taking.left_out(side, key, f"damaged: {problem}")
            continue
        taking.target.write(key, content)
        taking.counts["rows"] += rows
        taking.counts[LOG] += 1


def _rows_of(content: bytes, path: str) -> pa.Table:
    """What the rows say of their frames: id, camera, time, image.

    Raises:
        BadInput: a newer edgeloop wrote the file.
        ArrowInvalid, OSError: it is damaged.
    """
    metadata = pq.read_schema(BytesIO(content)).metadata or {}
    version = int(metadata.get(VERSION_KEY, b"0"))
    if not 1 <= version <= SCHEMA_VERSION:
        raise BadInput(
            f"{path} has inference log version {version or 'none'}; this edgeloop reads {SCHEMA_VERSION}. Update "
            f"edgeloop, or move the file away."
        )
    return pq.read_table(BytesIO(content), columns=["frame_id", "camera", "time", "image"])


def _take_frames(taking: _Taking, side: _Side, sides: Sequence[_Side]) -> None:
    keys = taking.missing(side, FRAMES)
    named = _named(taking, sides) if keys else {}
    for key, content in bar(taking.contents(side, keys), "images", len(keys)):
        _take_frame(taking, side, key, content, named)


def _named(taking: _Taking, sides: Sequence[_Side]) -> dict[str, Where]:
    """Camera and time of every frame whose image a row of the log names."""
    found: dict[str, Where] = {}
    for side in sides:
        for key, content in taking.contents(side, side.keys(LOG)):
            try:
                table = _rows_of(content, key)
            except (*NO_LOG, OSError):  # it was left out, with its reason
                continue
            kept = table.filter(pc.is_valid(table.column("image"))).to_pylist()
            found |= {row["frame_id"]: (row["camera"], row["time"]) for row in kept}
    return found


def _take_frame(taking: _Taking, side: _Side, key: str, content: bytes, named: Mapping[str, Where]) -> None:
    """Store an image under the name it has: a device names frames before there is a file."""
    identity, suffix = Path(key).stem, Path(key).suffix
    facts = inspect_content(Path(key), content)
    if not isinstance(facts, ImageFacts):
        taking.left_out(side, key, facts.reason)
        return
    if identity not in named and identity != facts.frame_id:
        taking.left_out(side, key, "no row of the log names it, and its name is not its content's")
        return
    camera, time = named.get(identity) or (UNKNOWN_CAMERA, side.modified(key))
    taking.intake.store.put_unsynced(identity, suffix, content)
    where = {"frame_id": identity, "camera": camera, "time": time, "source": f"log:{side.url}"}
    taking.intake.add(one_row(row_of(facts, len(content), suffix) | where))
    taking.counts[FRAMES] += 1


def _take_flags(taking: _Taking, side: _Side) -> None:
    for key, content in taking.contents(side, taking.missing(side, FLAGS)):
        try:
            Flag.from_document(json.loads(content), key)
        except (ValueError, BadInput) as problem:
            taking.left_out(side, key, problem)
            continue
        taking.target.write(key, content)
        taking.counts[FLAGS] += 1


def _report(source: str, taking: _Taking) -> LogReport:
    counts = taking.counts
    return LogReport(
        source=source, store=taking.target.url, frames=counts[FRAMES], files=counts[LOG], rows=counts["rows"],
        flags=counts[FLAGS], present=counts["present"],
        near_duplicates=taking.intake.report().near_duplicates, rejected=tuple(taking.rejected),
    )  # fmt: skip
