"""The files of a snapshot: read-only, and shared with the snapshot beside it where the two hold the same."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from edgeloop.progress import bar

READ_ONLY = 0o444


def lay_beside(neighbour: Path, out: Path, entries: Mapping[str, tuple[str, bool]]) -> None:
    """Fill a new folder: what its neighbour holds too is linked, the rest copied.

    A file of the neighbour that somebody made writable may hold anything by now: it is copied instead.

    Args:
        neighbour: an older snapshot.
        out: does not exist yet.
        entries: for every file, by its path in the snapshot: where a copy lies, and whether the neighbour's is equal.

    Raises:
        FileNotFoundError: a copy is missing.
    """
    for folder in {os.path.dirname(name) for name in entries}:  # noqa: PTH120  # a `Path` a file would take seconds
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, (source, shared) in bar(entries.items(), "laying out the snapshot", len(entries)):
        target = f"{out}/{name}"
        if not (shared and _link(f"{neighbour}/{name}", target)):
            shutil.copyfile(source, target)
            os.chmod(target, READ_ONLY)  # noqa: PTH101


def _link(old: str, new: str) -> bool:
    """Link a file that is still read-only; False where there is none or the file system has no links left."""
    try:
        if stat.S_IMODE(os.lstat(old).st_mode) != READ_ONLY:
            return False
        os.link(old, new)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV):
            raise
        return False
    return True


def protect(folder: Path) -> None:
    """Make every file below a folder read-only."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(READ_ONLY)
