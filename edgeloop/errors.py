"""Errors that people meet. Each message says what was expected, what came and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


class EdgeloopError(Exception):
    """Any error that edgeloop raises on purpose; the command line turns it into one sentence and `exit_code`."""

    exit_code = 1


class BadInput(EdgeloopError):
    """Input or usage that cannot be worked with. Nothing was lost or half-written. Exit code 2."""

    exit_code = 2


class Refused(EdgeloopError):
    """A gate or a check said no. The input was fine, the answer is no. Exit code 3."""

    exit_code = 3


# What the operating system says of a place that is another thing than was asked for, or may not be used.
WRONG_PLACE_ERRNOS = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
)
# RLIMIT_FSIZE and some network file systems report a full target as EFBIG.
FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def wrong_place(error: BaseException) -> str | None:
    """The path that the operating system refused to use as asked, because of what it is or who may use it, if any.

    A file that is missing is not such a one: who reads what a user named says so in words of its own.
    """
    if not isinstance(error, OSError) or error.errno not in WRONG_PLACE_ERRNOS:
        return None
    named = error.filename2 or error.filename
    return os.fsdecode(named) if isinstance(named, (str, bytes)) else None


def is_full_disk(error: BaseException | None) -> bool:
    """Whether `error`, or anything that caused it, is the operating system saying that the target is full."""
    return any(isinstance(one, OSError) and one.errno in FULL_DISK_ERRNOS for one in causes(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from, each once: one that was raised again may be its own cause's cause."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
