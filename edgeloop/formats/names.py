"""Camera and time of a frame from its file name: `<camera>_<YYYYMMDDTHHMMSS.mmmZ>.jpg`."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path

from edgeloop.formats.findings import utf8

UNKNOWN_CAMERA = "unknown"
_STAMPED = re.compile(r"(?P<camera>.+)_(?P<time>\d{8}T\d{6}(?:\.\d{1,6})?)Z", re.DOTALL)


def camera_and_time(path: Path | str, modified_ns: int | None = None) -> tuple[str, datetime]:
    r"""Which camera took a frame and when, UTC.

    A name that does not carry both gives the camera "unknown" and the file's modification time, to the millisecond.
    `modified_ns` is that time where somebody has asked already. `cam1_20260301T081500.250Z.jpg`
    gives `("cam1", 2026-03-01 08:15:00.250 UTC)`. Bytes of a name that are no UTF-8 become `\xff` in the camera's.
    """
    found = _STAMPED.fullmatch(os.path.splitext(os.path.basename(path))[0])  # noqa: PTH119, PTH122  # a Path costs more
    time = _parse(found["time"]) if found else None
    if found is None or time is None:
        return UNKNOWN_CAMERA, modified(Path(path)) if modified_ns is None else _moment(modified_ns)
    return utf8(found["camera"]), time


def stamped_name(camera: str, time: datetime, suffix: str = ".jpg") -> str:
    """The file name that `camera_and_time` reads back, to the millisecond; `time` must carry its time zone."""
    utc = time.astimezone(timezone.utc)
    return f"{camera}_{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03d}Z{suffix}"


def modified(path: Path) -> datetime:
    """A file's modification time, UTC, cut to the millisecond."""
    return _moment(path.stat().st_mtime_ns)


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, timezone.utc)


def _parse(text: str) -> datetime | None:
    layout = "%Y%m%dT%H%M%S.%f" if "." in text else "%Y%m%dT%H%M%S"
    try:
        return datetime.strptime(text, layout).replace(tzinfo=timezone.utc)
    except ValueError:  # digits that are no date, such as month 13: the name carries no time
        return None
