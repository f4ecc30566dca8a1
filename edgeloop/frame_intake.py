"""Frames from a folder into the frame store: inspected, stored and catalogued on all cores, a batch at a time.

A batch is stored, brought to the disk with one call, and only then catalogued: a frame that the catalogue names is
whole, whenever the process or the machine stops. What a stopped run had stored without cataloguing it, the next run
writes again where it differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from edgeloop.formats.assemble import require_images
from edgeloop.formats.findings import Finding, error
from edgeloop.formats.images import MAXIMUM_BYTES, ImageFacts, Look, inspect_content
from edgeloop.formats.names import camera_and_time
from edgeloop.frame_catalogue import Row
from edgeloop.inspection import Inspected, InspectionCache, Stamp, stamp_of
from edgeloop.near_duplicates import clusters, pairs_between
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.spread import spread
from edgeloop.store import FrameStore, said_plainly

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


class Taken(NamedTuple):
    """One file that was stored, as it passes between processes: what is costly to send goes once."""

    path: str
    stamp: Stamp
    sha256: str
    row: Row

    def inspected(self) -> Inspected:
        look = Look(self.row["brightness"], self.row["contrast"], self.row["sharpness"])
        size = self.row["width"], self.row["height"]
        return Inspected(self.path, self.stamp, ImageFacts(self.sha256, *size, self.row["perceptual_hash"], look))


@dataclass
class Intake:
    """Frames on their way into a store: what is known of it, and the batch that is not catalogued yet.

    Use it as a context; leaving it without an error makes everything known that was added.
    """

    url: str
    cache: InspectionCache | None = None
    rows: list[Row] = field(default_factory=list)
    looked: list[Inspected] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    added: int = 0
    present: int = 0

    def __post_init__(self) -> None:
        self.store = FrameStore(self.url)
        with said_plainly(self.url):
            known = self.store.catalogue.read(["frame_id", "perceptual_hash"])
        self.known: set[str] = set(known.column("frame_id").to_pylist())
        self._before: list[int] = known.column("perceptual_hash").drop_null().to_pylist()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._writer, said_plainly(self.url):
            if kind is None:
                self.commit()
            self._wait()

    def knows(self, path: Path) -> bool:
        """Whether an unchanged file was registered before; it is not read again."""
        if self.cache is None:
            return False
        try:
            facts = self.cache.get(path, stamp_of(path))
        except OSError:
            return False
        return facts is not None and facts.frame_id in self.known

    def add(self, row: Row) -> None:
        """Count a frame whose bytes are in the store; catalogue it, with its batch, when it is new."""
        if row["frame_id"] in self.known:
            self.present += 1
            return
        self.known.add(row["frame_id"])
        self.rows.append(row)
        self.added += 1
        if row["perceptual_hash"] is not None:
            self.hashes.append(row["perceptual_hash"])
        if len(self.rows) >= BATCH:
            self.commit()

    def commit(self) -> None:
        """Everything stored so far becomes known, while the next batch is inspected; waits for the batch before."""
        self._wait()
        self._writing = self._writer.submit(self._commit, self.rows, self.looked)
        self.rows, self.looked = [], []

    def _commit(self, rows: list[Row], looked: list[Inspected]) -> None:
        if rows:
            self.store.sync()
            self.store.catalogue.add(rows)
        if self.cache is not None:
            self.cache.add(looked)
            self.cache.flush()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

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
    paths, intake, rejected = require_images(folder), Intake(url, cache), list[Finding]()
    unknown = [str(path) for path in paths if not intake.knows(path)]
    intake.present = len(paths) - len(unknown)
    work = partial(_take, url, f"images:{folder.resolve().name}")
    with intake, said_plainly(url):
        answers = (taken for chunk in spread(work, unknown) for taken in chunk)
        for taken in bar(answers, "registering frames", len(unknown)):
            if isinstance(taken, Finding):
                rejected.append(taken.model_copy(update={"severity": "warning"}))
                continue
            intake.looked.append(taken.inspected())
            intake.add(taken.row)
    return intake.report(rejected)


@lru_cache(maxsize=1)
def _opened(url: str) -> FrameStore:
    """One connection a process."""
    return FrameStore(url)


def _take(url: str, source: str, paths: list[str]) -> list[Taken | Finding]:
    """Inspect and store one chunk."""
    store = _opened(url)
    return [_take_one(store, source, Path(path)) for path in paths]


def _take_one(store: FrameStore, source: str, path: Path) -> Taken | Finding:
    try:
        stamp = stamp_of(path)
        if stamp[0] > MAXIMUM_BYTES:
            return error("oversized-image", path, f"{stamp[0] / 1e6:.0f} MB, at most {MAXIMUM_BYTES / 1e6:.0f} MB")
        content = path.read_bytes()
    except OSError as problem:
        return error("unreadable-image", path, str(problem.strerror))
    facts = inspect_content(path, content)
    if isinstance(facts, Finding):
        return facts
    suffix = path.suffix.lower()
    store.put_unsynced(facts.frame_id, suffix, content)
    return Taken(str(path), stamp, facts.sha256, _row(path, facts, stamp, suffix, source))


def _row(path: Path, facts: ImageFacts, stamp: Stamp, suffix: str, source: str) -> Row:
    camera, time = camera_and_time(path, stamp[1])
    return row_of(facts, stamp[0], suffix) | {"camera": camera, "time": time, "source": source}


def row_of(facts: ImageFacts, size: int, suffix: str) -> Row:
    """What a file itself says of its row in the catalogue; camera, time and source are still missing."""
    look = facts.look
    return {
        "frame_id": facts.frame_id, "suffix": suffix, "width": facts.width, "height": facts.height, "bytes": size,
        "brightness": look and look.brightness, "contrast": look and look.contrast,
        "sharpness": look and look.sharpness, "perceptual_hash": facts.perceptual_hash,
    }  # fmt: skip
