"""What sampling must know before it chooses."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgeloop.dataset import DatasetVersion
from edgeloop.edge.flags import Flag, write_flag
from edgeloop.edge.spool import SPOOL
from edgeloop.labelling import QueueStatus
from tasks.watch import known_frames
from tests.training_sets import write_set

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FRAMES = ("0" * 16, "1" * 16)


def test_operators_flags_are_known(tmp_path: Path) -> None:
    """Flags that reached the store count; of two on one frame the later one does."""
    write_set(tmp_path / "set", 2, 1)
    boxes, frames = {"train": {"dark": 1, "light": 1}}, {"train": 2, "val": 1}
    version = DatasetVersion(root=tmp_path / "set", md5="0" * 32, names=("dark", "light"), frames=frames, boxes=boxes)
    for frame, kind, hours in ((FRAMES[0], "missed", 2), (FRAMES[0], "false-positive", 1), (FRAMES[1], "missed", 0)):
        write_flag(tmp_path / "device", Flag(frame_id=frame, kind=kind, time=NOON + timedelta(hours=hours)))
    queue = QueueStatus(
        queue="q", **dict.fromkeys(("total", "labelled", "skipped", "waiting"), 0), frame_ids=("f" * 16,)
    )
    known = known_frames.fn(version, queue, str(tmp_path / "device" / SPOOL))
    assert dict(known.flags) == {FRAMES[0]: "missed", FRAMES[1]: "missed"}
    assert known.training_boxes == (1, 1)
    assert len(known.taken) == 4
    assert known_frames.fn(version, queue, str(tmp_path / "empty")).flags == ()
