"""The operator's word: this frame showed what was not there, or missed what was. One small file each, in the spool.

flags/date=2026-03-01/<sha16>.json      below the spool, and later below the store
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import fsspec
from pydantic import AwareDatetime, Field

from edgeloop.edge.spool import PROTECTED, SPOOL, Spool, put_by_content
from edgeloop.errors import BadInput
from edgeloop.file_systems import open_store
from edgeloop.record import Record
from edgeloop.store import FLAGS

FlagKind = Literal["false-positive", "missed"]
FRAME_ID = r"^[0-9a-f]{16}$"


class Flag(Record):
    """One word of an operator about one frame.

    Attributes:
        frame_id: 16 hexadecimal digits, as the log and the endpoint show them.
        kind: "false-positive": something was shown that was not there; "missed": something there was not shown.
        time: when the operator said so.
    """

    frame_id: str = Field(pattern=FRAME_ID)
    kind: FlagKind
    time: AwareDatetime


def flag_now(frame_id: str, kind: str) -> Flag:
    """A flag of this moment.

    Raises:
        BadInput: no frame id, or another kind.
    """
    document = {"frame_id": frame_id, "kind": kind, "time": datetime.now(timezone.utc)}
    return Flag.from_document(document, "the flag")


def write_flag(device: Path, flag: Flag) -> str:
    """Put a flag into the spool of a device folder and ask for its frame's image to be kept; returns the flag's key.

    Any process may do it, whether an agent runs or not: the agent looks for requests every second.
    """
    spool = device / SPOOL
    Spool(spool).protect(flag.frame_id)
    folder = f"{FLAGS}/date={flag.time.astimezone(timezone.utc):%Y-%m-%d}"
    return put_by_content(spool, folder, ".json", f"{flag.to_json()}\n".encode())


class Requests:
    """The frames whose images were asked for since the last look, by whichever process.

    A request is the empty file that protects an image in the spool; one that no image will ever follow is removed.
    """

    def __init__(self, device: Path) -> None:
        self._folder = device / SPOOL / PROTECTED
        self._seen: set[str] = set()

    def new(self) -> list[str]:
        """Frame ids that were not there at the last call."""
        there = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        fresh = sorted(there - self._seen)
        self._seen = there
        return fresh

    def withdraw(self, frame_id: str) -> None:
        """Forget a request that cannot be met: the image is gone."""
        with suppress(FileNotFoundError):
            (self._folder / frame_id).unlink()


def read_flags(store: str) -> list[Flag]:
    """Every flag of a store, oldest first; none when there is no such folder.

    Raises:
        BadInput: the URL cannot be opened, or a file holds no flag.
    """
    files, root = open_store(store)
    return sorted(_parse(files, f"{root}/{FLAGS}"), key=lambda flag: flag.time)


def _parse(files: fsspec.AbstractFileSystem, folder: str) -> Iterator[Flag]:
    for path in files.glob(f"{folder}/date=*/*.json"):
        try:
            document = json.loads(files.cat_file(path))
        except ValueError as error:
            raise BadInput(f"{path} is not JSON ({error}); expected a Flag. Move the file away.") from error
        yield Flag.from_document(document, path)
