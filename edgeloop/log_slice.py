"""A part of the inference log, named: what stages hand each other instead of the rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from edgeloop.record import Record


class LogSlice(Record):
    """Rows of one inference log.

    Attributes:
        url: the store that holds the log: a folder or any fsspec URL.
        since, until: from this moment (included) to that one (excluded), UTC; None is open.
        artifact_id: only rows of this artifact; None takes all.
    """

    url: str
    since: datetime | None = None
    until: datetime | None = None
    artifact_id: str | None = None

    def read(self) -> pa.Table:
        """The rows.

        Raises:
            BadInput: there is no such log, or a file of it is broken.
        """
        from edgeloop.edge.log import read_log

        return read_log(self.url, self.since, self.until, self.artifact_id)


def image_place(image: str, store: str) -> str:
    """The path or URL of a logged frame's image, which a log names relative to the store."""
    return image if "://" in image or Path(image).is_absolute() else f"{store.rstrip('/')}/{image}"
