"""Which images a device keeps, and the one thread that encodes and writes them into the spool."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import Field

from edgeloop.edge.frame import Image, as_bgr
from edgeloop.edge.log_schema import InferenceRecord, KeptBecause
from edgeloop.edge.spool import SPOOL, Entry, Spool
from edgeloop.errors import is_full_disk
from edgeloop.files import write_bytes
from edgeloop.record import Record
from edgeloop.store import FRAMES, frame_key

QUEUED_IMAGES = 8  # decoded, waiting for the encoder: 50 MB of 1080p
JPEG_QUALITY = 90
KEPT_IDS = 10_000  # remembered, so that a flag knows an image that is in the store already


class Retention(Record):
    """Which images are kept. The reason goes into the log, first match first: audit, all, uncertain, every.

    Attributes:
        keep_all: every image.
        every: each Nth of a camera; None for none.
        uncertain: frames with a box whose score is within `margin` of its class's threshold.
        margin: see `uncertain`.
        uncertain_seconds: at most one uncertain frame of a camera in so many seconds: its neighbours look alike.
        audit: this share of the frames, whatever is on them; a hash of the frame id decides, the same everywhere.
        recent: how many of the last images wait in memory as JPEG, so that a flag seconds later still saves one;
            0 for none. Encoding them takes at most half of one core; under load some are left out.
    """

    keep_all: bool = False
    every: int | None = Field(default=30, gt=0)
    uncertain: bool = True
    margin: float = Field(default=0.1, gt=0, le=1)
    uncertain_seconds: float = Field(default=1.0, ge=0)
    audit: float = Field(default=0.01, ge=0, le=1)
    recent: int = Field(default=150, ge=0)


class Choice:
    """Applies a policy to one stream of records; not for several threads."""

    def __init__(self, policy: Retention) -> None:
        self.policy = policy
        self._seen: dict[str, int] = {}
        self._uncertain_again: dict[str, float] = {}

    def because(self, record: InferenceRecord) -> KeptBecause | None:
        """Why this frame is kept; None when it is not."""
        number = self._seen[record.camera] = self._seen.get(record.camera, -1) + 1
        if in_audit(record.frame_id, self.policy.audit):
            return "audit"
        if self.policy.keep_all:
            return "all"
        if self.policy.uncertain and self._is_uncertain(record):
            return "uncertain"
        return "every" if self.policy.every and number % self.policy.every == 0 else None

    def _is_uncertain(self, record: InferenceRecord) -> bool:
        now, found = time.monotonic(), record.inference.detections
        if not len(found) or now < self._uncertain_again.get(record.camera, 0.0):
            return False
        limits = np.asarray(record.thresholds, np.float32)[found.classes]
        uncertain = bool((np.abs(found.scores - limits) < self.policy.margin).any())
        if uncertain:
            self._uncertain_again[record.camera] = now + self.policy.uncertain_seconds
        return uncertain


def in_audit(frame_id: str, share: float) -> bool:
    """Whether a frame is in a random sample of this share; every device and every run answers alike."""
    digest = hashlib.blake2b(frame_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class _Offered(NamedTuple):
    record: InferenceRecord
    image: Image


class ImageKeeper:
    """Keeps images of a stream: decides in the loop, encodes and writes in a thread of its own.

    Attributes:
        written: images in the spool so far.
        dropped: images that should have been kept, but the encoder or the disk did not keep up.
        error: one sentence while the disk refuses, else None.
        spool: where they go; `spool.evicted` counts what went again for want of room.
    """

    def __init__(
        self,
        folder: Path,
        policy: Retention,
        budget_bytes: int,
        amend: Callable[[InferenceRecord], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            folder: of the device.
            policy: what is kept.
            budget_bytes: how much the images in the spool may take; audit and flagged ones go last.
            amend: takes the record of a frame again whose image is kept after all, because it was flagged:
                `DeviceLog.append`.
        """
        self.written, self.dropped = 0, 0
        self.error: str | None = None
        self.spool = Spool(folder / SPOOL)
        self._policy, self._budget, self._amend = policy, budget_bytes, amend
        self._choice = Choice(policy)
        self._queue: queue.Queue[_Offered | None] = queue.Queue(QUEUED_IMAGES)
        self._lock = threading.Lock()
        self._coming: dict[str, bool] = {}  # frames in the queue: whether one was flagged meanwhile
        self._recent: OrderedDict[str, tuple[InferenceRecord, bytes]] = OrderedDict()
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._unweighed, self._rest_until = budget_bytes, 0.0
        self._thread = threading.Thread(target=self._work, name="edgeloop-images", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images that are not encoded yet."""
        return len(self._coming)

    def offer(self, record: InferenceRecord, image: Image) -> InferenceRecord:
        """Decide about a frame; returns at once. Log what this returns.

        Args:
            record: of the frame.
            image: (H, W, 3) uint8 BGR. It is not copied: do not write to it afterwards.

        Returns:
            The record, with `image` and `kept` when the image is kept.
        """
        because = self._choice.because(record)
        if because is None and not self._has_time_for_recent():
            return record
        if because is not None:
            record = replace(record, image=frame_key(record.frame_id), kept=because)
        with self._lock:
            self._coming[record.frame_id] = False
        try:
            self._queue.put_nowait(_Offered(record, image))
        except queue.Full:
            return self._refuse(record)
        return record

    def flag(self, frame_id: str) -> bool:
        """Protect the image of a flagged frame; any thread may call it.

        Returns:
            True when the image is kept or was uploaded; False when it is gone.
        """
        with self._lock:
            if frame_id in self._coming:
                self._coming[frame_id] = True
                return True
            record, content = self._recent.get(frame_id, (None, b""))
        if (self.spool.folder / frame_key(frame_id)).exists():
            self.spool.protect(frame_id)
            return True
        if frame_id in self._kept or record is None:
            return frame_id in self._kept
        return self._save_flagged(record, content)

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _has_time_for_recent(self) -> bool:
        if not self._policy.recent or time.monotonic() < self._rest_until:
            return False
        return self._queue.qsize() < QUEUED_IMAGES // 2

    def _refuse(self, record: InferenceRecord) -> InferenceRecord:
        with self._lock:
            self._coming.pop(record.frame_id, None)
        if record.kept is None:
            return record
        self.dropped += 1
        return replace(record, image=None, kept=None)

    def _work(self) -> None:
        while (offered := self._queue.get()) is not None:
            begin = time.monotonic()
            try:
                self._keep(offered.record, encode(offered.image))
            except Exception as problem:  # whatever it is, the thread must go on and the live line must say so
                self.dropped += 1
                self.error = f"the image of {offered.record.frame_id} cannot be kept ({problem})."
            now = time.monotonic()
            self._rest_until = now + (now - begin)

    def _keep(self, record: InferenceRecord, content: bytes) -> None:
        if record.kept is not None:
            self._save(record, content)
        with self._lock:
            flagged = self._coming.pop(record.frame_id, False)
            if self._policy.recent:
                self._recent[record.frame_id] = (record, content)
                while len(self._recent) > self._policy.recent:
                    self._recent.popitem(last=False)
        if flagged and record.kept is not None:
            self.spool.protect(record.frame_id)
        elif flagged:
            self._save_flagged(record, content)

    def _save_flagged(self, record: InferenceRecord, content: bytes) -> bool:
        flagged = replace(record, image=frame_key(record.frame_id), kept="flagged")
        saved = self._save(flagged, content)
        if saved and self._amend is not None:
            self._amend(flagged)
        return saved

    def _save(self, record: InferenceRecord, content: bytes) -> bool:
        """Write an image into the spool; False, counted and said, when the disk refuses."""
        try:
            if record.kept in ("audit", "flagged"):
                self.spool.protect(record.frame_id)
            write_bytes(self.spool.folder / frame_key(record.frame_id), content)
            self._weigh(len(content))
        except OSError as problem:
            self.dropped += 1
            self.error = f"images cannot be written ({problem.strerror or problem})."
            if is_full_disk(problem):
                self._forget(self.spool.make_room())
            return False
        self.written += 1
        self.error = None
        with self._lock:
            self._kept[record.frame_id] = None
            if len(self._kept) > KEPT_IDS:
                self._kept.popitem(last=False)
        return True

    def _weigh(self, size: int) -> None:
        """Look at the budget whenever a sixty-fourth of it was written since the last look, and at the first image."""
        self._unweighed += size
        if self._unweighed >= self._budget // 64:
            self._unweighed = 0
            self._forget(self.spool.trim(self._budget - self._budget // 64, (FRAMES,)))

    def _forget(self, evicted: Sequence[Entry]) -> None:
        with self._lock:
            for entry in evicted:
                self._kept.pop(Path(entry.key).stem, None)


def encode(image: Image) -> bytes:
    """The image as JPEG.

    Raises:
        BadInput: not an image.
    """
    _, encoded = cv2.imencode(".jpg", as_bgr(image), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(encoded)
