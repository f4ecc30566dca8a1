"""The operator's word on its way into the store."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgeloop.edge.flags import Flag, Requests, flag_now, read_flags, write_flag
from edgeloop.edge.spool import SPOOL
from edgeloop.edge.upload import Uploader
from edgeloop.errors import BadInput

FRAME = "0123456789abcdef"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def test_a_flag_is_one_file_of_the_spool(tmp_path: Path) -> None:
    """Its key is its date and content; the same word twice is one file."""
    flag = Flag(frame_id=FRAME, kind="missed", time=NOON)
    key = write_flag(tmp_path, flag)
    assert key.startswith("flags/date=2026-03-01/")
    assert write_flag(tmp_path, flag) == key
    document = json.loads((tmp_path / SPOOL / key).read_text())
    assert Flag.from_document(document, key) == flag


def test_flags_reach_the_store_in_their_order(tmp_path: Path) -> None:
    """Uploaded flags are read oldest first; a store without any has none."""
    store = tmp_path / "store"
    assert read_flags(str(store)) == []
    flags = [Flag(frame_id=FRAME, kind="missed", time=NOON + timedelta(days=day)) for day in (1, 0)]
    for flag in flags:
        write_flag(tmp_path, flag)
    uploader = Uploader(tmp_path / SPOOL, str(store), budget_bytes=10**6)
    uploader.start()
    uploader.close(10)
    assert read_flags(str(store)) == flags[::-1]


@pytest.mark.parametrize(
    ("frame", "kind"), [("0123", "missed"), (FRAME.upper(), "missed"), ("../../../etc/pass", "missed"), (FRAME, "bad")]
)
def test_what_is_no_flag_is_refused(frame: str, kind: str) -> None:
    """A frame id is sixteen lower-case hexadecimal digits, a kind one of two words."""
    with pytest.raises(BadInput, match=r"frame_id|kind"):
        flag_now(frame, kind)


def test_a_broken_flag_is_named(tmp_path: Path) -> None:
    """A file of the store that is no flag is refused with its path."""
    place = tmp_path / "flags" / "date=2026-03-01"
    place.mkdir(parents=True)
    (place / "x.json").write_text("{")
    with pytest.raises(BadInput, match=r"x\.json is not JSON"):
        read_flags(str(tmp_path))


def test_requests_are_seen_once(tmp_path: Path) -> None:
    """A flag that another process wrote is a request once; a withdrawn one leaves nothing behind."""
    requests = Requests(tmp_path)
    assert requests.new() == []
    write_flag(tmp_path, flag_now(FRAME, "missed"))
    assert requests.new() == [FRAME]
    assert requests.new() == []
    requests.withdraw(FRAME)
    requests.withdraw(FRAME)
    assert Requests(tmp_path).new() == []
