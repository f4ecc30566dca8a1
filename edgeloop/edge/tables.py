"""Device records as tables for the terminal."""

from __future__ import annotations

from rich.table import Table

from edgeloop.edge.meter import AgentStatus
from edgeloop.tables import table


def status_table(status: AgentStatus) -> Table:
    """How a run ended."""
    title = f"{status.source}: {status.frames} frames, model {status.artifact_id} in {status.runtime}"
    made = table(title, "what", "how many")
    for name, value in _rows(status):
        made.add_row(name, value)
    for problem in status.problems:
        made.add_row("problem", problem)
    return made


def _rows(status: AgentStatus) -> list[tuple[str, str]]:
    return [
        ("detections", str(status.detections)),
        ("frame in the loop, p50 / p99", f"{_ms(status.loop_p50_ms)} / {_ms(status.loop_p99_ms)}"),
        ("image to boxes, p50 / p99", f"{_ms(status.infer_p50_ms)} / {_ms(status.infer_p99_ms)}"),
        ("dropped / skipped / without an answer", f"{status.dropped} / {status.skipped} / {status.errors}"),
        ("rows on disk / lost", f"{status.rows_flushed} / {status.rows_lost}"),
        ("images kept / not kept for want of time or room", f"{status.images_written} / {status.images_dropped}"),
        ("uploaded / waiting", f"{status.uploaded} / {status.spool_files} files"),
    ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"
