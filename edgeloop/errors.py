"""Errors that people meet. Each message says what was expected, what came and what to do."""

from __future__ import annotations

import errno


class EdgeloopError(Exception):
    """Any error that edgeloop raises on purpose; the command line turns it into one sentence and `exit_code`."""

    exit_code = 1


class BadInput(EdgeloopError):
    """Input or usage that cannot be worked with. Nothing was lost or half-written. Exit code 2."""

    exit_code = 2


class Refused(EdgeloopError):
    """A gate or a check said no. The input was fine, the answer is no. Exit code 3."""

    exit_code = 3


# RLIMIT_FSIZE and some network file systems report a full target as EFBIG.
FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full_disk(error: BaseException | None) -> bool:
    """Whether `error`, or anything that caused it, is the operating system saying that the target is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
            return True
        error = error.__cause__ or error.__context__
    return False
