"""What the agent does with a frame once it has its boxes: log it, keep its image or not, bring both to the store."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from edgeloop.edge.flags import Flag, Requests, write_flag
from edgeloop.edge.frame import Image
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.retention import ImageKeeper, Retention
from edgeloop.edge.segments import DeviceLog
from edgeloop.edge.spool import SPOOL
from edgeloop.edge.upload import Uploader
from edgeloop.errors import BadInput, is_full_disk
from edgeloop.store import frame_key

LOOK_SECONDS = 1.0  # how soon an image that another process asked for is kept
IMAGES_SHARE = 0.9  # of the budget: rows and flags need the rest


class Recorder:
    """Log, images and uploads of one run; `take` is for the loop and never waits."""

    def __init__(self, device: Path, run: str, store: str | None, retention: Retention, budget_bytes: int) -> None:
        """Take up what a killed run left, and start.

        Args:
            device: the device's folder; the caller holds its lock.
            run: names this run, another one for each start.
            store: any fsspec URL; None keeps everything here.
            retention: which images are kept.
            budget_bytes: how much may wait for the store.

        Raises:
            BadInput: the store's URL cannot be opened, or the folder cannot be written.
        """
        self._device = device
        try:
            self._uploader = Uploader(device / SPOOL, store, budget_bytes=budget_bytes)
            self.log = DeviceLog(device, run)
        except OSError as problem:
            raise BadInput(
                f"the device folder {device} cannot be written ({problem.strerror}); expected a folder of this user's."
            ) from problem
        self.keeper = ImageKeeper(device, retention, int(budget_bytes * IMAGES_SHARE), self.log.append)
        self._requests, self._closing = Requests(device), threading.Event()
        self._requests.new()  # of earlier runs: their images are in the spool or gone
        self._watch = threading.Thread(target=self._keep_requested, name="edgeloop-requests", daemon=True)
        self._uploader.start()
        self._watch.start()

    def take(self, record: InferenceRecord, image: Image) -> None:
        """Log a frame, and keep its image when the policy says so."""
        self.log.append(self.keeper.offer(record, image))

    def flag(self, flag: Flag) -> tuple[str, bool]:
        """Record an operator's word; returns the flag's key, and whether the frame's image is kept.

        Raises:
            BadInput: the disk is full.
        """
        try:
            key = write_flag(self._device, flag)
        except OSError as problem:
            if is_full_disk(problem):
                raise BadInput("the device's disk is full, the flag was not recorded; free some space.") from problem
            raise
        return key, self._keep(flag.frame_id)

    def close(self, drain_seconds: float) -> None:
        """Write what waits in memory, then give the upload some time; what is left, the next run uploads."""
        self._closing.set()
        self._watch.join()
        self.keeper.close()
        self.log.close()
        self._uploader.close(drain_seconds)

    def facts(self) -> dict[str, Any]:
        """This part of the agent's status."""
        upload, here = self._uploader.status(), self.keeper.spool.evicted
        return {
            "rows_flushed": self.log.flushed,
            "rows_waiting": self.log.waiting,
            "rows_lost": self.log.lost,
            "images_written": self.keeper.written,
            "images_dropped": self.keeper.dropped,
            "images_evicted": upload.evicted_images + upload.evicted_protected_images + here.images
            + here.protected_images,
            "rows_evicted": upload.evicted_rows,
            "flags_evicted": upload.evicted_flags,
            "spool_files": upload.files,
            "spool_bytes": upload.bytes,
            "spool_oldest": upload.oldest,
            "uploaded": upload.uploaded,
            "disk_free_bytes": shutil.disk_usage(self._device).free,
            "problems": tuple(filter(None, (self.log.error, self.keeper.error, upload.last_error))),
        }  # fmt: skip

    def _keep_requested(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            for frame_id in self._requests.new():
                self._keep(frame_id)

    def _keep(self, frame_id: str) -> bool:
        kept = self.keeper.flag(frame_id)
        if not (self._device / SPOOL / frame_key(frame_id)).exists():
            self._requests.withdraw(frame_id)  # in the store already, still in memory, or gone
        return kept
