"""One writer at a time: an advisory lock on a file, which the kernel releases when its process ends in any way."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeloop.errors import BadInput

POLL_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, what: str, patience_seconds: float = 10.0) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; `what` names in the error what it protects.

    Raises:
        BadInput: another process still holds it after `patience_seconds`; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as handle:
        deadline = time.monotonic() + patience_seconds
        while not _taken(handle.fileno()):
            if time.monotonic() > deadline:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise BadInput(f"{what} is being written by process {holder}. Wait for it to end and try again.")
            time.sleep(POLL_SECONDS)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
